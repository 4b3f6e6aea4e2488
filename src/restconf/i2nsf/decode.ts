// A client's part of an ietf-i2nsf-ikeless document, JSON or XML, checked name by name and value by value, in one canonical
// form: names without their module, prefixes without host bits, keys in lower case.

import { formatAddress, formatPrefix, maskAddress, parseAddress } from "../../net/address.js";
import { isObject, type Json, type JsonObject, objectOf } from "../json.js";
import type { XmlElement } from "../xml-read.js";
import { childOf, IKELESS, type IkelessNode, ikelessNamespace, type ValueKind } from "./model.js";
import { problem, unsupported } from "./problems.js";

/** @param value of a node: an array for a list or leaf-list @throws ConfigurationError */
export function decode(node: IkelessNode, value: Json, path: string): Json {
  if (node.never) throw unsupported(path, "is nothing that Vita can do: leave it out");
  if (!node.config) throw problem("invalid-value", path, "is state, which cannot be written");
  switch (node.kind) {
    case "leaf":
      return decodeLeaf(node, value, path);
    case "leaf-list":
      return arrayOf(value, path).map((entry) => decodeLeaf(node, entry, path));
    case "list":
      return decodeList(node, arrayOf(value, path), path);
    default:
      return decodeMembers(node, value, path);
  }
}

function decodeList(node: IkelessNode, entries: Json[], path: string): Json {
  const seen = new Set<string>();
  return entries.map((entry) => {
    const at = entryPath(node, path, isObject(entry) ? entry : {});
    const decoded = decodeMembers(node, entry, at);
    for (const key of node.keys)
      if (decoded[key] === undefined) throw problem("missing-element", `${at}/${key}`, "is missing");
    const identity = keyOf(node, decoded);
    if (seen.has(identity)) throw problem("invalid-value", at, "is there twice");
    seen.add(identity);
    return decoded;
  });
}

function decodeMembers(node: IkelessNode, value: Json, path: string): JsonObject {
  if (!isObject(value)) throw problem("invalid-value", path, "is not an object");
  return objectOf(
    Object.entries(value).map(([member, content]): [string, Json] => {
      const name = member.startsWith(`${IKELESS}:`) ? member.slice(IKELESS.length + 1) : member;
      const child = childOf(node, name);
      if (!child)
        throw problem("unknown-element", path, `has nothing named ${JSON.stringify(member.slice(0, 64))}`);
      return [name, decode(child, content, `${path}/${name}`)];
    }),
  );
}

function decodeLeaf(node: IkelessNode, value: Json, path: string): Json {
  const decoded = node.value && canonical(node.value, value);
  if (decoded === undefined) throw problem("invalid-value", path, `is not ${nameOf(node.value ?? "string")}`);
  if (node.only && !node.only.includes(decoded))
    throw unsupported(path, `can be ${node.only.join(" or ")} alone here`);
  return decoded;
}

const largest = { uint8: 0xff, uint16: 0xffff, uint32: 0xffff_ffff } as const;

function canonical(kind: ValueKind, value: Json): Json | undefined {
  switch (kind) {
    case "uint8":
    case "uint16":
    case "uint32":
      return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= largest[kind]
        ? value
        : undefined;
    case "boolean":
      return typeof value === "boolean" ? value : undefined;
    case "protocol":
      return value === "any" ? value : canonical("uint8", value);
  }
  if (typeof value !== "string") return undefined;
  switch (kind) {
    case "string":
      return value;
    case "uint64":
      return /^\d{1,20}$/.test(value) && BigInt(value) < 1n << 64n ? String(BigInt(value)) : undefined;
    case "hex":
      return /^[0-9a-f]{2}(:[0-9a-f]{2})*$/i.test(value) ? value.toLowerCase() : undefined;
    case "address":
      return canonicalAddress(value);
    case "prefix":
      return canonicalPrefix(value);
    default:
      return kind.includes(value) ? value : undefined;
  }
}

function nameOf(kind: ValueKind): string {
  switch (kind) {
    case "hex":
      return "pairs of hexadecimal digits with colons between them";
    case "address":
      return "an IP address without a zone";
    case "prefix":
      return "an IP prefix";
    case "protocol":
      return 'a number from 0 to 255 or "any"';
    case "uint64":
      return "a number from 0 to 18446744073709551615, written as a string";
    case "uint8":
    case "uint16":
    case "uint32":
      return `a number from 0 to ${largest[kind]}`;
    case "string":
    case "boolean":
      return `a ${kind}`;
    default:
      return `one of ${kind.join(", ")}`;
  }
}

export function canonicalAddress(text: string): string | undefined {
  const address = parseAddress(text);
  return address && formatAddress(address);
}

/** Host bits are cut off, as RFC 6991 has it. */
export function canonicalPrefix(text: string): string | undefined {
  const [, host = "", digits = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = parseAddress(host);
  const length = Number(digits);
  if (!address || digits === "" || length > 8 * address.length) return undefined;
  return formatPrefix({ address: maskAddress(address, length), length });
}

function arrayOf(value: Json, path: string): Json[] {
  if (Array.isArray(value)) return value;
  throw problem("invalid-value", path, "is not an array");
}

/** What tells an entry of a list from the others. */
export function keyOf(node: IkelessNode, entry: JsonObject): string {
  return JSON.stringify(node.keys.map((key) => String(entry[key] ?? "")));
}

/** @param path of the list */
export function entryPath(node: IkelessNode, path: string, entry: JsonObject): string {
  const predicates = node.keys.map((key) => {
    const value = String(entry[key] ?? "");
    return value.includes("'") ? `[${key}="${value.replaceAll('"', "")}"]` : `[${key}='${value}']`;
  });
  return `${path}${predicates.join("")}`;
}

/** An element as the JSON that RFC 7951 has for it; what has no meaning is left for `decode` to refuse. */
export function fromXml(node: IkelessNode, element: XmlElement): Json {
  if (node.kind === "leaf" || node.kind === "leaf-list") return leafFromXml(node, element.text.trim());
  const members = new Map<string, Json>();
  for (const child of element.children) {
    const known = child.namespace === ikelessNamespace ? childOf(node, child.name) : undefined;
    const value = known ? fromXml(known, child) : null;
    const former = members.get(child.name);
    if (known?.kind === "list" || known?.kind === "leaf-list")
      members.set(child.name, [...(Array.isArray(former) ? former : []), value]);
    else if (members.has(child.name))
      throw problem("bad-element", known?.path ?? node.path, `has <${child.name}> twice`);
    else members.set(known ? child.name : `{${child.namespace}}${child.name}`, value);
  }
  return objectOf(members);
}

function leafFromXml(node: IkelessNode, text: string): Json {
  const isNumber = /^\d{1,15}$/.test(text);
  switch (node.value) {
    case "uint8":
    case "uint16":
    case "uint32":
    case "protocol":
      return isNumber ? Number(text) : text;
    case "boolean":
      return text === "true" || text === "false" ? text === "true" : text;
    default:
      return text;
  }
}
