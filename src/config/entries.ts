// The parts that a tree is made of, shared by all the trees that have them alike. A part that has been validated does not
// change any more: who wants to change it takes a copy. So a tree with 20,000 entries is cloned by counting a reference, and
// changing one entry costs what one entry costs.

import type { Address } from "../native/libyang.js";
import type { JsonObject } from "./document.js";
import type { Schema } from "./schema.js";
import { copyData, freeSiblings, freeTree } from "./yang-data.js";

/** What counts its users. */
abstract class Shared {
  #users = 1;

  get isShared(): boolean {
    return this.#users > 1;
  }

  retain(): this {
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users === 0) this.destroy();
  }

  protected abstract destroy(): void;
}

/** One entry of a list at the top: a libyang tree of its own. */
export class Entry extends Shared {
  readonly node: Address;
  /** Its path, `/vita-gateway:route[id='a']`. */
  readonly path: string;
  isValid = false;
  /** With all defaults, in the form of `Configuration`; there when it is valid. */
  configuration: JsonObject | undefined;
  /** As JSON, what was given only, with secrets. */
  json: string | undefined;

  constructor(node: Address, path: string) {
    super();
    this.node = node;
    this.path = path;
  }

  copy(schema: Schema): Entry {
    return new Entry(copyData(schema, this.node), this.path);
  }

  protected override destroy(): void {
    freeTree(this.node);
  }
}

/** All entries of one such list, by path. */
export class EntryTable extends Shared {
  readonly entries: Map<string, Entry>;
  /** The entries' configurations; undefined when one has changed since. */
  configurations: JsonObject[] | undefined;
  /** All entries as JSON, as each of them has it; undefined when one has changed since. */
  json: string | undefined;

  constructor(entries: Map<string, Entry> = new Map()) {
    super();
    this.entries = entries;
  }

  copy(): EntryTable {
    for (const entry of this.entries.values()) entry.retain();
    return new EntryTable(new Map(this.entries));
  }

  /** Takes the entry over from the caller; one with its path is released. */
  put(entry: Entry): void {
    this.configurations = undefined;
    this.json = undefined;
    this.entries.get(entry.path)?.release();
    this.entries.set(entry.path, entry);
  }

  remove(path: string): void {
    this.configurations = undefined;
    this.json = undefined;
    this.entries.get(path)?.release();
    this.entries.delete(path);
  }

  protected override destroy(): void {
    for (const entry of this.entries.values()) entry.release();
  }
}

/** Everything else at the top: few nodes, in one libyang tree. */
export class Base extends Shared {
  /** The first of the siblings; 0 when there is none. */
  first: Address;
  isValid = false;
  configuration: JsonObject | undefined;
  json: string | undefined;

  constructor(first: Address) {
    super();
    this.first = first;
  }

  copy(schema: Schema): Base {
    return new Base(this.first === 0 ? 0 : copyData(schema, this.first, true));
  }

  protected override destroy(): void {
    if (this.first !== 0) freeSiblings(this.first);
  }
}
