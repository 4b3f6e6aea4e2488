// What of a resource an answer holds: `content`, `depth` and `fields` (RFC 8040, sections 4.8.1 to 4.8.3), applied to
// data in JSON. The keys of a list's entries always stay, so that what is left can still be told apart.

import type { SchemaNode } from "../config/schema.js";
import { invalidValue } from "./errors.js";
import { isObject, type Json, type JsonObject, objectOf } from "./json.js";
import { findChild } from "./path.js";

/** Children that are asked for, by name; the value says which of their children, undefined that all are. */
export type Selection = Map<string, Selection | undefined>;

export interface Cut {
  content: "all" | "config" | "nonconfig";
  depth: number;
  fields: Selection | undefined;
}

/**
 * @param value the node's value: an array for a list or leaf-list
 * @returns undefined when nothing is left of it
 */
export function prune(node: SchemaNode, value: Json, cut: Cut): Json | undefined {
  if (node.kind === "leaf" || node.kind === "leaf-list") {
    return cut.content === "all" || (cut.content === "config") === node.config ? value : undefined;
  }
  if (cut.content === "config" && !node.config) return undefined;
  if (Array.isArray(value)) {
    return value.map((entry) => pruneChildren(node.children, node.keys, entry as JsonObject, cut));
  }
  return isObject(value) ? pruneChildren(node.children, node.keys, value, cut) : value;
}

/** The same for the members of an object: those of a container, of a list's entry, or of a datastore. */
export function pruneChildren(
  children: readonly SchemaNode[],
  keys: readonly string[],
  object: JsonObject,
  cut: Cut,
): JsonObject {
  const kept: [string, Json][] = [];
  for (const [member, value] of Object.entries(object)) {
    const colon = member.indexOf(":");
    const name = member.slice(colon + 1);
    if (keys.includes(name)) {
      kept.push([member, value]);
      continue;
    }
    const node = findChild(children, name, colon < 0 ? undefined : member.slice(0, colon));
    const inner = node && below(cut, selected(cut.fields, member, name));
    const left = inner && prune(node, value, inner);
    if (left !== undefined && !(cut.content === "nonconfig" && node?.config && isHollow(node, left))) {
      kept.push([member, left]);
    }
  }
  return objectOf(kept);
}

function selected(
  fields: Selection | undefined,
  member: string,
  name: string,
): Selection | undefined | "left out" {
  if (!fields) return undefined;
  if (fields.has(member)) return fields.get(member);
  if (fields.has(name)) return fields.get(name);
  return "left out";
}

/** What holds for a child. The ancestors of what `fields` names are all of depth 1, and so is what it names. */
function below(cut: Cut, fields: Selection | undefined | "left out"): Cut | undefined {
  if (fields === "left out") return undefined;
  if (cut.fields) return { ...cut, fields };
  return cut.depth > 1 ? { ...cut, depth: cut.depth - 1 } : undefined;
}

/** A configuration node that is there only for state below it, and has none. */
function isHollow(node: SchemaNode, value: Json): boolean {
  if (Array.isArray(value)) return value.every((entry) => isHollow(node, entry));
  return isObject(value) && Object.keys(value).every((name) => node.keys.includes(name));
}

/**
 * `fields` as a selection: `id;gateway(ip);child/esp-proposal`.
 * @throws RestconfError invalid-value when it is malformed or names what the schema does not have
 */
export function parseFields(text: string, children: readonly SchemaNode[]): Selection {
  let at = 0;
  const wrong = (what: string) => invalidValue(`query parameter "fields": ${what}`);
  const list = (nodes: readonly SchemaNode[], selection: Selection): void => {
    for (;;) {
      path(nodes, selection);
      if (text[at] !== ";") return;
      at += 1;
    }
  };
  const path = (nodes: readonly SchemaNode[], selection: Selection): void => {
    const [identifier = ""] = /^(?:[A-Za-z_][\w.-]*:)?[A-Za-z_][\w.-]*/.exec(text.slice(at)) ?? [];
    if (identifier === "") throw wrong(`a name is missing at character ${at + 1}`);
    at += identifier.length;
    const colon = identifier.indexOf(":");
    const name = identifier.slice(colon + 1);
    const node = findChild(nodes, name, colon < 0 ? undefined : identifier.slice(0, colon));
    if (!node) throw wrong(`there is no "${identifier}"`);
    const opens = text[at] === "(";
    if (!opens && text[at] !== "/") {
      selection.set(name, undefined);
      return;
    }
    at += 1;
    // What is asked for as a whole stays whole.
    const known = selection.has(name);
    const inner: Selection = selection.get(name) ?? new Map();
    if (!known || selection.get(name)) selection.set(name, inner);
    if (!opens) return path(node.children, inner);
    list(node.children, inner);
    if (text[at] !== ")") throw wrong(`")" is missing at character ${at + 1}`);
    at += 1;
  };
  const selection: Selection = new Map();
  list(children, selection);
  if (at < text.length) throw wrong(`"${text[at]}" is not expected at character ${at + 1}`);
  return selection;
}
