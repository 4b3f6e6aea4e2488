// Where a JSON document that libyang refused has another shape than the model: for such mistakes libyang tells no path.
// What is about values, it tells better itself.

import { isObject, type JsonObject, localName } from "./document.js";
import { type Problem, valueText } from "./problem.js";
import type { SchemaNode } from "./schema.js";
import { unknown, valueProblem } from "./wording.js";

/**
 * The first member that is not where it can be, or not an object or array where it must be one.
 * @param path of what the object is in, empty at the top
 */
export function shapeProblem(
  object: JsonObject,
  children: readonly SchemaNode[],
  path: string,
): Problem | undefined {
  for (const [member, value] of Object.entries(object)) {
    const name = localName(member);
    const node = children.find((child) => child.name === name);
    const at = `${path}/${name}`;
    if (!node?.config) return { path: at, rule: "unknown-element", message: unknown(node) };
    const problem = memberProblem(node, value, at);
    if (problem) return problem;
  }
  return undefined;
}

function memberProblem(node: SchemaNode, value: unknown, at: string): Problem | undefined {
  const wrong = (message: string, what: unknown = value): Problem => ({
    path: at,
    rule: "invalid-value",
    message,
    ...(node.denyAll ? {} : { value: valueText(what) }),
  });
  switch (node.kind) {
    case "container":
      return isObject(value) ? shapeProblem(value, node.children, at) : wrong("is not an object");
    case "list":
      if (!Array.isArray(value)) return wrong("is not an array");
      return first(value, (entry, index) => {
        if (!isObject(entry)) return wrong("is not an object", entry);
        const where = `${at}${entryPredicate(node, entry, index)}`;
        const missing = node.keys.find((key) => memberOf(entry, key) === undefined);
        return missing === undefined
          ? shapeProblem(entry, node.children, where)
          : { path: `${where}/${missing}`, rule: "missing-element", message: "is missing" };
      });
    case "leaf-list":
      if (!Array.isArray(value)) return wrong("is not an array");
      return first(value, (entry) =>
        typeof entry === "object" ? wrong(valueProblem(node.type!, entry).message, entry) : undefined,
      );
    default:
      return (typeof value === "object" || isHuge(value)) && node.type
        ? wrong(valueProblem(node.type, value).message)
        : undefined;
  }
}

/** libyang does not read numbers of any length. */
const isHuge = (value: unknown) => typeof value === "number" && Math.abs(value) > 2 ** 64;

function first<Value, Result>(
  values: readonly Value[],
  find: (value: Value, index: number) => Result | undefined,
): Result | undefined {
  for (const [index, value] of values.entries()) {
    const found = find(value, index);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A member by its local name. */
export function memberOf(object: JsonObject, name: string): unknown {
  return object[name] ?? Object.entries(object).find(([member]) => localName(member) === name)?.[1];
}

/** `[id="a"]`; `[2]` for the second entry when it has not all its keys. */
export function entryPredicate({ keys }: SchemaNode, entry: JsonObject, index: number): string {
  const values = keys.map((key) => memberOf(entry, key));
  return values.every((value) => typeof value === "string" || typeof value === "number")
    ? keys.map((key, i) => `[${key}=${JSON.stringify(String(values[i]))}]`).join("")
    : `[${index + 1}]`;
}

/** The same document with the keys of entries before all else, which libyang's paths need. */
export function keysFirst(value: unknown, node: SchemaNode): unknown {
  if (Array.isArray(value)) return node.kind === "list" ? value.map((entry) => ordered(entry, node)) : value;
  return isObject(value) && node.kind === "container" ? ordered(value, node) : value;
}

function ordered(value: unknown, node: SchemaNode): unknown {
  if (!isObject(value)) return value;
  const members = Object.entries(value).map(([member, inner]): [string, unknown] => {
    const child = node.children.find(({ name }) => name === localName(member));
    return [member, child ? keysFirst(inner, child) : inner];
  });
  const isKey = ([member]: [string, unknown]) => node.keys.includes(localName(member));
  return Object.fromEntries([...members.filter(isKey), ...members.filter((member) => !isKey(member))]);
}

/** The value in a document at a path of libyang's, given as names and keys; undefined when it is not there. */
export function valueAt(
  document: JsonObject,
  segments: readonly { name: string; keys: ReadonlyMap<string, string> }[],
): unknown {
  let value: unknown = document;
  for (const { name, keys } of segments) {
    if (!isObject(value)) return undefined;
    value = memberOf(value, name);
    if (keys.size > 0 && Array.isArray(value))
      value = value.find((entry) =>
        [...keys].every(([key, text]) => isObject(entry) && String(memberOf(entry, key)) === text),
      );
    else if (Array.isArray(value) && value.length === 1 && isObject(value[0])) value = value[0];
  }
  return value;
}
