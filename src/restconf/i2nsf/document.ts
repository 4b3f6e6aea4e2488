// An ietf-i2nsf-ikeless document that edits are applied to, as NETCONF and YANG Patch have them. It says what is to be
// there; whether a node can do it, translate.ts says.

import { splitPath } from "../../config/data-path.js";
import type { Edit } from "../../config/edit.js";
import { isObject, type Json, type JsonObject, parseJsonObject } from "../json.js";
import { parseXml } from "../xml-read.js";
import { decode, entryPath, fromXml, keyOf } from "./decode.js";
import { childOf, IKELESS, type IkelessNode, ikelessNamespace, ikelessRoot } from "./model.js";
import { problem } from "./problems.js";

interface Step {
  node: IkelessNode;
  /** Of a list's or leaf-list's entry. */
  key?: string;
  /** Up to here. */
  path: string;
}

const rootName = ikelessRoot.name;
const top: IkelessNode = { ...ikelessRoot, name: "", path: "", children: [ikelessRoot] };

export class IkelessDocument {
  readonly #data: JsonObject;

  /** @param content of `ipsec-ikeless`, canonical; it becomes the document's */
  constructor(content: JsonObject) {
    this.#data = { [rootName]: content };
  }

  get content(): JsonObject {
    return this.#data[rootName] as JsonObject;
  }

  clone(): IkelessDocument {
    return new IkelessDocument(structuredClone(this.content));
  }

  /** The document is JavaScript's. */
  free(): void {}

  exists(path: string): boolean {
    return this.#find(stepsOf(path)) !== undefined;
  }

  /** The node at a path, as a document with its name; an entry of a list in an array. */
  at(path: string): JsonObject | undefined {
    const steps = stepsOf(path);
    const found = this.#find(steps);
    const last = steps.at(-1);
    if (found === undefined || !last) return undefined;
    return { [`${IKELESS}:${last.node.name}`]: last.key === undefined ? found : [found] };
  }

  /** Paths of the secrets that are here and not there. */
  diff(to: IkelessDocument): string[] {
    return secretPaths(ikelessRoot, this.content, ikelessRoot.path).filter((path) => !to.exists(path));
  }

  /** @throws ConfigurationError; the document may have changed then */
  apply(edit: Edit): void {
    const steps = stepsOf(edit.target);
    if (edit.operation !== "add") return this.#applyAt(edit, steps);
    const parent = steps.at(-1)?.node ?? top;
    const [node, value] = readValue(edit, parent, edit.target);
    const [entry] = Array.isArray(value) ? value : [];
    const key =
      node.kind === "list"
        ? keyOf(node, entry as JsonObject)
        : node.kind === "leaf-list"
          ? String(entry)
          : undefined;
    const at = `${steps.at(-1)?.path ?? ""}/${node.name}`;
    const path = node.kind === "list" ? entryPath(node, at, entry as JsonObject) : at;
    const step = { node, path, ...(key !== undefined && { key }) };
    this.#put({ ...edit, operation: "create" }, [...steps, step], value);
  }

  #applyAt(edit: Edit, steps: Step[]): void {
    const last = steps.at(-1);
    if (!last) throw problem("invalid-value", "/", "is not part of this model");
    if (edit.operation === "delete" || edit.operation === "remove") {
      if (this.#find(steps) !== undefined) this.#remove(steps);
      else if (edit.operation === "delete") throw problem("data-missing", last.path, "is not there");
      return;
    }
    if (edit.operation === "move") {
      const entry = this.#find(steps);
      if (entry === undefined) throw problem("data-missing", last.path, "is not there");
      this.#remove(steps);
      return this.#put({ ...edit, operation: "create" }, steps, [entry]);
    }
    const [node, value] = readValue(edit, steps.at(-2)?.node ?? top, last.path);
    if (node !== last.node) throw problem("invalid-value", last.path, "is not what the value holds");
    this.#put(edit, steps, value);
  }

