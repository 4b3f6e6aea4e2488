// The sequence numbers of static SAs, between the disk (sequence-marks.ts) and the slots of the SAD: numbers are set aside on
// disk before workers may use them, some 0.3 to 5 seconds of a fast SA's traffic ahead and hours of a slow one's.
//
//   last number used ≤ ceiling of the slot + what workers can overshoot it by ≤ mark on disk
//
// A run that ends in order leaves the exact numbers. One that is killed together with its SAD costs what was set aside: a
// hole in the numbers, which must stay far below 2^31, or receivers lose count of the upper half of extended ones.

import { messageOf } from "../config/refusal.js";
import type { AddSaRequest, SequenceStart } from "../ipsec/kernel.js";
import { topSequence } from "../ipsec/replay.js";
import type { Sad } from "../ipsec/sad.js";
import { CEILING_SLACK, CEILING_STEP, ceilingOf, lastNumber, setCeiling } from "../ipsec/sequence.js";
import type { Logger } from "./log.js";
import { neighbourMarks } from "./neighbour-marks.js";
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
  readonly #gone = new Map<MarkId, number>();
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
   * Has another node of this machine sent with a key that is new here?
   * @returns the file that knows, for each SA
   * @throws Error when the marks cannot be had
   */
  otherUsers(requests: readonly AddSaRequest[]): (string | undefined)[] {
    const fresh = requests.map((request) => !request.inbound && this.#marks.get(idOf(request)) === 0);
    if (!fresh.includes(true)) return requests.map(() => undefined);
    const users = neighbourMarks(this.#marks.directory);
    return requests.map((request, i) => (fresh[i] ? users.get(idOf(request)) : undefined));
  }

  /**
   * Sets numbers aside for SAs that are to be added, in one go.
   * @returns where each begins; undefined for an inbound one whose key was never used
   * @throws Error when the marks cannot be read or written
   */
  async begin(requests: readonly AddSaRequest[]): Promise<(SequenceStart | undefined)[]> {
    let starts: (SequenceStart | undefined)[] = [];
    await this.#marks.raise((mark) => {
      const raised = new Map<MarkId, number>();
      starts = requests.map((request) => {
        const id = idOf(request);
        const last = Math.max(raised.get(id) ?? mark(id), this.#gone.get(id) ?? 0);
        if (request.inbound) return last === 0 ? undefined : { last, ceiling: 0 };
        const block = blockBehind(last, FIRST_BLOCK, request.extendedSequenceNumbers);
        raised.set(id, Math.max(block.mark, last));
        return { last, ceiling: block.ceiling };
      });
      return raised;
    });
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
      this.#gone.set(inbound.id, Math.max(this.#top(inbound.slot), this.#gone.get(inbound.id) ?? 0));
  }

  /**
   * SAs of an earlier run were found in the SAD, with what it had set aside for them. Should the file know less (it was lost,
   * or is an old copy), the SAD is right.
   * @throws Error when the marks cannot be read or written
   */
  async adopt(): Promise<void> {
    const outbound = [...this.#outbound.values()];
    await this.#marks.raise(() => new Map(outbound.map(({ slot, id }) => [id, this.#reach(slot)])));
  }

  /**
   * Sets further numbers aside for SAs that will need them soon. To be called several times a second; never rejects.
   * @param renew gives an SA a new slot. It cannot go on where it is, because another slot has had numbers of its key meanwhile
   * (a change to other tables that was taken back)
   */
  async check(renew: (key: string) => Promise<void>): Promise<void> {
    await this.#try(async () => {
      for (const key of await this.#raise()) await renew(key);
    });
  }

  /** @returns SAs that need a new slot */
  async #raise(): Promise<string[]> {
    const due = [...this.#outbound].filter(
      ([, outbound]) => this.#left(outbound) < this.#wanted(outbound) / 2,
    );
    if (due.length === 0 && !this.#isInboundDue()) return [];
    const now = this.#now();
    const ceilings: [number, number][] = [];
    const stranded: string[] = [];
    await this.#marks.raise((mark) => {
      const raised = this.#tops();
      for (const [key, outbound] of due) {
        const { slot, id, extended } = outbound;
        if (mark(id) > this.#reach(slot)) {
          stranded.push(key);
          continue;
        }
        const block = blockBehind(this.#last(slot), this.#wanted(outbound), extended);
        raised.set(id, block.mark);
        ceilings.push([slot, block.ceiling]);
      }
      return raised;
    });
    this.#inboundNoted = now;
    this.#gone.clear();
    for (const [slot, ceiling] of ceilings) setCeiling(this.#sad.atomics, slotWord(this.#sad, slot), ceiling);
    return stranded;
  }

  /** Numbers that an SA has still. */
  #left({ slot }: Outbound): number {
    return this.#ceiling(slot) * CEILING_STEP - this.#last(slot);
  }

  /** Numbers that it shall have. */
  #wanted({ slot, begun }: Outbound): number {
    return this.#last(slot) === begun ? FIRST_BLOCK : BLOCK;
  }

  /** What has been seen of each inbound key. */
  #tops(): Map<MarkId, number> {
    const tops = new Map(this.#gone);
    for (const { slot, id } of this.#inbound.values())
      tops.set(id, Math.max(this.#top(slot), tops.get(id) ?? 0));
    return tops;
  }

  #isInboundDue(): boolean {
    if (this.#gone.size > 0) return true;
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
    if (tops.size > 0) await this.#try(() => this.#marks.raise(() => tops));
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
