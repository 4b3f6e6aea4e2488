// From libyang's JSON with all defaults to the form of `Configuration`: lists are there if empty, and 32-bit numbers that may
// be written as text are numbers.

import { type JsonObject, localName } from "./document.js";
import type { SchemaNode } from "./schema.js";

/** The typedef for numbers that may be written as text. */
const NUMBER = "number32";

/** Changes an object that holds what `parent` has below it. */
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
