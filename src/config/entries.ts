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

const SEPARATOR = Buffer.from(",\n");

/**
 * The text of a list. One with thousands of entries is not put together anew when an entry comes or goes: new ones stand at
 * the end, and of one that goes its part is cut out.
 */
class TableText {
  /** Of the first `count` entries; undefined when nobody knows any more. */
  #text: Buffer | undefined;
  #count = 0;

  copy(): TableText {
    const copy = new TableText();
    copy.#text = this.#text;
    copy.#count = this.#count;
    return copy;
  }

  forget(): void {
    this.#text = undefined;
  }

  complete(entries: ReadonlyMap<string, Entry>, textOf: (entry: Entry) => string): Buffer {
    const text = this.#text;
    if (text && this.#count === entries.size) return text;
    const known = text ? this.#count : 0;
    const added = Array.from(entries.values()).slice(known).map(textOf).join(",\n");
    const rest = Buffer.from(added);
    this.#text = known === 0 || !text ? rest : Buffer.concat([text, SEPARATOR, rest]);
    this.#count = entries.size;
    return this.#text;
  }

  /** An entry is about to be taken out. */
  cut(entries: ReadonlyMap<string, Entry>, path: string): void {
    const text = this.#text;
    if (!text || !entries.has(path)) return;
    let begin = 0;
    let place = 0;
    for (const [other, { json }] of entries) {
      if (place === this.#count) return;
      if (json === undefined) return this.forget();
      const end = begin + Buffer.byteLength(json);
      if (other === path) {
        // With the separator behind it, or before it when it is the last.
        const from = end === text.length ? Math.max(0, begin - SEPARATOR.length) : begin;
        this.#text = Buffer.concat([text.subarray(0, from), text.subarray(end + SEPARATOR.length)]);
        this.#count--;
        return;
      }
      begin = end + SEPARATOR.length;
      place++;
    }
  }
}

/** All entries of one such list, by path. */
export class EntryTable extends Shared {
  readonly entries: Map<string, Entry>;
  /** The entries' configurations; undefined when one has changed since. */
  configurations: JsonObject[] | undefined;
  #json = new TableText();

  constructor(entries: Map<string, Entry> = new Map()) {
    super();
    this.entries = entries;
  }

  copy(): EntryTable {
    for (const entry of this.entries.values()) entry.retain();
    const copy = new EntryTable(new Map(this.entries));
    copy.#json = this.#json.copy();
    return copy;
  }

  /** All entries as JSON, as `textOf` has each of them, separated by commas and line ends: UTF-8. */
  jsonOf(textOf: (entry: Entry) => string): Buffer {
    return this.#json.complete(this.entries, textOf);
  }

  /** Takes the entry over from the caller; one with its path is released. */
  put(entry: Entry): void {
    this.configurations = undefined;
    const former = this.entries.get(entry.path);
    if (former) this.#json.forget();
    former?.release();
    this.entries.set(entry.path, entry);
  }

  remove(path: string): void {
    this.configurations = undefined;
    this.#json.cut(this.entries, path);
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
