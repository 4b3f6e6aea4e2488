// Validation of a tree by libyang, in pieces: what has been valid and has not changed is not looked at again, except as the
// context of what has. For each piece libyang sees everything that is not an entry of a long list, the entries of the piece,
// and the entries that these refer to.
//
// So a rule (`must`, `when`) inside an entry of a long list can look at this entry and at nothing else, and one elsewhere can
// ask whether a long list has entries, but not which; a test holds the model to that. Rules that compare many entries
// (`unique`, keys, numbers of entries) are looked after here.

import {
  LYD_PRINT_KEEPEMPTYCONT,
  LYD_PRINT_SHRINK,
  LYD_PRINT_WD_ALL,
  LYD_PRINT_WITHSIBLINGS,
  LYD_VALIDATE_NO_STATE,
  libyang,
} from "../native/libyang.js";
import { complete, completionOf, parseTop } from "./complete.js";
import { operatorPath } from "./data-path.js";
import type { JsonObject } from "./document.js";
import type { Base, Entry, EntryTable } from "./entries.js";
import { MOST_PROBLEMS, type Parts } from "./parse.js";
import { entryJson } from "./print.js";
import { type Problem, valueText } from "./problem.js";
import { type Reference, referencesOf } from "./references.js";
import type { Schema, SchemaNode } from "./schema.js";
import { insertSibling, leafValue, printData, selectData, takeOut } from "./yang-data.js";
import { takeErrors } from "./yang-errors.js";
import { problemOf } from "./yang-problems.js";

/** Entries that are validated at once. */
const PIECE = 64;
const PRINT = LYD_PRINT_WD_ALL | LYD_PRINT_KEEPEMPTYCONT | LYD_PRINT_SHRINK;

/** Validates the parts, and has their configurations ready if they are. Returns what is wrong. */
export function validateParts(schema: Schema, parts: Parts): Problem[] {
  return new Validation(schema, parts).run();
}

class Validation {
  readonly #schema: Schema;
  readonly #base: Base;
  readonly #tables: Parts["tables"];
  readonly #problems: Problem[] = [];

  constructor(schema: Schema, { base, tables }: Parts) {
    this.#schema = schema;
    this.#base = base;
    this.#tables = tables;
  }

