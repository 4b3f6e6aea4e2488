// The data node that a request's body holds (RFC 8040, sections 4.4 to 4.6): exactly one, whose name and keys are read
// here, because the resource's path and Location depend on them; everything else about it is the schema's to judge.

import type { Schema, SchemaNode } from "../config/schema.js";
import type { Edit, Format } from "../config/tree.js";
import { failure, invalidValue, malformed } from "./errors.js";
import { decodeUtf8, isObject, type Json, type JsonObject, objectOf, parseJsonObject } from "./json.js";
import { findChild, type Segment, type Target } from "./path.js";
import { childOf, parseXml, printXml, type XmlElement } from "./xml-read.js";

export interface Body extends Segment {
  value: NonNullable<Edit["value"]>;
}

const restconfNamespace = "urn:ietf:params:xml:ns:yang:ietf-restconf";

/** Reads the one child of `parent` that a body holds. @throws RestconfError */
export function readChild(
  schema: Pick<Schema, "modules">,
  parent: Target,
  bytes: Uint8Array,
  format: Format,
): Body {
  const text = decodeUtf8(bytes);
  return format === "json"
    ? childInJson(schema, parent, parseJsonObject(text), text)
    : childInXml(schema, parent, parseXml(text), text);
}

/** Reads the body of a PUT or PATCH, which must be the target itself. @throws RestconfError */
export function readTarget(
  schema: Pick<Schema, "modules">,
  target: Target,
  bytes: Uint8Array,
  format: Format,
): Body["value"] {
  if (!target.node) return readDatastore(bytes, format);
  const parent = { ...target, segments: target.segments.slice(0, -1), node: target.segments.at(-2)?.node };
  const body = readChild(schema, parent, bytes, format);
  checkIsTarget(target, body);
  return body.value;
}

/** @throws RestconfError when a body's node is another one than the path says */
export function checkIsTarget(target: Target, body: Segment): void {
  const expected = target.segments.at(-1);
  if (body.node !== target.node) {
    throw invalidValue(
      `the body holds "${body.node.name}", the path names "${target.node?.name}"`,
      target.path,
    );
  }
  const keys = expected?.keys ?? [];
  if (keys.some((key, i) => !sameValue(key, body.keys[i] ?? ""))) {
    throw invalidValue("the keys in the body are not those in the path", target.path);
  }
}

/** Keys are compared as values: 0010 and 10 name the same SPI. */
function sameValue(a: string, b: string): boolean {
  return a === b || (/^\d{1,15}$/.test(a) && /^\d{1,15}$/.test(b) && Number(a) === Number(b));
}

/** The whole configuration: what stands in ietf-restconf:data. */
function readDatastore(bytes: Uint8Array, format: Format): Body["value"] {
  const text = decodeUtf8(bytes);
  if (format === "json") {
    const document = parseJsonObject(text);
    if (Object.keys(document).length !== 1 || !isObject(document["ietf-restconf:data"])) {
      throw malformed('the body is not {"ietf-restconf:data": {…}}');
    }
    return { text, format, document };
  }
  const root = parseXml(text);
  if (root.name !== "data" || root.namespace !== restconfNamespace) {
    throw malformed(`the body is not <data xmlns="${restconfNamespace}">`);
  }
  return { text: printXml(root), format };
}

export function childInJson(
  schema: Pick<Schema, "modules">,
  parent: Target,
  document: JsonObject,
  text?: string,
): Body {
  const [first, ...more] = Object.entries(document);
  if (!first || more.length > 0) throw malformed("the body does not hold exactly one data node");
  const [member, content] = first;
  const colon = member.indexOf(":");
  const module = colon < 0 ? (parent.node?.module ?? "vita-gateway") : member.slice(0, colon);
  const node = childNode(schema, parent, member.slice(colon + 1), module);
  // Inside of a value (RFC 8072) names need no module; at the top they do.
  const qualified =
    colon < 0 || text === undefined ? JSON.stringify(objectOf([[`${module}:${node.name}`, content]])) : text;
  return { node, keys: keysInJson(node, content), value: { text: qualified, format: "json" } };
}

function keysInJson(node: SchemaNode, content: Json): string[] {
  if (node.kind !== "list" && node.kind !== "leaf-list") return [];
  if (!Array.isArray(content) || content.length !== 1) {
    throw malformed(`"${node.name}" is not an array with exactly one entry`);
  }
  const entry = content[0] as Json;
  if (node.kind === "leaf-list") return [String(entry)];
  if (!isObject(entry)) throw malformed(`the entry of "${node.name}" is not an object`);
  return node.keys.map((key) => {
    const value = entry[key] ?? entry[`${node.module}:${key}`];
    return value === undefined || typeof value === "object" ? missingKey(node, key) : String(value);
  });
}

export function childInXml(
  schema: Pick<Schema, "modules">,
  parent: Target,
  root: XmlElement,
  text?: string,
): Body {
  const module = schema.modules.find((entry) => entry.namespace === root.namespace)?.name;
  if (module === undefined) {
    throw failure("unknown-namespace", `<${root.name}> has a namespace that is no module's`);
  }
  const node = childNode(schema, parent, root.name, module);
  const value = { text: text ?? printXml(root), format: "xml" as const };
  if (node.kind === "leaf-list") return { node, keys: [root.text], value };
  const keys = node.keys.map((key) => childOf(root, key)?.text.trim() ?? missingKey(node, key));
  return { node, keys, value };
}

function childNode(
  schema: Pick<Schema, "modules">,
  parent: Target,
  name: string,
  module: string,
): SchemaNode {
  const children = parent.node?.children ?? schema.modules.find((entry) => entry.name === module)?.data ?? [];
  const node = findChild(children, name, module);
  if (!node) {
    throw failure(
      "unknown-element",
      `there is no "${name.slice(0, 64)}" ${parent.node ? "below the resource" : ""}`,
      {
        path: parent.node ? parent.path : undefined,
      },
    );
  }
  if (!node.config) throw invalidValue(`"${node.name}" is state, which cannot be written`);
  return node;
}

function missingKey(node: SchemaNode, key: string): never {
  throw failure("missing-element", `the entry of "${node.name}" is without its key "${key}"`);
}
