// Deleted inbound SAs that take for a moment longer what the peer has sent already. charon deletes an SA as soon as its peer
// says that it uses another one, and the last packets on the old one may still wait for a worker (or be on their way) then.
// For charon the SA is gone at once.

import type { Sad } from "./sad.js";

export class Lingering {
  readonly #sad: Sad;
  #latest: number[] = [];
  #earlier: number[] = [];

  constructor(sad: Sad) {
    this.#sad = sad;
  }

  add(slot: number): void {
    this.#sad.linger(slot);
    this.#latest.push(slot);
  }

  /** Ends one before its time. @returns whether it was there */
  endNow(slot: number): boolean {
    const isThere = (list: number[]) => list.includes(slot);
    if (!isThere(this.#latest) && !isThere(this.#earlier)) return false;
    this.#latest = this.#latest.filter((other) => other !== slot);
    this.#earlier = this.#earlier.filter((other) => other !== slot);
    this.#sad.release(slot);
    return true;
  }

  /** Ends those for good that have been there at the last call already. To be called several times a second. */
  end(): void {
    const ended = this.#earlier;
    this.#earlier = this.#latest;
    this.#latest = [];
    for (const slot of ended) this.#sad.release(slot);
    if (ended.length > 0) this.#sad.reclaim();
  }
}
