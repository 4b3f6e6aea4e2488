// What a path on the command line leads to, by the model.

import { isOwnPrefix, type Segment } from "../config/data-path.js";
import { MODULE_NAME, Schema, type SchemaNode } from "../config/schema.js";
import type { TargetKind } from "./config-value.js";
import { parsePath } from "./data-path.js";
import { CliError, EXIT_USAGE } from "./exit-codes.js";

export interface Target {
  /** None for the whole configuration. */
  readonly segments: readonly Segment[];
  readonly node: SchemaNode | undefined;
  readonly last: Segment | undefined;
  /** Does the path name a list or leaf-list as a whole, without the keys of one entry? */
  readonly isWhole: boolean;
  /** Is it a key of a list's entry? */
  readonly isKey: boolean;
}

/** @throws CliError when the path is not one of the model */
export function resolveTarget(path: string): Target {
  let segments: Segment[];
  try {
    segments = parsePath(path);
  } catch (error) {
    throw new CliError((error as Error).message, EXIT_USAGE);
  }
  const schema = Schema.load();
  let children = schema.modules.find(({ name }) => name === MODULE_NAME)?.data ?? [];
  let node: SchemaNode | undefined;
  let isKey = false;
  let at = "";
  const ordered: Segment[] = [];
  for (const [i, segment] of segments.entries()) {
    isKey = node?.keys.includes(segment.name) ?? false;
    node = isOwnPrefix(segment.prefix) ? children.find(({ name }) => name === segment.name) : undefined;
    at += `/${isOwnPrefix(segment.prefix) ? "" : `${segment.prefix}:`}${segment.name}`;
    if (!node)
      throw new CliError(
        `${at}: there is no such ${i === segments.length - 1 ? "node" : "container or list"} in the model${suggestion(segment.name, children)}`,
        EXIT_USAGE,
      );
    ordered.push({ name: segment.name, keys: orderKeys(node, segment, at) });
    if (i < segments.length - 1 && node.kind === "list" && segment.keys.size === 0)
      throw new CliError(`${at}: which one? ${example(node, at)}`, EXIT_USAGE);
    children = node.children;
  }
  const last = ordered.at(-1);
  return {
    segments: ordered,
    node,
    last,
    isWhole: node !== undefined && isList(node) && last?.keys.size === 0,
    isKey,
  };
}

function isList({ kind }: SchemaNode): boolean {
  return kind === "list" || kind === "leaf-list";
}

function orderKeys(node: SchemaNode, { keys }: Segment, at: string): Segment["keys"] {
  if (keys.size === 0) return keys;
  if (!isList(node)) throw new CliError(`${at}: is no list and has no keys`, EXIT_USAGE);
  const names = node.kind === "list" ? node.keys : ["."];
  const unknown = [...keys.keys()].find((key) => !names.includes(key));
  if (unknown) throw new CliError(`${at}: ${unknown} is not its key; ${example(node, at)}`, EXIT_USAGE);
  if (keys.size !== names.length)
    throw new CliError(`${at}: has the keys ${names.join(" and ")}; ${example(node, at)}`, EXIT_USAGE);
  return new Map(names.map((name) => [name, keys.get(name) as string]));
}

function example(node: SchemaNode, at: string): string {
  const names = node.kind === "list" ? node.keys : ["."];
  return `write ${at}${names.map((name) => `[${name}=…]`).join("")}`;
}

/** The nearest name there is, if there is one that looks like a slip of the finger. */
function suggestion(name: string, children: readonly SchemaNode[]): string {
  const near = children.find((child) => distance(child.name, name) <= 2);
  return near ? ` (did you mean ${near.name}?)` : "";
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

/** @throws CliError where a path leads to the whole configuration, or to a key, but a node is needed that can be changed */
export function oneNode(target: Target): { node: SchemaNode; last: Segment; kind: TargetKind } {
  const { node, last } = target;
  if (!node || !last) throw new CliError("/: is the whole configuration; use load for it", EXIT_USAGE);
  if (target.isKey)
    throw new CliError(
      `/${target.segments.map(({ name }) => name).join("/")}: is the key of its entry, and stays as it is: ` +
        "add another entry, and remove this one",
      EXIT_USAGE,
    );
  return { node, last, kind: node.kind as TargetKind };
}
