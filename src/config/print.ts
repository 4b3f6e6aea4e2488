// Trees as text, in the forms of RFC 7951 (JSON) and RFC 7950 (XML). libyang prints; what it printed of an entry is kept with
// the entry, because a startup file is written anew with every change.

import {
  type Address,
  LYD_PRINT_SHRINK,
  LYD_PRINT_WD_ALL,
  LYD_PRINT_WD_TRIM,
  LYD_PRINT_WITHSIBLINGS,
} from "../native/libyang.js";
import type { DataPath } from "./data-path.js";
import { isObject, type JsonObject, localName } from "./document.js";
import type { Base, Entry, EntryTable } from "./entries.js";
import type { Parts } from "./parse.js";
import { MODULE_NAME, type Schema, type SchemaNode } from "./schema.js";
import {
  childOf,
  copyData,
  type Format,
  freeSiblings,
  freeTree,
  insertSibling,
  isDefault,
  printData,
  schemaOf,
  selectData,
  siblingsOf,
  takeOut,
} from "./yang-data.js";

export interface PrintOptions {
  readonly format: Format;
  /** What is printed of leaves that have their default: if they were given, always, or never (RFC 6243). */
  readonly defaults: "explicit" | "all" | "trim";
  /** With keys and passwords? */
  readonly secrets: boolean;
}

const modes = { explicit: 0, all: LYD_PRINT_WD_ALL, trim: LYD_PRINT_WD_TRIM } as const;

/** A whole tree. */
export function printTree(schema: Schema, parts: Parts, options: PrintOptions): string {
  if (options.format === "xml")
    return [...wholeParts(schema, parts)].map((part) => printXml(schema, part, options)).join("");
  return [...jsonParts(schema, parts, options, (table) => tableText(schema, table, options))].join("");
}

/** As it was given, with secrets, and with an empty line at the end. Lists that two trees share have the same chunk. */
export function storedTree(schema: Schema, parts: Parts): Uint8Array[] {
  const options = { format: "json", defaults: "explicit", secrets: true } as const;
  const chunks = jsonParts(schema, parts, options, (table) =>
    table.jsonOf((entry) => entryText(schema, entry, options)),
  );
  return Array.from([...chunks, "\n"], (chunk) => (typeof chunk === "string" ? Buffer.from(chunk) : chunk));
}

function* jsonParts<Text>(
  schema: Schema,
  parts: Parts,
  options: PrintOptions,
  textOf: (table: EntryTable) => Text,
): Generator<string | Text> {
  const base = baseObject(schema, parts.base, options);
  let before = "{\n";
  for (const { name } of schema.top.values()) {
    const member = `${MODULE_NAME}:${name}`;
    const table = parts.tables.get(name);
    if (table && table.entries.size > 0) {
      yield `${before}  ${JSON.stringify(member)}: [\n`;
      yield textOf(table);
      yield "\n  ]";
    } else if (base[member] !== undefined)
      yield `${before}  ${JSON.stringify(member)}: ${indented(base[member], "  ")}`;
    else continue;
    before = ",\n";
  }
  yield before === "{\n" ? "{}\n" : "\n}\n";
}

/** The nodes of a whole tree, part by part. */
function* wholeParts(schema: Schema, { base, tables }: Parts): Generator<Address[]> {
  const first = siblingsOf(base.first);
  for (const node of schema.top.values()) {
    const table = tables.get(node.name);
    if (table) for (const entry of table.entries.values()) yield [entry.node];
    else yield first.filter((address) => schemaOf(schema, address) === node);
  }
}

/**
 * What stands at a path, which names something in one part; all entries of a list when it leaves out the key. Undefined when
 * there is nothing.
 */
export function printAt(
  schema: Schema,
  parts: Parts,
  { steps, text }: DataPath,
  options: PrintOptions,
): string | undefined {
  const { node: target, keys } = steps[steps.length - 1];
  if (target.denyAll && !options.secrets) return undefined;
  const table = parts.tables.get(steps[0].node.name);
  const isWholeTable = table && steps.length === 1 && keys.size === 0;
  const entry = table?.entries.get(text);
  const nodes = isWholeTable
    ? Array.from(table.entries.values(), ({ node }) => node)
    : steps.length === 1 && table
      ? entry
        ? [entry.node]
        : []
      : selectData(schema, partOf(parts, { steps, text }), text);
  const shown = options.defaults === "all" ? nodes : nodes.filter((node) => !isDefault(node));
  if (shown.length === 0) return undefined;
  if (options.format === "xml") return printXml(schema, shown, options);
  const objects = shown.map((node) => nodeObject(schema, node, target, options));
  const member = Object.keys(objects[0])[0];
  const value =
    target.kind === "list" || target.kind === "leaf-list"
      ? objects.flatMap((object) => object[member] as unknown[])
      : objects[0][member];
  return `${JSON.stringify({ [member]: value }, null, 2)}\n`;
}

