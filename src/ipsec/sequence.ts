// Outbound sequence numbers, reserved in shared memory by several workers at once, any of which may be killed between
// two instructions. No number is ever given out twice; numbers that a dead worker had reserved are left out.
//
// The counter has 64 bits, but an atomic operation on 64 bits would make a BigInt each time. So the low half is a word that
// is moved on, and the high half stands twice: A counts for numbers whose low half is below 2^31, B for the others.
// While the low half is in B's range everybody sees to it that A is B + 1, and while it is in A's, that B equals A.
// The word that is about to be needed is thus right 2^31 packets before it is, whoever died on the way.
//
// Which of the two counts, and what it is, is read before the low half is moved on, and holds if that is still where it was:
// behind a boundary the next one changes the word that counted in front of it. (What would be needed to break it: a worker
// stopped between its reading and its exchange, while others send 2^32 packets on the same SA, and then continued.)
//
// A static SA's key is used again by later runs, which must know what was used of its numbers. So they may be reserved only
// up to a ceiling, beyond which the supervisor has noted on disk that they may be used (gateway/sequence-marks.ts).

import { CEILING_SHIFT, saSlot } from "./sad-layout.js";

const LOW = saSlot.at.sequenceLow >>> 2;
const A = saSlot.at.sequenceHighA >>> 2;
const B = saSlot.at.sequenceHighB >>> 2;
const CEILING = saSlot.at.ceiling >>> 2;
const STEP_SHIFT = CEILING_SHIFT;
const STEPS_IN_LOW = 2 ** (32 - CEILING_SHIFT);

/** Numbers in a step of the ceiling. */
export const CEILING_STEP = 2 ** CEILING_SHIFT;

/**
 * What workers can reserve beyond the ceiling at most: each asks before it reserves what a batch needs (128 numbers), and
 * between the two others may reserve as well. There is more room than all workers of several runs together could need.
 */
export const CEILING_SLACK = 2 ** 16;

/** Where the high half goes when nobody asks for it. */
const UNUSED = new Int32Array(1);

/**
 * Reserves `count` (1 to 2^24) consecutive numbers.
 * @param words the SAD as 32-bit words
 * @param slot word index of the SA's slot
 * @param high takes the first number's high half
 * @returns low half of the first number; the following ones count on from it, and where the low half begins anew, with it
 * the high one counts on
 */
export function reserveSequence(
  words: Int32Array,
  slot: number,
  count: number,
  high: Int32Array = UNUSED,
): number {
  for (;;) {
    const last = Atomics.load(words, slot + LOW);
    const a = Atomics.load(words, slot + A);
    const b = Atomics.load(words, slot + B);
    if (Atomics.compareExchange(words, slot + LOW, last, (last + count) | 0) !== last) continue;
    if (last < 0) {
      if (a !== ((b + 1) | 0)) Atomics.compareExchange(words, slot + A, b, (b + 1) | 0);
    } else if (b !== a) Atomics.compareExchange(words, slot + B, b, a);
    high[0] = last >= 0 ? a : last === -1 ? b + 1 : b;
    return (last + 1) >>> 0;
  }
}

/**
 * Gives back what was reserved and not used: the numbers from low half `next` to the one before `end`, behind which nobody has
 * reserved since; else they are left out, as they are where 2^31 lies between, which the high halves have followed.
 */
export function giveBackSequence(words: Int32Array, slot: number, next: number, end: number): void {
  const last = (next - 1) | 0;
  const reserved = (end - 1) | 0;
  if ((last ^ reserved) >= 0) Atomics.compareExchange(words, slot + LOW, reserved, last);
}

/** Must no further number be reserved? Asked once a run of packets, before `reserveSequence`. */
export function atCeiling(words: Int32Array, slot: number): boolean {
  const ceiling = words[slot + CEILING] >>> 0;
  if (ceiling === 0) return false;
  for (;;) {
    const low = Atomics.load(words, slot + LOW);
    const high = Atomics.load(words, slot + (low < 0 ? B : A)) >>> 0;
    if (Atomics.load(words, slot + LOW) === low) return high * STEPS_IN_LOW + (low >>> STEP_SHIFT) >= ceiling;
  }
}

/** Has numbers go on behind `last`, in a slot that no worker uses yet. @param last a whole number below 2^53 */
export function beginSequence(words: Int32Array | Uint32Array, slot: number, last: number): void {
  const high = Math.floor(last / 0x1_0000_0000);
  const low = last % 0x1_0000_0000;
  words[slot + LOW] = low;
  words[slot + A] = low < 0x8000_0000 ? high : high + 1;
  words[slot + B] = high;
}

/** Numbers in whose steps `ceiling` counts; 0 for none. */
export function ceilingOf(words: Int32Array | Uint32Array, slot: number): number {
  return words[slot + CEILING] >>> 0;
}

/** Raises the ceiling of an SA in use. */
export function setCeiling(words: Int32Array, slot: number, ceiling: number): void {
  Atomics.store(words, slot + CEILING, ceiling | 0);
}

/** The last number given out. A snapshot for state output and tests. */
export function lastSequence(words: Int32Array, slot: number): bigint {
  for (;;) {
    const low = Atomics.load(words, slot + LOW);
    const high = Atomics.load(words, slot + (low < 0 ? B : A)) >>> 0;
    if (Atomics.load(words, slot + LOW) === low) return (BigInt(high) << 32n) | BigInt(low >>> 0);
  }
}

/** The same as a number, exact below 2^53. */
export function lastNumber(words: Int32Array, slot: number): number {
  return Number(lastSequence(words, slot));
}
