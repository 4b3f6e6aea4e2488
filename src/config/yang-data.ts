// Data trees of libyang's, as the rest of config/ handles them: each function is one or two calls, with what libyang
// allocates on the way freed again.

import {
  type Address,
  DATA,
  LYD_DEFAULT,
  LYD_DUP_RECURSIVE,
  LYD_DUP_WITH_FLAGS,
  LYD_JSON,
  LYD_PARSE_NO_STATE,
  LYD_PARSE_ONLY,
  LYD_PARSE_STRICT,
  LYD_PATH_STD,
  LYD_XML,
  libyang,
  pointerAt,
  SET,
  textAt,
  uint32At,
} from "../native/libyang.js";
import type { Schema, SchemaNode } from "./schema.js";
import { takeErrors, type YangError } from "./yang-errors.js";

export type Format = "json" | "xml";

const formats = { json: LYD_JSON, xml: LYD_XML } as const;
const PARSE = LYD_PARSE_ONLY | LYD_PARSE_STRICT | LYD_PARSE_NO_STATE;

/** libyang refused. */
export class YangFailure extends Error {
  readonly errors: readonly YangError[];
  constructor(call: string, code: number, errors: readonly YangError[]) {
    // The texts may hold values: whoever translates them decides what of them is told.
    super(`libyang: ${call} failed (error ${code})`);
    this.errors = errors;
  }
}

/** @throws YangFailure */
export function check(schema: Schema, code: number, call: string): void {
  if (code !== 0) throw new YangFailure(call, code, takeErrors(schema.context));
}

/** Parses a document, or what may stand below `parent`. Returns its first node, 0 when there is none. @throws YangFailure */
export function parseData(schema: Schema, text: string, format: Format, parent: Address = 0): Address {
  const yang = libyang();
  const tree: [Address] = [0];
  if (parent === 0) {
    const code = yang.lyd_parse_data_mem(schema.context, text, formats[format], PARSE, 0, tree);
    check(schema, code, "parsing");
    return tree[0];
  }
  const memory = yang.strdup(text);
  const input: [Address] = [0];
  try {
    check(schema, yang.ly_in_new_memory(memory, input), "ly_in_new_memory");
    const code = yang.lyd_parse_data(schema.context, parent, input[0], formats[format], PARSE, 0, tree);
    check(schema, code, "parsing");
    return tree[0];
  } finally {
    yang.ly_in_free(input[0], 0);
    yang.free(memory);
  }
}

/** @param options LYD_PRINT_… */
export function printData(schema: Schema, first: Address, format: Format, options: number): string {
  const yang = libyang();
  const text: [Address] = [0];
  check(schema, yang.lyd_print_mem(text, first, formats[format], options), "printing");
  try {
    return textAt(text[0]) ?? "";
  } finally {
    yang.free(text[0]);
  }
}

/** A copy of a node and all below it, or with `siblings` of all that follow it too. */
export function copyData(schema: Schema, node: Address, siblings = false): Address {
  const yang = libyang();
  const copy: [Address] = [0];
  const options = LYD_DUP_RECURSIVE | LYD_DUP_WITH_FLAGS;
  const code = siblings
    ? yang.lyd_dup_siblings(node, 0, options, copy)
    : yang.lyd_dup_single(node, 0, options, copy);
  check(schema, code, "copying");
  return copy[0];
}

/** The node at a path of libyang's; 0 when there is none. Nodes that stand there by default count. */
export function findData(schema: Schema, first: Address, path: string): Address {
  if (first === 0) return 0;
  const match: [Address] = [0];
  const code = libyang().lyd_find_path(first, path, 0, match);
  if (code === 0) return match[0];
  takeErrors(schema.context);
  return 0;
}

/** Nodes that an XPath expression finds. */
export function selectData(schema: Schema, first: Address, xpath: string): Address[] {
  if (first === 0) return [];
  const yang = libyang();
  const set: [Address] = [0];
  check(schema, yang.lyd_find_xpath(first, xpath, set), "lyd_find_xpath");
  try {
    const objects = pointerAt(set[0] + SET.objects);
    return Array.from({ length: uint32At(set[0] + SET.count) }, (_, i) => pointerAt(objects + 8 * i));
  } finally {
    yang.ly_set_free(set[0], null);
  }
}

/** Makes a node, and those above it, outside of all trees; returns the topmost. @throws YangFailure */
export function makeData(schema: Schema, path: string, value: string | null = null): Address {
  const node: [Address] = [0];
  check(schema, libyang().lyd_new_path(0, schema.context, path, value, 0, node), "lyd_new_path");
  return node[0];
}

/** Puts a node among siblings (0: there are none); returns the first of them then. */
export function insertSibling(schema: Schema, sibling: Address, node: Address): Address {
  const first: [Address] = [0];
  check(schema, libyang().lyd_insert_sibling(sibling, node, first), "lyd_insert_sibling");
  return first[0];
}

export const nextOf = (node: Address): Address => pointerAt(node + DATA.next);
export const parentOf = (node: Address): Address => pointerAt(node + DATA.parent);
export const schemaOf = (schema: Schema, node: Address): SchemaNode =>
  schema.nodeAt(pointerAt(node + DATA.schema)) as SchemaNode;
/** Of a container or a list's entry. */
export const childOf = (node: Address): Address => pointerAt(node + DATA.child);
export const isDefault = (node: Address): boolean => (uint32At(node + DATA.flags) & LYD_DEFAULT) !== 0;
/** Of a leaf or a leaf-list's entry: its canonical form. */
export const leafValue = (schema: Schema, node: Address): string =>
  libyang().lyd_value_get_canonical(schema.context, node + DATA.value);
/** `/vita-gateway:route[id='a']`. */
export const pathOf = (node: Address): string => libyang().lyd_path(node, LYD_PATH_STD, null, 0);
export const freeTree = (node: Address): void => libyang().lyd_free_tree(node);
export const freeSiblings = (node: Address): void => libyang().lyd_free_siblings(node);

/** A node and those that follow it. */
export function siblingsOf(first: Address): Address[] {
  const nodes: Address[] = [];
  for (let node = first; node !== 0; node = nextOf(node)) nodes.push(node);
  return nodes;
}

/** Takes a node out; returns the first of those that stay, given the first of all. */
export function takeOut(first: Address, node: Address): Address {
  const rest = first === node ? nextOf(node) : first;
  libyang().lyd_unlink_tree(node);
  return rest;
}
