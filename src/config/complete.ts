// From libyang's JSON to the form of `Configuration`: every default is there, lists are there if empty, and 32-bit numbers that
// may be written as text are numbers.

import { type JsonObject, localName } from "./document.js";
import type { SchemaNode, SchemaType } from "./schema.js";

/** The typedef for numbers that may be written as text. */
const NUMBER = "number32";

/** Changes an object, in which all defaults are, that holds what `parent` has below it. */
export function complete(object: JsonObject, children: readonly SchemaNode[]): JsonObject {
  for (const node of children) {
    const { name, kind } = node;
    const value = object[name];
    if (kind === "list" || kind === "leaf-list") {
      // What is there under a condition only is left out where that does not hold.
      if (value === undefined) {
        if (node.when === undefined && node.config) object[name] = [];
      } else if (kind === "list") for (const entry of value as JsonObject[]) complete(entry, node.children);
    } else if (kind === "container") {
      if (value !== undefined) complete(value as JsonObject, node.children);
    } else if (typeof value === "string" && node.type?.typedef === NUMBER) object[name] = Number(value);
  }
  return object;
}

/** Of libyang's JSON: the members at the top, without their module's name. */
export function parseTop(text: string): JsonObject {
  const document = JSON.parse(text) as JsonObject;
  return Object.fromEntries(Object.entries(document).map(([name, value]) => [localName(name), value]));
}

/** Makes the complete form of what was given, which stays as it is. */
export type Completion = (given: JsonObject) => JsonObject;

const known = new WeakMap<SchemaNode, Completion | undefined>();

/**
 * How entries of a list are completed without libyang, which would have to print each of them again.
 * @returns undefined when only libyang can know which defaults an entry has
 */
export function completionOf(node: SchemaNode): Completion | undefined {
  if (!known.has(node)) known.set(node, compile(node));
  return known.get(node);
}

function compile({ children }: SchemaNode): Completion | undefined {
  const members: [name: string, complete: (value: unknown) => unknown][] = [];
  for (const node of children) {
    if (!node.config) continue;
    const member = memberOf(node);
    if (!member) return undefined;
    members.push([node.name, member]);
  }
  return (given) => {
    const object: JsonObject = {};
    for (const [name, member] of members) {
      const value = member(given[name]);
      if (value !== undefined) object[name] = value;
    }
    return object;
  };
}

/** A member's value in the complete form, from the one that was given. */
function memberOf(node: SchemaNode): ((value: unknown) => unknown) | undefined {
  const { kind, when, presence } = node;
  if (kind === "leaf") {
    const fallback =
      node.default && when === undefined ? defaultValue(node.type, node.default[0]) : undefined;
    if (node.default && fallback === undefined) return undefined;
    return node.type?.typedef === NUMBER
      ? (value) => (typeof value === "string" ? Number(value) : (value ?? fallback))
      : (value) => value ?? fallback;
  }
  if (kind === "leaf-list" && !node.default) return (value) => value ?? (when === undefined ? [] : undefined);
  if (kind !== "list" && kind !== "container") return undefined;
  const inner = compile(node);
  if (!inner) return undefined;
  if (kind === "list")
    return (value) =>
      value === undefined ? (when === undefined ? [] : undefined) : (value as JsonObject[]).map(inner);
  if (presence) return (value) => value && inner(value as JsonObject);
  return when === undefined ? (value) => inner((value as JsonObject | undefined) ?? {}) : undefined;
}

/** A default as JSON has it; undefined for types whose form depends on the value. */
function defaultValue(type: SchemaType | undefined, text: string): unknown {
  if (type?.typedef === NUMBER || /^u?int(8|16|32)$/.test(type?.base ?? "")) return Number(text);
  if (type?.base === "boolean") return text === "true";
  return /^(string|enumeration|u?int64)$/.test(type?.base ?? "") ? text : undefined;
}
