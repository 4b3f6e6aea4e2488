// One configuration: libyang's data, in parts that trees share (entries.ts). A tree is made by parsing or cloning, changed by
// edits (edit.ts), validated as a whole, and freed; its memory is libyang's, which JavaScript does not collect.

import { checkConfiguration } from "./checks.js";
import type { Configuration } from "./configuration.js";
import { parsePath } from "./data-path.js";
import { type Difference, differences } from "./difference.js";
import type { JsonObject } from "./document.js";
import { applyEdit, type Edit } from "./edit.js";
import { Base, EntryTable } from "./entries.js";
import { isTable, type Parts, parseParts } from "./parse.js";
import { type PrintOptions, printAt, printTree, storedTree } from "./print.js";
import { ConfigurationError } from "./problem.js";
import type { Schema } from "./schema.js";
import { StoredText } from "./stored-text.js";
import { validateParts } from "./validate.js";
import type { Format } from "./yang-data.js";

export type { Difference, Edit, Format, PrintOptions };

export interface ParseOptions {
  /** Names the document in errors. */
  readonly source?: string;
}

export class Tree {
  readonly schema: Schema;
  readonly #parts: Parts;
  #isFreed = false;

  private constructor(schema: Schema, parts: Parts) {
    this.schema = schema;
    this.#parts = parts;
  }

  /**
   * Parses a document; whether it is complete and agrees with itself, `validate` will say.
   * @throws ConfigurationError
   */
  static parse(schema: Schema, text: string, format: Format, { source = "" }: ParseOptions = {}): Tree {
    return new Tree(schema, parseParts(schema, { text, format }, source));
  }

  static empty(schema: Schema): Tree {
    const lists = [...schema.top.values()].filter(isTable);
    return new Tree(schema, {
      base: new Base(0),
      tables: new Map(lists.map(({ name }) => [name, new EntryTable()])),
    });
  }

  clone(): Tree {
    const { base, tables } = this.#parts;
    return new Tree(this.schema, {
      base: base.retain(),
      tables: new Map([...tables].map(([name, table]) => [name, table.retain()])),
    });
  }

  free(): void {
    if (this.#isFreed) throw new Error("a tree is freed twice");
    this.#isFreed = true;
    this.#parts.base.release();
    for (const table of this.#parts.tables.values()) table.release();
  }

  /**
   * Changes the tree; it may be invalid then, until further edits.
   * @throws ConfigurationError, and nothing has changed
   */
  apply(edit: Edit): void {
    const changed = this.clone();
    try {
      applyEdit(this.schema, changed.#parts, edit);
      this.#exchange(changed);
    } finally {
      changed.free();
    }
  }

  #exchange(other: Tree): void {
    const { base, tables } = this.#parts;
    this.#parts.base = other.#parts.base;
    this.#parts.tables = other.#parts.tables;
    other.#parts.base = base;
    other.#parts.tables = tables;
  }

  /**
   * Validates the tree and completes it with defaults.
   * @throws ConfigurationError with what is wrong with it
   */
  validate(source = ""): void {
    const problems = validateParts(this.schema, this.#parts);
    if (problems.length === 0) problems.push(...checkConfiguration(this.toConfiguration()));
    if (problems.length > 0) throw new ConfigurationError(source, problems);
  }

  /** Is there something at a path? Defaults count only when they were given. @throws ConfigurationError no such path */
  exists(path: string): boolean {
    return this.print(path, { format: "json", defaults: "explicit", secrets: true }) !== undefined;
  }

  /**
   * What is at a path, or the whole, as text; undefined when nothing is there, or what is there may not be shown.
   * @throws ConfigurationError no such path
   */
  print(path: string | undefined, options: PrintOptions): string | undefined {
    const at = parsePath(this.schema, path ?? "/");
    if (at.steps.length === 0) return printTree(this.schema, this.#parts, options);
    return printAt(this.schema, this.#parts, at, options);
  }

  /** The whole as it is stored: what was given, secrets included. */
  stored(): StoredText {
    return new StoredText(storedTree(this.schema, this.#parts));
  }

  /** Paths of what differs: entries that are there on one side only, and leaves. */
  diff(to: Tree): string[] {
    return this.differences(to).map(({ path }) => path);
  }

  /** What differs, with operations that lead from this tree to the other one. */
  differences(to: Tree): Difference[] {
    return differences(this.schema, this.#parts, to.#parts);
  }

  /** What a validated tree says. Entries that two trees share have the same objects; nobody may change them. */
  toConfiguration(): Configuration {
    const { base, tables } = this.#parts;
    const lists = [...tables].map(([name, table]) => {
      table.configurations ??= Array.from(table.entries.values(), ({ configuration }) => {
        if (!configuration) throw new Error("the tree has not been validated");
        return configuration;
      });
      return [name, table.configurations];
    });
    if (!base.configuration) throw new Error("the tree has not been validated");
    const configuration: JsonObject = { ...base.configuration, ...Object.fromEntries(lists) };
    return configuration as unknown as Configuration;
  }
}
