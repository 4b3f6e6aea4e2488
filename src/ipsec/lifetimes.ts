// Lifetimes of SAs (RFC 4301 §4.4.2.1): charon does not time them, the kernel must. Each SA has a soft limit, at which
// charon is told to rekey it, and a hard one, at which it carries no more traffic and charon is told that it is gone; in
// seconds since it was installed, in bytes and in packets. The data path keeps the hard limits by itself, to the packet
// (hard-limits.ts); what happens here is that charon hears of it.
//
// Nobody walks over all SAs to find those few: an SA is looked at in the seconds in which a limit of its is due, and
// oftener only if it has limits in bytes or packets.
//
// What was told stands in the SA's flags, so that a supervisor that starts again does not tell it twice. An event that
// reached nobody is told again until it does.

import type { IpAddress } from "../net/address.js";
import { readEndPoints } from "./outer-header.js";
import { saTotals } from "./sa-usage.js";
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
  /** Slots by the second in which to look at them. */
  readonly #due = new Map<number, Set<number>>();
  /** Slots of SAs with limits in bytes or packets. */
  readonly #counted = new Set<number>();
  /** Slots of SAs about which nobody wanted to hear yet. */
  readonly #untold = new Set<number>();

  /**
   * @param now CLOCK_MONOTONIC, seconds
   * @param tell hands an expiry to the key managers; false when none of them got it
   */
  constructor(sad: Sad, now: () => number, tell: (expiry: Expiry) => boolean) {
    this.#sad = sad;
    this.#now = now;
    this.#tell = tell;
    for (let slot = 0; slot < sad.used; slot++) if (sad.state(slot) === SaState.active) this.watch(slot);
  }

  /** An SA was installed. */
  watch(slot: number): void {
    for (const second of this.#seconds(slot)) {
      const slots = this.#due.get(second);
      if (slots) slots.add(slot);
      else this.#due.set(second, new Set([slot]));
    }
    if ([2, 3, 4, 5].some((i) => this.#limit(slot, i) !== 0)) this.#counted.add(slot);
    if (this.#sad.flags(slot) & SaFlag.expired) this.#untold.add(slot);
  }

  /** An SA is about to be deleted. */
  forget(slot: number): void {
    for (const second of this.#seconds(slot)) {
      const slots = this.#due.get(second);
      slots?.delete(slot);
      if (slots?.size === 0) this.#due.delete(second);
    }
    this.#counted.delete(slot);
    this.#untold.delete(slot);
  }

  /** When its soft and its hard limit in time are due. */
  #seconds(slot: number): number[] {
    const added = this.#sad.words[(this.#sad.offset(slot) + at.added) >>> 2];
    return [this.#limit(slot, SOFT), this.#limit(slot, HARD)]
      .filter((limit) => limit !== 0)
      .map((limit) => Math.ceil(added + limit));
  }

  #limit(slot: number, i: number): number {
    return this.#sad.view.getFloat64(this.#sad.offset(slot) + at.limits + 8 * i, true);
  }

  /** To be called several times a second: byte and packet limits are passed at any moment. */
  check(): void {
    const now = this.#now();
    // The seconds are few, as many as the longest lifetime has.
    for (const [second, slots] of this.#due) {
      if (second > now) continue;
      this.#due.delete(second);
      for (const slot of slots) this.#checkSlot(slot, now);
    }
    for (const slot of this.#counted) this.#checkSlot(slot, now);
    for (const slot of this.#untold) this.#checkSlot(slot, now);
  }

  #checkSlot(slot: number, now: number): void {
    const sad = this.#sad;
    const base = sad.offset(slot);
    const flags = sad.words[(base + at.flags) >>> 2];
    if (sad.state(slot) !== SaState.active || flags & SaFlag.hardTold) return;
    const limit = (i: number) => this.#limit(slot, i);
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
    const told = this.#tell({
      protocol: sad.words[(base + at.protocol) >>> 2],
      spi: sad.spi(slot),
      dst: readEndPoints(sad, slot).dst.address,
      hard,
    });
    if (told) this.#untold.delete(slot);
    else this.#untold.add(slot);
    return told;
  }
}

/** Offsets in `limits`: soft and hard alternate. */
const SOFT = 0;
const HARD = 1;

function isPassed(limit: number, value: number): boolean {
  return limit !== 0 && value >= limit;
}
