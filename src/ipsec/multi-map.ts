// From a key to the numbers that stand under it (slots, entries), in the order in which they came.

const nothing: ReadonlySet<number> = new Set();

export class MultiMap<Key> {
  readonly #sets = new Map<Key, Set<number>>();

  add(key: Key, value: number): void {
    const set = this.#sets.get(key);
    if (set) set.add(value);
    else this.#sets.set(key, new Set([value]));
  }

  delete(key: Key, value: number): void {
    const set = this.#sets.get(key);
    set?.delete(value);
    if (set?.size === 0) this.#sets.delete(key);
  }

  get(key: Key): ReadonlySet<number> {
    return this.#sets.get(key) ?? nothing;
  }

  /** The one that came last. */
  last(key: Key): number | undefined {
    return [...this.get(key)].at(-1);
  }

  /** All numbers, under whatever key. A copy: the map may change meanwhile. */
  all(): number[] {
    return [...this.#sets.values()].flatMap((set) => [...set]);
  }
}
