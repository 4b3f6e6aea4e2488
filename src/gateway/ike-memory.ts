// What charon was given by Vita, by its names there: what is no longer in the configuration when charon is seen again, be
// it by another supervisor, is taken away from it, and nothing else is. Names only, no contents.

import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { replaceFile } from "../config/atomic-file.js";

/** Kinds that can be taken away again, in that order. */
export const rememberedKinds = ["connection", "pool", "secret", "key", "authority"] as const;
export type RememberedKind = (typeof rememberedKinds)[number];

export class IkeMemory {
  readonly #file: string | undefined;
  readonly #names: Record<RememberedKind, Set<string>> = {
    connection: new Set(),
    pool: new Set(),
    secret: new Set(),
    authority: new Set(),
    key: new Set(),
  };
  #isChanged = false;

  /** @param file where it is kept from one supervisor to the next; one that cannot be read is as none */
  constructor(file?: string) {
    this.#file = file;
    if (file === undefined) return;
    try {
      const kept = JSON.parse(readFileSync(file, "utf8")) as Partial<Record<RememberedKind, unknown>>;
      for (const kind of rememberedKinds) {
        const names = kept[kind];
        if (Array.isArray(names)) for (const name of names) this.#names[kind].add(String(name));
      }
    } catch {
      // The first run, or a file that was cut off: charon keeps what is no longer wanted, which is what it had anyway.
    }
  }

  names(kind: RememberedKind): ReadonlySet<string> {
    return this.#names[kind];
  }

  add(kind: RememberedKind, name: string): void {
    if (this.#names[kind].has(name)) return;
    this.#names[kind].add(name);
    this.#isChanged = true;
  }

  delete(kind: RememberedKind, name: string): void {
    if (this.#names[kind].delete(name)) this.#isChanged = true;
  }

  /** Writes it down. Call it before charon is given something, and after something was taken away. */
  save(): void {
    if (!this.#isChanged || this.#file === undefined) return;
    const document = Object.fromEntries(rememberedKinds.map((kind) => [kind, [...this.#names[kind]]]));
    mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
    replaceFile(this.#file, `${JSON.stringify(document)}\n`);
    this.#isChanged = false;
  }
}
