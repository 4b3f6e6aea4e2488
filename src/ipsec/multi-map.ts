// From a key to the numbers that stand under it (slots, entries), in the order in which they came. Most keys have one number
// or two, and there are tens of thousands of keys: so a number alone, a short array, and a set only where there are many.

const nothing: readonly number[] = [];
const SHORT = 8;

export class MultiMap<Key> {
  readonly #values = new Map<Key, number | number[] | Set<number>>();

  add(key: Key, value: number): void {
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, value);
    else if (typeof known === "number") {
      if (known !== value) this.#values.set(key, [known, value]);
    } else if (!Array.isArray(known)) known.add(value);
    else if (!known.includes(value)) {
      if (known.length < SHORT) known.push(value);
      else this.#values.set(key, new Set([...known, value]));
    }
  }

  delete(key: Key, value: number): void {
    const known = this.#values.get(key);
    if (known === value) this.#values.delete(key);
    if (typeof known !== "object") return;
    if (!Array.isArray(known)) {
      known.delete(value);
      if (known.size === 0) this.#values.delete(key);
      return;
    }
    const rest = known.filter((other) => other !== value);
    if (rest.length === 0) this.#values.delete(key);
    else this.#values.set(key, rest.length === 1 ? rest[0] : rest);
  }

  get(key: Key): readonly number[] {
    const known = this.#values.get(key);
    if (known === undefined) return nothing;
    return typeof known === "number" ? [known] : [...known];
  }

  /** All numbers, under whatever key. A copy: the map may change meanwhile. */
  all(): number[] {
    return [...this.#values.keys()].flatMap((key) => this.get(key));
  }
}
