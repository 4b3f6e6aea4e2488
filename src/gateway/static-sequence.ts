// The sequence numbers of static SAs, between the disk (sequence-marks.ts) and the slots of the SAD: numbers are set aside on
// disk before workers may use them, some 0.3 to 5 seconds of a fast SA's traffic ahead and hours of a slow one's.
//
//   last number used ≤ ceiling of the slot + what workers can overshoot it by ≤ mark on disk
//
// A run that ends in order leaves the exact numbers. One that is killed together with its SAD costs what was set aside: a
// hole in the numbers, which must stay far below 2^31, or receivers lose count of the upper half of extended ones.

import type { AddSaRequest, SequenceStart } from "../ipsec/kernel.js";
import { topSequence } from "../ipsec/replay.js";
import type { Sad } from "../ipsec/sad.js";
import { CEILING_SLACK, CEILING_STEP, ceilingOf, lastNumber, setCeiling } from "../ipsec/sequence.js";
import { type Logger, messageOf } from "./log.js";
import { type MarkId, markId, type SequenceMarks } from "./sequence-marks.js";

/** Numbers that are set aside for an SA that has not sent anything yet, and for one that sends. */
const FIRST_BLOCK = 2 ** 24;
const BLOCK = 2 ** 26;
/** Numbers that an inbound SA may be ahead of its mark, and seconds that it may be at all. */
const INBOUND_BLOCK = 2 ** 24;
const INBOUND_SECONDS = 60;
/** All that there are without extended sequence numbers (RFC 4303 §3.3.3), and a ceiling that is beyond all of them. */
const NUMBERS_32 = 2 ** 32;
const NO_CEILING = 0xffff_ffff;
/** Seconds between two complaints about a disk. */
const COMPLAINT = 60;

interface Outbound {
  slot: number;
  id: MarkId;
  extended: boolean;
  /** The last number when it was last known to be at rest. */
  begun: number;
}

interface Inbound {
  slot: number;
  id: MarkId;
}

export interface StaticSequenceParts {
  sad: Sad;
  marks: SequenceMarks;
  logger: Logger;
  /** Seconds, counted up. */
  now(): number;
}

export class StaticSequence {
  readonly #sad: Sad;
  readonly #marks: SequenceMarks;
  readonly #log: Logger;
  readonly #now: () => number;
  /** By SA, however its owner calls it. */
  readonly #outbound = new Map<string, Outbound>();
  readonly #inbound = new Map<string, Inbound>();
  /** What inbound SAs have seen that are gone, and that is not on disk yet. */
  readonly #left = new Map<MarkId, number>();
  /** When the marks of inbound SAs were all up to date. */
  #inboundNoted: number;
  #complained = Number.NEGATIVE_INFINITY;

  constructor({ sad, marks, logger, now }: StaticSequenceParts) {
    this.#sad = sad;
    this.#marks = marks;
    this.#log = logger;
    this.#now = now;
    this.#inboundNoted = now();
  }

  /** Has the SA's key no sequence numbers left? @throws Error when the marks cannot be had */
  isExhausted(request: AddSaRequest): boolean {
    const { inbound, extendedSequenceNumbers } = request;
    return !inbound && !extendedSequenceNumbers && this.#marks.get(idOf(request)) >= NUMBERS_32 - 1;
  }

  /**
   * Sets numbers aside for SAs that are to be added, in one go.
   * @returns where each begins; undefined for an inbound one whose key was never used
   * @throws Error when the marks cannot be read or written
   */
  async begin(requests: readonly AddSaRequest[]): Promise<(SequenceStart | undefined)[]> {
    const raised = new Map<MarkId, number>();
    const starts = requests.map((request) => {
      const id = idOf(request);
      const last = raised.get(id) ?? this.#mark(id);
      if (request.inbound) return last === 0 ? undefined : { last, ceiling: 0 };
      const { ceiling, mark } = blockBehind(last, FIRST_BLOCK, request.extendedSequenceNumbers);
      raised.set(id, Math.max(mark, last));
      return { last, ceiling };
    });
    await this.#marks.raise(raised);
    return starts;
  }

  /** An SA is in a slot now. */
  watch(key: string, slot: number, request: AddSaRequest): void {
    const id = idOf(request);
    if (request.inbound) this.#inbound.set(key, { slot, id });
    else {
      const { extendedSequenceNumbers: extended } = request;
      this.#outbound.set(key, { slot, id, extended, begun: this.#last(slot) });
    }
  }

  /** An SA is about to be taken out of its slot. */
  forget(key: string): void {
    const inbound = this.#inbound.get(key);
    this.#inbound.delete(key);
    this.#outbound.delete(key);
    if (inbound)
      this.#left.set(inbound.id, Math.max(this.#top(inbound.slot), this.#left.get(inbound.id) ?? 0));
  }

  #mark(id: MarkId): number {
    return Math.max(this.#marks.get(id), this.#left.get(id) ?? 0);
  }

