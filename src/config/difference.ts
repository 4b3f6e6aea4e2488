// What differs between two trees, found by libyang: for who carries a change out, for the history, and for people.

import { type Address, DATA, libyang, META, pointerAt, textAt } from "../native/libyang.js";
import { operatorPath } from "./data-path.js";
import type { Parts } from "./parse.js";
import { valueText } from "./problem.js";
import type { Schema } from "./schema.js";
import { typedValue } from "./wording.js";
import {
  check,
  childOf,
  freeSiblings,
  isDefault,
  leafValue,
  pathOf,
  schemaOf,
  siblingsOf,
} from "./yang-data.js";

export interface Difference {
  readonly operation: "create" | "delete" | "replace" | "move";
  /** Of a list's entry that is there on one side only, or of a leaf. */
  readonly path: string;
  /** Values of leaves as JSON text, but never those of secrets. */
  readonly from?: string;
  readonly to?: string;
}

/** In the order of the model, entries of long lists in theirs. */
export function differences(schema: Schema, from: Parts, to: Parts): Difference[] {
  const found: Difference[] = [];
  if (from.base !== to.base) compare(schema, from.base.first, to.base.first, found);
  for (const [name, before] of from.tables) {
    const after = to.tables.get(name);
    if (!after || after === before) continue;
    for (const [path, entry] of before.entries) {
      const other = after.entries.get(path);
      if (!other) found.push({ operation: "delete", path: operatorPath(path) });
      else if (other !== entry) compare(schema, entry.node, other.node, found);
    }
    for (const path of after.entries.keys())
      if (!before.entries.has(path)) found.push({ operation: "create", path: operatorPath(path) });
  }
  return found;
}

function compare(schema: Schema, from: Address, to: Address, found: Difference[]): void {
  const diff: [Address] = [0];
  check(schema, libyang().lyd_diff_siblings(from, to, 0, diff), "lyd_diff_siblings");
  if (diff[0] === 0) return;
  try {
    for (const node of siblingsOf(diff[0])) walk(schema, node, "none", found);
  } finally {
    freeSiblings(diff[0]);
  }
}

/** @param inherited operation of what the node is in */
function walk(schema: Schema, node: Address, inherited: string, found: Difference[]): void {
  const meta = metaOf(schema, node);
  const operation = meta.get("operation") ?? inherited;
  const { kind, presence, denyAll, children, type } = schemaOf(schema, node);
  const isInner = kind === "container" || kind === "list";
  // A container comes and goes with what is in it, and what is there by default was there before.
  if (operation === "none" || (kind === "container" && !presence)) {
    if (isInner) for (const child of siblingsOf(childOf(node))) walk(schema, child, operation, found);
    return;
  }
  if (isDefault(node) && !meta.has("operation")) return;
  const path = operatorPath(pathOf(node));
  if (isInner) {
    found.push({ operation: operation === "replace" ? "move" : (operation as "create" | "delete"), path });
    // An entry that has moved may differ inside as well.
    if (operation === "replace" && children.length > 0)
      for (const child of siblingsOf(childOf(node))) walk(schema, child, "none", found);
    return;
  }
  if (kind === "leaf-list") {
    found.push({ operation: operation === "replace" ? "move" : (operation as "create" | "delete"), path });
    return;
  }
  const text = (value: string) => valueText(typedValue(type, value));
  const value = text(leafValue(schema, node));
  const before = operation === "replace" ? text(meta.get("orig-value") ?? "") : value;
  found.push({
    operation: operation as "create" | "delete" | "replace",
    path,
    ...(denyAll || operation === "create" ? {} : { from: before }),
    ...(denyAll || operation === "delete" ? {} : { to: value }),
  });
}

function metaOf(schema: Schema, node: Address): Map<string, string> {
  const values = new Map<string, string>();
  for (let meta = pointerAt(node + DATA.meta); meta !== 0; meta = pointerAt(meta + META.next))
    values.set(
      textAt(pointerAt(meta + META.name)) ?? "",
      libyang().lyd_value_get_canonical(schema.context, meta + META.value),
    );
  return values;
}

/** One line for people: `~ /mtu: 1400 → 1500`. */
export function differenceText({ operation, path, from, to }: Difference): string {
  const sign = { create: "+", delete: "-", replace: "~", move: "↕" }[operation];
  const values = operation === "replace" && from !== undefined ? `: ${from} → ${to}` : "";
  const value = operation !== "replace" && (from ?? to) !== undefined ? `: ${from ?? to}` : "";
  return `${sign} ${path}${values}${value}`;
}
