// Outbound sequence numbers, reserved in shared memory by several workers at once, any of which may be killed between
// two instructions. No number is ever given out twice; numbers that a dead worker had reserved are left out.
//
// The counter has 64 bits, but an atomic add on 64 bits would make a BigInt each time. So the low half is a word that
// is added to, and the high half stands twice: A counts for numbers whose low half is below 2^31, B for the others.
// While the low half is in B's range everybody sees to it that A is B + 1, and while it is in A's, that B equals A.
// The word that is about to be needed is thus right 2^31 packets before it is, whoever died on the way. (What would be
// needed to break it: a worker stopped between `reserveSequence` and `sequenceHigh`, both in one batch, while others
// send 2^31 packets on the same SA, and then continued.)

import { saSlot } from "./sad-layout.js";

const LOW = saSlot.at.sequenceLow >>> 2;
const A = saSlot.at.sequenceHighA >>> 2;
const B = saSlot.at.sequenceHighB >>> 2;

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

/** High half of the number with this low half, which the caller has just reserved. */
export function sequenceHigh(words: Int32Array, slot: number, low: number): number {
  return words[slot + (low < 0x80000000 ? A : B)] >>> 0;
}

/** The last number given out. A snapshot for state output and tests. */
export function lastSequence(words: Int32Array, slot: number): bigint {
  const low = words[slot + LOW] >>> 0;
  return (BigInt(sequenceHigh(words, slot, low)) << 32n) | BigInt(low);
}