  /**
   * SAs of an earlier run were found in the SAD, with what it had set aside for them. Should the file know less (it was lost,
   * or is an old copy), the SAD is right.
   * @throws Error when the marks cannot be read or written
   */
  async adopt(): Promise<void> {
    const raised = new Map<MarkId, number>();
    for (const { slot, id } of this.#outbound.values()) {
      raised.set(id, this.#reach(slot));
    }
    await this.#marks.raise(raised);
  }

  /**
   * Sets further numbers aside for SAs that will need them soon. To be called several times a second; never rejects.
   * @returns SAs that cannot go on where they are, because another slot has had numbers of their keys meanwhile (a change to
   * other tables that was taken back): they need a new slot
   */
  async check(): Promise<string[]> {
    const stranded: string[] = [];
    await this.#try(() => this.#raise(stranded));
    return stranded;
  }

  async #raise(stranded: string[]): Promise<void> {
    const raised = new Map<MarkId, number>();
    const ceilings: [number, number][] = [];
    for (const [key, { slot, id, extended, begun }] of this.#outbound) {
      const last = this.#last(slot);
      const wanted = last === begun ? FIRST_BLOCK : BLOCK;
      if (this.#ceiling(slot) * CEILING_STEP - last >= wanted / 2) continue;
      if (this.#marks.get(id) > this.#reach(slot)) {
        stranded.push(key);
        continue;
      }
      const { ceiling, mark } = blockBehind(last, wanted, extended);
      raised.set(id, mark);
      ceilings.push([slot, ceiling]);
    }
    if (raised.size === 0 && !this.#isInboundDue()) return;
    for (const [id, top] of this.#tops()) raised.set(id, top);
    const now = this.#now();
    await this.#marks.raise(raised);
    this.#inboundNoted = now;
    this.#left.clear();
    for (const [slot, ceiling] of ceilings) setCeiling(this.#sad.atomics, slotWord(this.#sad, slot), ceiling);
  }

  /** What has been seen of each inbound key. */
  #tops(): Map<MarkId, number> {
    const tops = new Map(this.#left);
    for (const { slot, id } of this.#inbound.values())
      tops.set(id, Math.max(this.#top(slot), tops.get(id) ?? 0));
    return tops;
  }

  #isInboundDue(): boolean {
    if (this.#left.size > 0) return true;
    const isLate = this.#now() - this.#inboundNoted >= INBOUND_SECONDS;
    for (const { slot, id } of this.#inbound.values()) {
      const ahead = this.#top(slot) - this.#marks.get(id);
      if (ahead >= INBOUND_BLOCK || (isLate && ahead > 0)) return true;
    }
    return false;
  }

  /** Notes what inbound SAs have seen. */
  async note(): Promise<void> {
    const tops = this.#tops();
    if (tops.size > 0) await this.#try(() => this.#marks.raise(tops));
  }

  /** Notes what was really used: no worker lives any more, and none will ever use these slots. */
  async settle(): Promise<void> {
    const marks = this.#tops();
    for (const { slot, id } of this.#outbound.values())
      if (this.#marks.get(id) <= this.#reach(slot)) marks.set(id, this.#last(slot));
    if (marks.size > 0) await this.#try(() => this.#marks.settle(marks));
  }

  async #try(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      const now = this.#now();
      if (now - this.#complained < COMPLAINT) return;
      this.#complained = now;
      this.#log.warn(
        `the sequence numbers of static SAs cannot be noted, and their packets will be dropped when those set aside are used up: ${messageOf(error)}`,
      );
    }
  }

  #last(slot: number): number {
    return lastNumber(this.#sad.atomics, slotWord(this.#sad, slot));
  }

  #ceiling(slot: number): number {
    return ceilingOf(this.#sad.words, slotWord(this.#sad, slot));
  }

  /** The mark up to which numbers were set aside for this slot. */
  #reach(slot: number): number {
    const ceiling = this.#ceiling(slot);
    return ceiling === NO_CEILING ? NUMBERS_32 : ceiling * CEILING_STEP + CEILING_SLACK;
  }

  #top(slot: number): number {
    return topSequence(this.#sad.words, slotWord(this.#sad, slot));
  }
}

function slotWord(sad: Sad, slot: number): number {
  return sad.offset(slot) >>> 2;
}

function idOf({ inbound, encryptionKey }: AddSaRequest): MarkId {
  return markId(inbound ? "in" : "out", encryptionKey);
}

/** A ceiling that leaves so many numbers behind `last`, and the mark that it needs. */
function blockBehind(last: number, numbers: number, extended: boolean): { ceiling: number; mark: number } {
  const ceiling = Math.floor(last / CEILING_STEP) + numbers / CEILING_STEP;
  // Without extended sequence numbers there is nothing beyond to be used a second time.
  if (!extended && (ceiling + 1) * CEILING_STEP >= NUMBERS_32)
    return { ceiling: NO_CEILING, mark: NUMBERS_32 };
  return { ceiling, mark: ceiling * CEILING_STEP + CEILING_SLACK };
}
