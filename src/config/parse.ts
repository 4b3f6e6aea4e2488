// From a document to the parts of a tree. libyang parses; lists that may be long are given to it in pieces, because finding
// the place of a node at the top costs it a walk along all its siblings.

import { operatorPath } from "./data-path.js";
import { isObject, type JsonObject, localName, parseJson } from "./document.js";
import { Base, Entry, EntryTable } from "./entries.js";
import { ConfigurationError, type Problem, valueText } from "./problem.js";
import { MODULE_NAME, type Schema, type SchemaNode } from "./schema.js";
import { entryPredicate, keysFirst, shapeProblem } from "./shape.js";
import { unknown } from "./wording.js";
import {
  type Format,
  freeSiblings,
  parseData,
  pathOf,
  schemaOf,
  siblingsOf,
  takeOut,
  YangFailure,
} from "./yang-data.js";
import { problemOf } from "./yang-problems.js";

/** Entries that are parsed at once. */
const PIECE = 64;
/** Problems that are told at most. */
export const MOST_PROBLEMS = 20;

export interface Parts {
  base: Base;
  /** By the list's name. */
  tables: Map<string, EntryTable>;
}

/** Is this a list at the top of which each entry is a part of its own? Those with a small limit are not. */
export function isTable(node: SchemaNode): boolean {
  return (
    node.kind === "list" && node.keys.length > 0 && !node.orderedByUser && node.maxElements === undefined
  );
}

/** A document as it came. */
export interface Given {
  readonly text: string;
  readonly format: Format;
  /** What `parseJson` has made of the text, where that was done already. Nobody changes it. */
  readonly document?: JsonObject;
}

/**
 * @param source names the document in errors
 * @throws ConfigurationError
 */
export function parseParts(schema: Schema, { text, format, document }: Given, source: string): Parts {
  const parser = new PartsParser(schema);
  try {
    if (format === "json") parser.json(unwrap(document ?? parseJson(text, source)));
    else parser.xml(unwrapXml(text));
    if (parser.problems.length > 0) throw new ConfigurationError(source, parser.problems);
    return parser.parts;
  } catch (error) {
    parser.free();
    throw error;
  }
}

/** A whole datastore stands in an element of RESTCONF's. */
function unwrap(document: JsonObject): JsonObject {
  const [[member, value] = [], ...others] = Object.entries(document);
  return member === "ietf-restconf:data" && others.length === 0 && isObject(value) ? value : document;
}

function unwrapXml(text: string): string {
  const inner =
    /^\s*(?:<\?xml[^>]*\?>\s*)?<(?:[\w-]+:)?(?:data|config)(?:\s[^>]*)?(?:\/>\s*$|>(.*)<\/[^>]*>\s*$)/s.exec(
      text,
    );
  return inner ? (inner[1] ?? "") : text;
}

class PartsParser {
  readonly #schema: Schema;
  readonly problems: Problem[] = [];
  readonly parts: Parts = { base: new Base(0), tables: new Map() };

  constructor(schema: Schema) {
    this.#schema = schema;
    for (const node of schema.top.values())
      if (isTable(node)) this.parts.tables.set(node.name, new EntryTable());
  }

  free(): void {
    this.parts.base.release();
    for (const table of this.parts.tables.values()) table.release();
  }