  run(): Problem[] {
    this.#checkBase();
    // Nothing can be said about entries amid what is not valid itself.
    if (this.#problems.length > 0) return this.#problems;
    const lists = [...this.#tables].map(([name, table]) => ({ node: this.#schema.top.get(name)!, table }));
    for (const { node, table } of lists) this.#checkTable(node, table);
    if (this.#problems.length === 0) for (const { node, table } of lists) this.#checkWhole(node, table);
    return this.#problems;
  }

  #tell(problem: Problem): void {
    const isKnown = this.#problems.some(
      ({ path, message }) => path === problem.path && message === problem.message,
    );
    if (!isKnown && this.#problems.length < MOST_PROBLEMS) this.#problems.push(problem);
  }

  #checkBase(): void {
    const some = [...this.#tables.values()].flatMap(({ entries }) => firstValid(entries.values()) ?? []);
    const problem = this.#validate(some);
    if (problem) {
      this.#tell(problem);
      return;
    }
    if (this.#base.isValid) return;
    const text = printData(this.#schema, this.#base.first, "json", PRINT | LYD_PRINT_WITHSIBLINGS);
    const children = [...this.#schema.top.values()].filter(({ name }) => !this.#tables.has(name));
    this.#base.configuration = complete(parseTop(text), children);
    this.#base.isValid = true;
  }

  #checkTable(node: SchemaNode, table: EntryTable): void {
    const references = referencesOf(this.#schema).filter(({ list }) => list === node.name);
    const waiting = [...table.entries.values()].filter(
      (entry) => !entry.isValid || references.some((reference) => this.#dangles(entry, reference)),
    );
    for (let at = 0; at < waiting.length; at += PIECE) {
      const piece = waiting.slice(at, at + PIECE);
      const problem = this.#validate(piece);
      if (!problem) for (const entry of piece) this.#accept(node, entry);
      else {
        const before = this.#problems.length;
        for (const entry of piece) {
          const own = this.#validate([entry]);
          if (own) this.#tell(own);
          else this.#accept(node, entry);
        }
        // What the entries of a piece have against each other, `unique` finds; if it does not, this stands.
        if (before === this.#problems.length && !this.#checkWhole(node, table)) this.#tell(problem);
      }
    }
  }

  #accept(node: SchemaNode, entry: Entry): void {
    if (entry.isValid) return;
    const given = this.#print(entry, LYD_PRINT_SHRINK);
    entry.json ??= entryJson(given);
    entry.configuration = completionOf(node)?.(given) ?? complete(this.#print(entry, PRINT), node.children);
    entry.isValid = true;
  }

  #print({ node }: Entry, options: number): JsonObject {
    const document = JSON.parse(printData(this.#schema, node, "json", options)) as JsonObject;
    const [[object]] = Object.values(document) as JsonObject[][];
    return object;
  }

  /** Does a valid entry refer to something that is not there any more? */
  #dangles(entry: Entry, { leaf, target, key }: Reference): boolean {
    const value = entry.configuration?.[leaf];
    const entries = this.#tables.get(target)?.entries;
    const isThere = (id: unknown) => entries?.has(entryPath(target, key, String(id)));
    return Array.isArray(value) ? !value.every(isThere) : value !== undefined && !isThere(value);
  }

  /** Has libyang validate the base and some entries. Returns what is wrong. */
  #validate(entries: readonly Entry[]): Problem | undefined {
    const schema = this.#schema;
    const linked = new Set<Entry>();
    let first = this.#base.first;
    const link = (entry: Entry) => {
      if (linked.has(entry)) return;
      linked.add(entry);
      first = insertSibling(schema, first, entry.node);
    };
    try {
      for (const entry of entries) link(entry);
      for (const { list, path, target, key } of referencesOf(schema)) {
        if (![...linked].some((entry) => entry.path.startsWith(`/vita-gateway:${list}[`))) continue;
        for (const leaf of selectData(schema, first, path)) {
          const to = this.#tables.get(target)?.entries.get(entryPath(target, key, leafValue(schema, leaf)));
          if (to) link(to);
        }
      }
      const tree: [number] = [first];
      const code = libyang().lyd_validate_module(tree, schema.module, LYD_VALIDATE_NO_STATE, null);
      first = tree[0];
      if (code === 0) return undefined;
      const [error = { message: `validation failed (error ${code})` }] = takeErrors(schema.context);
      return problemOf(schema, error, { first });
    } finally {
      for (const { node } of linked) first = takeOut(first, node);
      this.#base.first = first;
    }
  }

  /** What no piece can know. Returns whether something was wrong. */
  #checkWhole(node: SchemaNode, { entries }: EntryTable): boolean {
    const before = this.#problems.length;
    for (const unique of node.unique) {
      const leaves = unique.split(" ");
      const seen = new Map<string, string>();
      for (const { path, configuration } of entries.values()) {
        const values = leaves.map((leaf) => configuration?.[leaf]);
        // RFC 7950, section 7.8.3: entries that lack one of the leaves are not compared.
        if (values.some((value) => value === undefined)) continue;
        const text = JSON.stringify(values);
        const other = seen.get(text);
        seen.set(text, path);
        if (other !== undefined)
          this.#tell({
            path: `${operatorPath(path)}/${leaves[0]}`,
            rule: "operation-failed",
            appTag: "data-not-unique",
            message: `is already at ${operatorPath(other)}/${leaves[0]}`,
            value: valueText(values[0]),
          });
      }
    }
    if (entries.size < node.minElements)
      this.#tell({
        path: `/${node.name}`,
        rule: "operation-failed",
        appTag: "too-few-elements",
        message: `has less than ${node.minElements} entries`,
      });
    return before !== this.#problems.length;
  }
}

/** As libyang writes the path of an entry with one key. */
function entryPath(list: string, key: string, value: string): string {
  const quote = value.includes("'") ? '"' : "'";
  return `/vita-gateway:${list}[${key}=${quote}${value}${quote}]`;
}

function firstValid(entries: Iterable<Entry>): Entry | undefined {
  for (const entry of entries) if (entry.isValid) return entry;
  return undefined;
}
