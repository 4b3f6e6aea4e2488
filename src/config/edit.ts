// One change of a tree, as RESTCONF, YANG Patch and the command line have them. Which part it is about decides how it is
// done: whole entries of long lists are exchanged, and inside of a part libyang merges.

import { type DataPath, formatSteps, operatorPath, parsePath, type Step } from "./data-path.js";
import { parseJson } from "./document.js";
import { Base, Entry, EntryTable } from "./entries.js";
import { type Given, type Parts, parseParts } from "./parse.js";
import { withOwnKeys } from "./placed.js";
import { ConfigurationError, type Problem, type Rule } from "./problem.js";
import type { Schema } from "./schema.js";
import { Scope } from "./scope.js";
import { valueProblem } from "./wording.js";
import { freeTree, makeData, pathOf, YangFailure } from "./yang-data.js";

export interface Edit {
  /**
   * `add`: what `value` holds is made below the target, and must not be there. `create`: the target must not be there.
   * `delete`: it must be there; `remove`: it may. `merge` and `replace` make it when it is not there.
   */
  readonly operation: "add" | "create" | "merge" | "replace" | "delete" | "remove" | "move";
  /** `/route[id="foo"]/gateway/ip`, `/inbound-sa[spi=1234]`; `/` is the whole datastore. */
  readonly target: string;
  /** The document that RFC 8040 has in a request: for `add` the child, else the target itself with its name. */
  readonly value?: Given;
  /** Of an entry whose list is ordered by the user; `point` is the path of the entry that `before` and `after` mean. */
  readonly where?: "first" | "last" | "before" | "after";
  readonly point?: string;
}

const fail = (path: string, rule: Rule, message: string) =>
  new ConfigurationError("", [{ path, rule, message } satisfies Problem]);

/**
 * Changes parts, taking copies of those that other trees have too.
 * @throws ConfigurationError; the parts may have changed then
 */
export function applyEdit(schema: Schema, parts: Parts, edit: Edit): void {
  const path = parsePath(schema, edit.target);
  const [step] = path.steps;
  if (!step) return editWhole(schema, parts, edit);
  const table = parts.tables.get(step.node.name);
  if (!table) return editBase(schema, parts, edit, path);
  if (step.keys.size === 0) return editTable(schema, parts, edit, step);
  if (path.steps.length === 1 && edit.operation !== "add") return editEntry(schema, parts, edit, step);
  return editInside(schema, parts, edit, path);
}

function ownTable(parts: Parts, name: string): EntryTable {
  const table = parts.tables.get(name) as EntryTable;
  if (!table.isShared) return table;
  const own = table.copy();
  table.release();
  parts.tables.set(name, own);
  return own;
}

function ownBase(schema: Schema, parts: Parts): Base {
  const own = parts.base.copy(schema);
  parts.base.release();
  parts.base = own;
  return own;
}

function valueOfEdit({ value, target, operation }: Edit): Given {
  if (!value) throw fail(target, "missing-element", `needs a value to ${operation}`);
  return value;
}

/** The target is the datastore. */
function editWhole(schema: Schema, parts: Parts, edit: Edit): void {
  const { operation } = edit;
  if (operation === "move") throw fail("/", "operation-not-supported", "cannot be moved");
  if (operation === "delete" || operation === "remove") {
    for (const name of parts.tables.keys()) exchangeTable(parts, name, new EntryTable());
    exchangeBase(parts, new Base(0));
    return;
  }
  const given = parseParts(schema, valueOfEdit(edit), "");
  try {
    if (operation === "create" && !isEmpty(parts)) throw fail("/", "data-exists", "is there already");
    if (operation === "replace") {
      for (const [name, table] of given.tables) exchangeTable(parts, name, table.retain());
      exchangeBase(parts, given.base.retain());
      return;
    }
    for (const [name, table] of given.tables)
      for (const entry of table.entries.values()) putEntry(schema, parts, name, entry, operation);
    if (given.base.first === 0) return;
    const base = ownBase(schema, parts);
    const scope = new Scope(schema, base.first);
    try {
      scope.mergeSiblings(given.base.first, operation === "add", edit);
    } finally {
      base.first = scope.first;
    }
  } finally {
    given.base.release();
    for (const table of given.tables.values()) table.release();
  }
}

const isEmpty = ({ base, tables }: Parts) =>
  base.first === 0 && [...tables.values()].every(({ entries }) => entries.size === 0);

function exchangeTable(parts: Parts, name: string, table: EntryTable): void {
  parts.tables.get(name)?.release();
  parts.tables.set(name, table);
}

function exchangeBase(parts: Parts, base: Base): void {
  parts.base.release();
  parts.base = base;
}

/** Puts an entry, which stays the caller's too, into its list. */
function putEntry(
  schema: Schema,
  parts: Parts,
  name: string,
  entry: Entry,
  operation: Edit["operation"],
): void {
  const present = parts.tables.get(name)?.entries.get(entry.path);
  if (present && (operation === "add" || operation === "create"))
    throw fail(operatorPath(entry.path), "data-exists", "is there already");
  const table = ownTable(parts, name);
  if (!present || operation !== "merge") {
    table.put(entry.retain());
    return;
  }
  const merged = present.copy(schema);
  const scope = new Scope(schema, merged.node);
  try {
    scope.merge(entry.node);
    table.put(merged);
  } catch (error) {
    merged.release();
    throw error;
  }
}

