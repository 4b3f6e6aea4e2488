// Resource identifiers (RFC 8040, section 3.5.3): `vita-gateway:inbound-sa=1234/key` is looked up in the schema, and
// becomes the path by which the datastore knows the node. What is encoded is decoded once, after it has been cut.

import { formatSteps } from "../config/data-path.js";
import type { Schema, SchemaNode } from "../config/schema.js";
import { invalidValue, notFound } from "./errors.js";

export interface Segment {
  node: SchemaNode;
  /** Values of a list's keys, or the one of a leaf-list; empty where the segment names none. */
  keys: string[];
}

/** A datastore (no segments) or a data node. */
export interface Target {
  segments: Segment[];
  /** The last segment's; undefined for the datastore. */
  node: SchemaNode | undefined;
  /** Data path for the datastore: `/vita-gateway:inbound-sa[spi='1234']/key`; "/" for the datastore itself. */
  path: string;
  /** A list or leaf-list without the keys that would name one entry. */
  whole: boolean;
}

/** Largest number of bytes of a path; beyond, nothing can exist. */
const longest = 8192;

/**
 * @param encoded what follows the datastore's own path, still percent-encoded, without query
 * @param base where a relative identifier starts
 * @throws RestconfError 400 when it is malformed, 404 when the schema has no such node
 */
export function parseTarget(schema: Pick<Schema, "modules">, encoded: string, base?: Target): Target {
  const segments = [...(base?.segments ?? [])];
  const text = encoded.replace(/^\//, "");
  if (text.length > longest) throw invalidValue(`the path is longer than ${longest} bytes`);
  if (text !== "") {
    for (const part of text.split("/")) segments.push(segmentOf(schema, segments.at(-1)?.node, part));
  }
  return targetOf(segments);
}

export function targetOf(segments: Segment[]): Target {
  const last = segments.at(-1);
  segments.forEach((segment, i) => {
    const needsKeys = i < segments.length - 1 && segment.node.kind === "list" && segment.keys.length === 0;
    if (needsKeys) {
      throw invalidValue(
        `list "${segment.node.name}" is in the path without its keys: ${keyForm(segment.node)}`,
      );
    }
  });
  const many = last?.node.kind === "list" || last?.node.kind === "leaf-list";
  return {
    segments,
    node: last?.node,
    path: dataPath(segments),
    whole: many && last.keys.length === 0,
  };
}

export function parentOf(target: Target): Target {
  return targetOf(target.segments.slice(0, -1));
}

/** `route={id}`. */
function keyForm(node: SchemaNode): string {
  const keys = node.kind === "list" ? node.keys : ["value"];
  return keys.length === 0
    ? `${node.name} has none`
    : `${node.name}=${keys.map((key) => `{${key}}`).join(",")}`;
}

function segmentOf(schema: Pick<Schema, "modules">, parent: SchemaNode | undefined, part: string): Segment {
  if (part === "") throw invalidValue("the path has an empty segment");
  const equals = part.indexOf("=");
  const identifier = decode(equals < 0 ? part : part.slice(0, equals));
  const [, module, name = ""] =
    /^(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)$/.exec(identifier) ?? rejectIdentifier(identifier);
  if (parent === undefined && module === undefined) {
    throw invalidValue(`"${name}" needs the name of its module before it, as in vita-gateway:${name}`);
  }
  const children = parent?.children ?? schema.modules.find((entry) => entry.name === module)?.data ?? [];
  const node = findChild(children, name, module ?? parent?.module);
  if (!node) {
    const where = parent === undefined ? `module "${module}"` : `"${parent.name}"`;
    throw notFound(`${where} has no data node "${identifier}"`);
  }
  const keys =
    equals < 0
      ? []
      : part
          .slice(equals + 1)
          .split(",")
          .map(decode);
  if (equals >= 0) checkKeys(node, keys);
  return { node, keys };
}

function rejectIdentifier(identifier: string): never {
  throw invalidValue(`${JSON.stringify(identifier.slice(0, 64))} is not a name of the model`);
}

function checkKeys(node: SchemaNode, keys: string[]): void {
  const expected = node.kind === "list" ? node.keys.length : node.kind === "leaf-list" ? 1 : 0;
  if (expected === 0) throw invalidValue(`"${node.name}" has no keys`);
  if (keys.length !== expected) {
    throw invalidValue(
      `"${node.name}" has ${expected} key${expected > 1 ? "s" : ""}, the path ${keys.length}: ${keyForm(node)}`,
    );
  }
}

/** Percent-decoding; bytes that are no UTF-8, and characters that no YANG string can have, are refused. */
function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw invalidValue("the path is not percent-encoded UTF-8");
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for (RFC 7950, section 9.4)
  if (/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(decoded)) {
    throw invalidValue("the path has a control character");
  }
  return decoded;
}

/** A data node's child, through choices and cases, which data paths do not name. */
export function findChild(
  children: readonly SchemaNode[],
  name: string,
  module: string | undefined,
): SchemaNode | undefined {
  for (const child of children) {
    if (child.kind === "choice" || child.kind === "case") {
      const inner = findChild(child.children, name, module);
      if (inner) return inner;
    } else if (child.name === name && (module === undefined || child.module === module)) return child;
  }
  return undefined;
}

/** The data nodes below a schema node, choices and cases resolved. */
export function dataChildren(children: readonly SchemaNode[]): SchemaNode[] {
  return children.flatMap((child) =>
    child.kind === "choice" || child.kind === "case" ? dataChildren(child.children) : [child],
  );
}

function dataPath(segments: readonly Segment[]): string {
  return formatSteps(
    segments.map(({ node, keys }) => {
      // XPath 1.0 has no escapes: a literal stands between the quotes that it does not contain.
      if (keys.some((key) => key.includes("'") && key.includes('"')))
        throw invalidValue("a key with both kinds of quotation marks cannot be addressed");
      return {
        node,
        keys: new Map(keys.map((key, i) => [node.kind === "leaf-list" ? "." : node.keys[i], key])),
      };
    }),
  );
}

/** The same as a resource identifier, without leading slash. */
export function resourceIdentifier(segments: readonly Segment[]): string {
  let module = "";
  return segments
    .map(({ node, keys }) => {
      const name = node.module === module ? node.name : `${node.module}:${node.name}`;
      module = node.module;
      return keys.length === 0 ? name : `${name}=${keys.map(encodeKey).join(",")}`;
    })
    .join("/");
}

export function encodeKey(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
