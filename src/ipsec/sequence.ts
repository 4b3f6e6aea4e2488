// Outbound sequence numbers, reserved in shared memory by several workers at once, any of which may be killed between
// two instructions. No number is ever given out twice; numbers that a dead worker had reserved are left out.
//
// The counter has 64 bits, but an atomic add on 64 bits would make a BigInt each time. So the low half is a word that
// is added to, and the high half stands twice: A counts for numbers whose low half is below 2^31, B for the others.
// While the low half is in B's range everybody sees to it that A is B + 1, and while it is in A's, that B equals A.
// The word that is about to be needed is thus right 2^31 packets before it is, whoever died on the way. (What would be
// needed to break it: a worker stopped between `reserveSequence` and `sequenceHigh`, both in one batch, while others
// send 2^31 packets on the same SA, and then continued.)

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

/**
 * Reserves `count` (1 to 2^24) consecutive numbers.
 * @param words the SAD as 32-bit words
 * @param slot word index of the SA's slot
 * @returns low half of the first number; the halves of the following ones count on from it (modulo 2^32). The high
 * half of each is `sequenceHigh` of its low half.
 */
export function reserveSequence(words: Int32Array, slot: number, count: number): number {
  const last = Atomics.add(words, slot + LOW, count);
  const a = Atomics.load(words, slot + A);
  const b = Atomics.load(words, slot + B);
  if (last < 0) {
    if (a !== ((b + 1) | 0)) Atomics.compareExchange(words, slot + A, b, (b + 1) | 0);
  } else if (b !== a) Atomics.compareExchange(words, slot + B, b, a);
  return (last + 1) >>> 0;
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

/** High half of the number with this low half, which the caller has just reserved. */
export function sequenceHigh(words: Int32Array, slot: number, low: number): number {
  return words[slot + (low < 0x80000000 ? A : B)] >>> 0;
}

/** Must no further number be reserved? Asked once a run of packets, before `reserveSequence`. */
export function atCeiling(words: Int32Array, slot: number): boolean {
  const ceiling = words[slot + CEILING] >>> 0;
  if (ceiling === 0) return false;
  const low = Atomics.load(words, slot + LOW);
  return sequenceHigh(words, slot, low >>> 0) * STEPS_IN_LOW + (low >>> STEP_SHIFT) >= ceiling;
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
  const low = words[slot + LOW] >>> 0;
  return (BigInt(sequenceHigh(words, slot, low)) << 32n) | BigInt(low);
}

/** The same as a number, exact below 2^53. */
export function lastNumber(words: Int32Array, slot: number): number {
  const low = words[slot + LOW] >>> 0;
  return sequenceHigh(words, slot, low) * 0x1_0000_0000 + low;
}
