// The whole document after its edits: what must be there is, what is left out has what it means told, and what says only that
// a node does what every node does is gone.

import { isObject, type Json, type JsonObject } from "../json.js";
import { entryPath, keyOf } from "./decode.js";
import { type IkelessNode, ikelessRoot } from "./model.js";
import { problem, unsupported } from "./problems.js";

/** @param content of `ipsec-ikeless`, decoded @throws ConfigurationError */
export function complete(content: JsonObject): JsonObject {
  return completeMembers(ikelessRoot, content, ikelessRoot.path);
}

function completeMembers(node: IkelessNode, value: JsonObject, path: string): JsonObject {
  const result: JsonObject = {};
  for (const child of node.children) {
    if (!child.config || child.only || child.never) continue;
    const content = value[child.name];
    const at = `${path}/${child.name}`;
    if (child.name === "ipsec-sa-cfg" && result["action"] !== "protect") {
      if (isObject(content) && Object.keys(content).length > 0)
        throw problem("invalid-value", at, "is for the action protect alone");
      continue;
    }
    const completed = completeNode(child, node, content, at);
    if (completed !== undefined) result[child.name] = completed;
  }
  return result;
}

function completeNode(
  node: IkelessNode,
  parent: IkelessNode,
  value: Json | undefined,
  path: string,
): Json | undefined {
  switch (node.kind) {
    case "leaf": {
      const told = value ?? node.implied;
      if (told === undefined && (node.mandatory || parent.keys.includes(node.name)))
        throw problem("missing-element", path, "is missing");
      if (told === "transport") throw unsupported(path, "can be tunnel alone here, and must be told");
      return told;
    }
    case "leaf-list":
      return Array.isArray(value) && value.length > 0 ? value : undefined;
    case "list":
      return Array.isArray(value) && value.length > 0 ? completeList(node, value, path) : undefined;
    default: {
      if (value === undefined && node.optional) return undefined;
      const result = completeMembers(node, isObject(value) ? value : {}, path);
      return Object.keys(result).length > 0 ? result : undefined;
    }
  }
}

function completeList(node: IkelessNode, entries: Json[], path: string): Json[] {
  const seen = new Set<string>();
  return entries.map((entry) => {
    const object = isObject(entry) ? entry : {};
    const at = entryPath(node, path, object);
    const key = keyOf(node, object);
    if (seen.has(key)) throw problem("data-exists", at, "is there twice");
    seen.add(key);
    return completeMembers(node, object, at);
  });
}