/** The first node of the part that a path leads into; 0 when there is none. */
export function partOf({ base, tables }: Parts, { steps, text }: DataPath): Address {
  const table = tables.get(steps[0].node.name);
  if (!table) return base.first;
  // The entry's own path is the beginning of every path into it.
  for (let end = text.indexOf("]"); end >= 0; end = text.indexOf("]", end + 1)) {
    const entry = table.entries.get(text.slice(0, end + 1));
    if (entry) return entry.node;
  }
  return 0;
}

function nodeObject(
  schema: Schema,
  node: Address,
  ofNode: SchemaNode,
  { defaults, secrets }: PrintOptions,
): JsonObject {
  const document = JSON.parse(
    printData(schema, node, "json", modes[defaults] | LYD_PRINT_SHRINK),
  ) as JsonObject;
  if (!secrets) for (const value of Object.values(document)) hide(value, ofNode);
  return document;
}

/** Takes the secrets out of what a node's value holds. */
function hide(value: unknown, node: SchemaNode): void {
  if (Array.isArray(value)) for (const entry of value) hide(entry, node);
  if (!isObject(value)) return;
  for (const child of node.children) {
    if (child.denyAll) delete value[child.name];
    else if (child.children.length > 0 && value[child.name] !== undefined) hide(value[child.name], child);
  }
}

function baseObject(schema: Schema, base: Base, { defaults, secrets }: PrintOptions): JsonObject {
  if (base.first === 0) return {};
  const flags = modes[defaults] | LYD_PRINT_SHRINK | LYD_PRINT_WITHSIBLINGS;
  const document = JSON.parse(printData(schema, base.first, "json", flags)) as JsonObject;
  if (!secrets)
    for (const [member, value] of Object.entries(document)) {
      const node = schema.top.get(localName(member));
      if (node?.denyAll) delete document[member];
      else if (node) hide(value, node);
    }
  return document;
}

/** What is printed with every change is kept. */
const isKeptWith = ({ defaults, secrets }: PrintOptions) => defaults === "explicit" && secrets;

function tableText(schema: Schema, table: EntryTable, options: PrintOptions): string {
  return Array.from(table.entries.values(), (entry) => entryText(schema, entry, options)).join(",\n");
}

function entryText(schema: Schema, entry: Entry, options: PrintOptions): string {
  const isKept = isKeptWith(options);
  if (isKept && entry.json !== undefined) return entry.json;
  const document = nodeObject(schema, entry.node, schemaOf(schema, entry.node), options);
  const [[object]] = Object.values(document) as [[JsonObject]];
  const text = entryJson(object);
  if (isKept) entry.json = text;
  return text;
}

/**
 * An entry of a long list as it stands in a whole tree. JSON.stringify indents it where it is two arrays deep, and what it
 * writes is one piece of memory; what replaceAll puts together is dozens.
 */
export const entryJson = (entry: JsonObject): string =>
  JSON.stringify([[entry]], null, 2).slice(ARRAYS.length, -ARRAYS.length);

const ARRAYS = "[\n  [\n";

const indented = (value: unknown, indent: string) =>
  JSON.stringify(value, null, 2).replaceAll("\n", `\n${indent}`);

/** Prints copies, which stand beside each other whatever the originals are in. */
function printXml(schema: Schema, nodes: readonly Address[], { defaults, secrets }: PrintOptions): string {
  let first = 0;
  for (const node of nodes) first = insertSibling(schema, first, copyData(schema, node));
  if (!secrets) first = takeSecretsOut(schema, first);
  if (first === 0) return "";
  try {
    return printData(schema, first, "xml", modes[defaults] | LYD_PRINT_WITHSIBLINGS);
  } finally {
    freeSiblings(first);
  }
}

function takeSecretsOut(schema: Schema, siblings: Address): Address {
  let first = siblings;
  for (const node of siblingsOf(siblings)) {
    const { denyAll, kind } = schemaOf(schema, node);
    if (denyAll) {
      first = takeOut(first, node);
      freeTree(node);
    } else if (kind === "list" || kind === "container") takeSecretsOut(schema, childOf(node));
  }
  return first;
}
