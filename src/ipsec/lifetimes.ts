// Lifetimes of SAs (RFC 4301 §4.4.2.1): charon does not time them, the kernel must. Each SA has a soft limit, at which
// charon is told to rekey it, and a hard one, at which it carries no more traffic and charon is told that it is gone; in
// seconds since it was installed, in bytes and in packets. The data path keeps the hard limits by itself, to the packet
// (hard-limits.ts); what happens here is that charon hears of it.
//
// What was told stands in the SA's flags, so that a supervisor that starts again does not tell it twice. An event that
// reached nobody is told again until it does.

import type { IpAddress } from "../net/address.js";
import { readEndPoints } from "./outer-header.js";
import { saTotals } from "./pseudo-kernel.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot } from "./sad-layout.js";

const at = saSlot.at;

export interface Expiry {
  protocol: number;
  spi: number;
  /** The SA's destination, as charon knows it now. */
  dst: IpAddress;
  hard: boolean;
}

export class Lifetimes {
  readonly #sad: Sad;
  readonly #now: () => number;
  readonly #tell: (expiry: Expiry) => boolean;

  /**
   * @param now CLOCK_MONOTONIC, seconds
   * @param tell hands an expiry to the key managers; false when none of them got it
   */
  constructor(sad: Sad, now: () => number, tell: (expiry: Expiry) => boolean) {
    this.#sad = sad;
    this.#now = now;
    this.#tell = tell;
  }

  /** Looks at every SA. To be called several times a second: byte and packet limits are passed at any moment. */
  check(): void {
    const now = this.#now();
    for (let slot = 0; slot < this.#sad.slotCount; slot++)
      if (this.#sad.state(slot) === SaState.active) this.#checkSlot(slot, now);
  }

  #checkSlot(slot: number, now: number): void {
    const sad = this.#sad;
    const base = sad.offset(slot);
    const flags = sad.words[(base + at.flags) >>> 2];
    if (flags & SaFlag.hardTold) return;
    const limit = (i: number) => sad.view.getFloat64(base + at.limits + 8 * i, true);
    const age = now - sad.words[(base + at.added) >>> 2];
    const { packets, bytes } = saTotals(sad, slot);
    const passed = (first: number) =>
      isPassed(limit(first), age) || isPassed(limit(first + 2), bytes) || isPassed(limit(first + 4), packets);
    if (passed(HARD) || flags & SaFlag.expired) {
      // Out of use first, whether or not somebody listens.
      this.#set(base, SaFlag.expired);
      if (this.#expire(slot, true)) this.#set(base, SaFlag.hardTold);
    } else if (!(flags & SaFlag.softTold) && passed(SOFT) && this.#expire(slot, false))
      this.#set(base, SaFlag.softTold);
  }

  #set(base: number, flag: number): void {
    Atomics.or(this.#sad.words, (base + at.flags) >>> 2, flag);
  }

  #expire(slot: number, hard: boolean): boolean {
    const sad = this.#sad;
    const base = sad.offset(slot);
    return this.#tell({
      protocol: sad.words[(base + at.protocol) >>> 2],
      spi: sad.spi(slot),
      dst: readEndPoints(sad, slot).dst.address,
      hard,
    });
  }
}

/** Offsets in `limits`: soft and hard alternate. */
const SOFT = 0;
const HARD = 1;

function isPassed(limit: number, value: number): boolean {
  return limit !== 0 && value >= limit;
}
