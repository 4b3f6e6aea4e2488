// A configuration in force that is to be confirmed, and the time that is left for it.

import type { Version } from "./version.js";

export class PendingCommit {
  /** What comes back when it is not confirmed. */
  readonly base: Version;
  /** Until when it can be. */
  readonly by: Date;
  /** The former configuration is coming back right now. */
  isReverting = false;
  readonly #whenOver: () => void;
  #timer: NodeJS.Timeout;

  constructor(base: Version, seconds: number, whenOver: () => void) {
    this.base = base;
    this.by = new Date(Date.now() + seconds * 1000);
    this.#whenOver = whenOver;
    this.#timer = setTimeout(whenOver, seconds * 1000);
  }

  /** The time is over, but nothing could be done about it: says so once more after that time (ms). */
  again(time: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#whenOver, time);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
