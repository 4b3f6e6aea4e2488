// The value of an edit, JSON, at the place in a whole document where it belongs: libyang parses whole documents only.

import type { Step } from "./data-path.js";
import { isObject, type JsonObject } from "./document.js";
import { MODULE_NAME, type SchemaNode } from "./schema.js";
import { keysFirst, memberOf } from "./shape.js";
import { typedValue } from "./wording.js";

/** A document at its place in a document from the top. */
export function placed(document: JsonObject, parents: readonly Step[]): JsonObject {
  let inner = document;
  for (const { node, keys } of [...parents].reverse()) {
    const own = [...keys].map(([key, value]): [string, unknown] => [key, keyValue(node, key, value)]);
    inner = { [node.name]: node.kind === "list" ? [{ ...Object.fromEntries(own), ...inner }] : inner };
  }
  return qualified(inner);
}

const qualified = (document: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(document).map(([name, value]) => [
      name.includes(":") ? name : `${MODULE_NAME}:${name}`,
      value,
    ]),
  );

/** A key as JSON has it. */
const keyValue = (node: SchemaNode, key: string, value: string): unknown =>
  typedValue(node.children.find(({ name }) => name === key)?.type, value);

/** A document with one entry, with the entry's keys written into it where they are left out. */
export function withOwnKeys(document: JsonObject, step?: Step): JsonObject {
  if (step?.node.kind !== "list" || step.keys.size === 0) return document;
  const { node, keys } = step;
  const list = memberOf(document, node.name);
  const [entry] = Array.isArray(list) && list.length === 1 ? (list as unknown[]) : [];
  if (!isObject(entry)) return document;
  const filled: JsonObject = { ...entry };
  for (const [key, value] of keys)
    if (memberOf(entry, key) === undefined) filled[key] = keyValue(node, key, value);
  const others = Object.entries(document).filter(([, value]) => value !== list);
  return { ...Object.fromEntries(others), [node.name]: keysFirst([filled], node) };
}