  json(document: JsonObject): void {
    const base: JsonObject = {};
    for (const [member, value] of Object.entries(document)) {
      const name = localName(member);
      const node = this.#schema.top.get(name);
      if (!node) {
        const module = /^(.*):/.exec(name)?.[1];
        const state = this.#schema.node(`/${MODULE_NAME}:${name}`);
        this.#tell(
          module === undefined
            ? { path: `/${name}`, rule: "unknown-element", message: unknown(state) }
            : { path: `/${name}`, rule: "unknown-namespace", message: `there is no module ${module}` },
        );
      } else if (!isTable(node)) base[`${MODULE_NAME}:${node.name}`] = keysFirst(value, node);
      else if (Array.isArray(value)) this.#jsonEntries(node, value);
      else
        this.#tell({
          path: `/${node.name}`,
          rule: "invalid-value",
          message: "is not an array",
          value: valueText(value),
        });
    }
    this.#jsonBase(base);
  }

  #tell(problem: Problem): void {
    if (this.problems.length < MOST_PROBLEMS) this.problems.push(problem);
  }

  /** Parses one piece of a document; undefined when that failed, and `report` has told what is wrong. */
  #parse(document: JsonObject, report: boolean): number | undefined {
    try {
      return parseData(this.#schema, JSON.stringify(document), "json");
    } catch (error) {
      if (!(error instanceof YangFailure)) throw error;
      if (!report) return undefined;
      const shape = shapeProblem(document, [...this.#schema.top.values()], "");
      this.#tell(shape ?? problemOf(this.#schema, error.errors[0] ?? { message: "" }, { document }));
      return undefined;
    }
  }

  #jsonBase(document: JsonObject): void {
    const first = this.#parse(document, false);
    if (first !== undefined) {
      this.parts.base.first = first;
      return;
    }
    // Piece by piece, so that more than the first problem is told.
    for (const [member, value] of Object.entries(document)) {
      const node = this.#schema.top.get(localName(member));
      if (node?.kind === "list" && Array.isArray(value))
        this.#oneByOne(node, value, 0, (first) => freeSiblings(first));
      else {
        const first = this.#parse({ [member]: value }, true);
        if (first !== undefined && first !== 0) freeSiblings(first);
      }
    }
    if (this.problems.length === 0) this.#parse(document, true);
  }

  #jsonEntries(node: SchemaNode, values: readonly unknown[]): void {
    const member = `${MODULE_NAME}:${node.name}`;
    for (let at = 0; at < values.length; at += PIECE) {
      const piece = values.slice(at, at + PIECE);
      const first = this.#parse({ [member]: piece }, false);
      if (first !== undefined) {
        this.#take(first);
        continue;
      }
      this.#oneByOne(node, piece, at, (entry) => this.#take(entry));
    }
  }

  /** Parses entries each for itself, and tells what is wrong with them. @param start index of the first one */
  #oneByOne(node: SchemaNode, values: readonly unknown[], start: number, use: (first: number) => void): void {
    for (const [i, value] of values.entries()) {
      const before = this.problems.length;
      const first = this.#parse({ [`${MODULE_NAME}:${node.name}`]: keysFirst([value], node) }, true);
      if (first !== undefined) use(first);
      else if (before < this.problems.length) this.#number(node, value, start + i);
    }
  }

  /** An entry that cannot be named by its keys, because they are missing or wrong, is named by its number. */
  #number(node: SchemaNode, value: unknown, index: number): void {
    const last = this.problems[this.problems.length - 1];
    const predicate = isObject(value) ? entryPredicate(node, value, 0) : "[1]";
    // libyang names an entry by its keys when it has read them.
    const rest = last.path.slice(`/${node.name}`.length).replace(predicate, "");
    if (predicate === "[1]" || node.keys.some((key) => rest === `/${key}`) || rest === last.path)
      this.problems[this.problems.length - 1] = { ...last, path: `/${node.name}[${index + 1}]${rest}` };
  }

  xml(text: string): void {
    let first: number;
    try {
      first = text.trim() === "" ? 0 : parseData(this.#schema, text, "xml");
    } catch (error) {
      if (!(error instanceof YangFailure)) throw error;
      const [problem = { message: "is not XML" }] = error.errors;
      this.#tell(problemOf(this.#schema, problem, {}));
      return;
    }
    this.#take(first);
  }

  /** Takes the nodes of a libyang tree over, each to where it belongs. */
  #take(first: number): void {
    let rest = first;
    const { base, tables } = this.parts;
    for (const node of siblingsOf(first)) {
      const table = tables.get(schemaOf(this.#schema, node).name);
      if (!table) continue;
      rest = takeOut(rest, node);
      const entry = new Entry(node, pathOf(node));
      if (table.entries.has(entry.path)) {
        this.#tell({ path: operatorPath(entry.path), rule: "data-exists", message: "is there twice" });
        entry.release();
      } else table.put(entry);
    }
    if (rest !== 0) base.first = rest;
  }
}