  #find(steps: readonly Step[]): Json | undefined {
    let at: Json | undefined = this.#data;
    for (const { node, key } of steps) {
      const value: Json | undefined = isObject(at) ? at[node.name] : undefined;
      at = key === undefined || !Array.isArray(value) ? value : value[indexOf(node, value, key)];
    }
    return at;
  }

  /** The object that has the last step's node as a member; containers on the way are made. */
  #holder(steps: readonly Step[]): JsonObject {
    let at = this.#data;
    for (const { node, key, path } of steps.slice(0, -1)) {
      at[node.name] ??= node.kind === "container" ? {} : [];
      const value = at[node.name] as Json;
      const next = key === undefined || !Array.isArray(value) ? value : value[indexOf(node, value, key)];
      if (!isObject(next)) throw problem("data-missing", path, "is not there");
      at = next;
    }
    return at;
  }

  #remove(steps: readonly Step[]): void {
    const { node, key } = steps.at(-1) as Step;
    const holder = this.#holder(steps);
    const list = holder[node.name];
    if (key !== undefined && Array.isArray(list)) list.splice(indexOf(node, list, key), 1);
    else if (node === ikelessRoot) holder[node.name] = {};
    else delete holder[node.name];
  }

  #put(edit: Edit, steps: readonly Step[], value: Json): void {
    const { node, key, path } = steps.at(-1) as Step;
    const holder = this.#holder(steps);
    if (key === undefined) {
      const former = holder[node.name];
      if (edit.operation === "create" && isThere(former))
        throw problem("data-exists", path, "is there already");
      if (edit.operation === "merge") mergeMember(node, holder, value);
      else holder[node.name] = value;
      return;
    }
    holder[node.name] ??= [];
    const list = holder[node.name] as Json[];
    const [entry = null] = Array.isArray(value) ? value : [];
    const index = indexOf(node, list, key);
    if (index >= 0 && edit.operation === "create") throw problem("data-exists", path, "is there already");
    if (index >= 0 && edit.operation === "merge") {
      if (isObject(entry)) mergeObject(node, list[index] as JsonObject, entry);
    } else if (index >= 0 && edit.where === undefined) list[index] = entry;
    else {
      if (index >= 0) list.splice(index, 1);
      list.splice(this.#place(edit, node, list), 0, entry);
    }
  }

  #place(edit: Edit, node: IkelessNode, list: Json[]): number {
    if (edit.where === "first") return 0;
    if (edit.where === undefined || edit.where === "last") return list.length;
    const point = stepsOf(edit.point ?? "/").at(-1);
    const index = point?.node === node && point.key !== undefined ? indexOf(node, list, point.key) : -1;
    if (index < 0)
      throw problem("data-missing", edit.point ?? "/", "is not there to put something beside it");
    return edit.where === "before" ? index : index + 1;
  }
}

function stepsOf(path: string): Step[] {
  let node = top;
  let at = "";
  return (splitPath(path === "/" ? "" : path) ?? []).map(({ name, keys }) => {
    const child = childOf(node, name);
    if (!child) throw problem("unknown-element", path, "there is nothing of this name");
    node = child;
    at = at === "" ? child.path : `${at}/${name}`;
    if (keys.size === 0) return { node, path: at };
    const entry = Object.fromEntries(keys);
    const isList = node.kind === "list";
    at = isList ? entryPath(node, at, entry) : at;
    return { node, path: at, key: isList ? keyOf(node, entry) : (keys.get(".") ?? "") };
  });
}

function indexOf(node: IkelessNode, list: readonly Json[], key: string): number {
  return list.findIndex((entry) =>
    node.kind === "list" ? isObject(entry) && keyOf(node, entry) === key : String(entry) === key,
  );
}

/** An empty container is there like one that nobody has written. */
function isThere(value: Json | undefined): boolean {
  if (value === undefined) return false;
  return !isObject(value) || Object.values(value).some(isThere);
}

function readValue(edit: Edit, parent: IkelessNode, path: string): [IkelessNode, Json] {
  const { text, format } = edit.value ?? { text: "{}", format: "json" };
  if (format === "xml") {
    const element = parseXml(text);
    const node = element.namespace === ikelessNamespace ? childOf(parent, element.name) : undefined;
    if (!node) throw problem("unknown-element", path, "does not have what the value holds");
    const value = fromXml(node, element);
    return [
      node,
      decode(
        node,
        node.kind === "list" || node.kind === "leaf-list" ? [value] : value,
        pathBelow(parent, path, node),
      ),
    ];
  }
  const [[member, value] = ["", null]] = Object.entries(parseJsonObject(text));
  const node = childOf(parent, member.replace(`${IKELESS}:`, ""));
  if (!node) throw problem("unknown-element", path, "does not have what the value holds");
  return [node, decode(node, value, pathBelow(parent, path, node))];
}

/** @param path of the parent, or of the node itself */
function pathBelow(parent: IkelessNode, path: string, node: IkelessNode): string {
  const plain = path.replace(/\[(?:[\w.-]+)=(?:'[^']*'|"[^"]*")\]/g, "");
  const own = path.replace(/(\[(?:[\w.-]+)=(?:'[^']*'|"[^"]*")\])+$/, "");
  return plain === parent.path ? `${path}/${node.name}` : own;
}

function mergeMember(node: IkelessNode, holder: JsonObject, value: Json): void {
  const former = holder[node.name];
  if (isObject(former) && isObject(value)) mergeObject(node, former, value);
  else if (Array.isArray(former) && Array.isArray(value)) {
    for (const entry of value) {
      const key = node.kind === "list" ? keyOf(node, entry as JsonObject) : String(entry);
      const known = former[indexOf(node, former, key)];
      if (known === undefined) former.push(entry);
      else if (isObject(known) && isObject(entry)) mergeObject(node, known, entry);
    }
  } else holder[node.name] = value;
}

function mergeObject(node: IkelessNode, into: JsonObject, value: JsonObject): void {
  for (const child of node.children) {
    const content = value[child.name];
    if (content !== undefined) mergeMember(child, into, content);
  }
}

function secretPaths(node: IkelessNode, value: Json, path: string): string[] {
  if (node.denyAll) return [path];
  if (Array.isArray(value))
    return value.flatMap((entry) =>
      isObject(entry) ? secretPaths(node, entry, entryPath(node, path, entry)) : [],
    );
  if (!isObject(value)) return [];
  return node.children.flatMap((child) => {
    const content = value[child.name];
    return content === undefined ? [] : secretPaths(child, content, `${path}/${child.name}`);
  });
}
