// When may something be told again that had no effect the first time? At once when it is new, and then after pauses that
// double: charon answers neither an acquire that it refuses nor a mapping that it does not act on, and must not be
// flooded with either.

/** Seconds. */
const FIRST_PAUSE = 2;
export const LONGEST_PAUSE = 32;
/** Keys that are remembered; beyond, everything is new again. */
const LARGEST_MEMORY = 65_536;

interface Told {
  what: string;
  at: number;
  pause: number;
}

export class Repeats {
  readonly #told = new Map<string | number, Told>();

  /**
   * May this be told now?
   * @param what is told about `key`: something else than the last time is new
   * @param now seconds
   * @param atLeast seconds that must lie between two times
   */
  isDue(key: string | number, what: string, now: number, atLeast = 1): boolean {
    const last = this.#told.get(key);
    if (!last) return true;
    return now - last.at >= Math.max(atLeast, last.what === what ? last.pause : 0);
  }

  /** It was told. */
  note(key: string | number, what: string, now: number): void {
    const last = this.#told.get(key);
    if (!last && this.#told.size >= LARGEST_MEMORY) this.#told.clear();
    const pause = last?.what === what ? Math.min(2 * last.pause, LONGEST_PAUSE) : FIRST_PAUSE;
    this.#told.set(key, { what, at: now, pause });
  }

  /** Things have changed: whatever is told about `key` next is new. */
  forget(key: string | number): void {
    this.#told.delete(key);
  }
}
