// Lets others have a turn while somebody computes for long: answers of charon, packets of IKE, timers.

import { setImmediate as turn } from "node:timers/promises";

/** Milliseconds of computing without a break. */
const LONGEST = 10;

export class Breather {
  #begun = performance.now();

  /** To be asked between two steps, each much shorter than a break is due; when it is true, wait for `breathe`. */
  get isDue(): boolean {
    return performance.now() - this.#begun >= LONGEST;
  }

  /** Returns when others have had their turn. */
  async breathe(): Promise<void> {
    await turn();
    this.#begun = performance.now();
  }
}