/** The target is a long list as a whole. */
function editTable(schema: Schema, parts: Parts, edit: Edit, { node }: Step): void {
  const { operation } = edit;
  const count = parts.tables.get(node.name)?.entries.size ?? 0;
  const path = `/${node.name}`;
  if (operation === "move" || operation === "add")
    throw fail(path, "missing-element", `needs its key here: ${node.name}[${node.keys[0]}=…]`);
  if (operation === "delete" && count === 0) throw fail(path, "data-missing", "is not there");
  if (operation === "create" && count > 0) throw fail(path, "data-exists", "is there already");
  if (operation === "delete" || operation === "remove") {
    exchangeTable(parts, node.name, new EntryTable());
    return;
  }
  withEntries(schema, edit, node.name, (given) => {
    if (operation === "merge")
      for (const entry of given.entries.values()) putEntry(schema, parts, node.name, entry, operation);
    else exchangeTable(parts, node.name, given.retain());
  });
}

/** Has the value of an edit parsed, which must hold entries of one list and nothing else. */
function withEntries(schema: Schema, edit: Edit, name: string, use: (given: EntryTable) => void): void {
  const given = parseParts(schema, valueOfEdit(edit), "");
  try {
    const others = [...given.tables].filter(([other, { entries }]) => other !== name && entries.size > 0);
    if (given.base.first !== 0 || others.length > 0)
      throw fail(
        `/${name}`,
        "malformed-message",
        `cannot be taken from a document with anything but ${name}`,
      );
    use(given.tables.get(name) as EntryTable);
  } finally {
    given.base.release();
    for (const table of given.tables.values()) table.release();
  }
}

/** The path of an entry as libyang writes it, with its keys in canonical form. */
function canonicalPath(schema: Schema, step: Step): string {
  const path = formatSteps([step]);
  let node: number;
  try {
    node = makeData(schema, path);
  } catch (error) {
    if (!(error instanceof YangFailure)) throw error;
    const [[key, value]] = step.keys;
    const type = step.node.children.find(({ name }) => name === key)?.type;
    const { rule, message } = type
      ? valueProblem(type, value)
      : { rule: "invalid-value" as const, message: "is no key" };
    throw new ConfigurationError("", [
      { path: `/${step.node.name}/${key}`, rule, message, value: JSON.stringify(value) },
    ]);
  }
  const canonical = pathOf(node);
  freeTree(node);
  return canonical;
}

/** The target is an entry of a long list. */
function editEntry(schema: Schema, parts: Parts, edit: Edit, step: Step): void {
  const { operation } = edit;
  const { name } = step.node;
  const path = canonicalPath(schema, step);
  const present = parts.tables.get(name)?.entries.has(path) ?? false;
  if (operation === "move")
    throw fail(operatorPath(path), "operation-not-supported", "is in a list without an order of its own");
  if (operation === "delete" && !present) throw fail(operatorPath(path), "data-missing", "is not there");
  if (operation === "delete" || operation === "remove") {
    if (present) ownTable(parts, name).remove(path);
    return;
  }
  withEntries(schema, withKeys(edit, step), name, ({ entries }) => {
    const [entry] = entries.values();
    if (entries.size !== 1 || entry.path !== path)
      throw fail(operatorPath(path), "invalid-value", "needs a document with this entry alone");
    putEntry(schema, parts, name, entry, operation);
  });
}

/** The edit with the keys of its target written into its value, where they are left out there. */
function withKeys(edit: Edit, step: Step): Edit {
  if (edit.value?.format !== "json") return edit;
  const document = withOwnKeys(edit.value.document ?? parseJson(edit.value.text, ""), step);
  return { ...edit, value: { format: "json", text: JSON.stringify(document) } };
}

/** The target is in what is not an entry of a long list. */
function editBase(schema: Schema, parts: Parts, edit: Edit, path: DataPath): void {
  const base = ownBase(schema, parts);
  const scope = new Scope(schema, base.first);
  try {
    scope.edit(edit, path);
  } finally {
    base.first = scope.first;
  }
}

/** The target is inside an entry of a long list. */
function editInside(schema: Schema, parts: Parts, edit: Edit, { steps }: DataPath): void {
  const [step, ...rest] = steps;
  const path = canonicalPath(schema, step);
  const table = ownTable(parts, step.node.name);
  const present = table.entries.get(path);
  if (!present && edit.operation === "remove") return;
  if (!present && edit.operation !== "merge") throw fail(operatorPath(path), "data-missing", "is not there");
  const own = present?.copy(schema) ?? new Entry(makeData(schema, path), path);
  try {
    new Scope(schema, own.node).edit(edit, {
      steps,
      text: path + formatSteps([step, ...rest]).slice(formatSteps([step]).length),
    });
    table.put(own);
  } catch (error) {
    own.release();
    throw error;
  }
}
