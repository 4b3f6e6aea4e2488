// The anti-replay window of inbound SAs (RFC 4303 §3.4.3) with extended sequence numbers (Appendix A), as a ring of
// 32-bit words in the SA's slot (RFC 6479): a bit stands for one sequence number, and the word that the window is about
// to enter is cleared before the window moves. A worker that is killed in between leaves a window that is right.
//
// Sequence numbers are pairs of 32-bit halves, all unsigned.

import { offHeapUint32 } from "../memory/off-heap.js";
import { saSlot } from "./sad-layout.js";

const WINDOW = saSlot.at.replayWindow >>> 2;
const MASK = saSlot.at.replayMask >>> 2;
const TOP_LOW = saSlot.at.topLow >>> 2;
const TOP_HIGH = saSlot.at.topHigh >>> 2;
const RING_AT = saSlot.at.ringAt >>> 2;

/** Words of the ring, less one, for a window of `size` packets. */
export function replayMask(size: number): number {
  let ringWords = 2;
  while (ringWords * 32 < size + 32) ringWords *= 2;
  return ringWords - 1;
}

/** Has the window of an SA that no worker uses yet stand as if every number up to `top` had been seen. */
export function beginReplay(words: Uint32Array, slot: number, top: number): void {
  const low = top % 0x1_0000_0000;
  const ring = words[slot + RING_AT];
  const mask = words[slot + MASK];
  words[slot + TOP_LOW] = low;
  words[slot + TOP_HIGH] = Math.floor(top / 0x1_0000_0000);
  words.fill(0xffff_ffff, ring, ring + mask + 1);
  // Those behind it in its word are to come.
  words[ring + ((low >>> 5) & mask)] = 0xffff_ffff >>> (31 - (low & 31));
}

/** The highest number that was accepted. A snapshot. */
export function topSequence(words: Uint32Array, slot: number): number {
  return words[slot + TOP_HIGH] * 0x1_0000_0000 + words[slot + TOP_LOW];
}

/**
 * High half of a received number of which the packet carries only the low half (RFC 4303 Appendix A2.2).
 * @returns the high half; -1 for a number before the first
 */
export function inferHigh(words: Uint32Array, slot: number, low: number): number {
  const window = words[slot + WINDOW];
  const topLow = words[slot + TOP_LOW];
  const topHigh = words[slot + TOP_HIGH];
  const bottom = (topLow - (window === 0 ? 0x80000000 : window) + 1) >>> 0;
  // Does the window lie within one value of the high half, or does it begin in the one before?
  if (bottom <= topLow) return low >= bottom ? topHigh : (topHigh + 1) >>> 0;
  return low >= bottom ? topHigh - 1 : topHigh;
}

// Not exported themselves: V8 compiles a module's own constants in, and looks exported ones up at each use.
const OK = 0;
const SEEN = 1;
const OLD = 2;

export const REPLAY_OK = OK;
export const REPLAY_SEEN = SEEN;
export const REPLAY_OLD = OLD;

/**
 * May a packet with this number be accepted? Nothing is changed: ask before the packet is authenticated, and again
 * right before `markReplay`.
 */
export function checkReplay(words: Uint32Array, slot: number, high: number, low: number): number {
  const topHigh = words[slot + TOP_HIGH];
  const topLow = words[slot + TOP_LOW];
  if (high === topHigh && low > topLow) return OK;
  const window = words[slot + WINDOW];
  if (window === 0) return OK;
  if (low === 0 && high === 0) return OLD;
  if (high === topHigh) {
    if ((topLow - low) >>> 0 >= window) return OLD;
  } else {
    if (high > topHigh) return OK;
    if ((topHigh - high) * 0x1_0000_0000 + topLow - low >= window) return OLD;
  }
  const word = words[words[slot + RING_AT] + ((low >>> 5) & words[slot + MASK])];
  return (word >>> (low & 31)) & 1 ? SEEN : OK;
}

/** Asks `checkReplay`, and marks the number if it may be accepted. For authenticated packets. */
export function acceptReplay(words: Uint32Array, slot: number, high: number, low: number): number {
  const verdict = checkReplay(words, slot, high, low);
  if (verdict === OK) markReplay(words, slot, high, low);
  return verdict;
}

/** Records the number of a packet that was authenticated and for which `checkReplay` said REPLAY_OK. */
export function markReplay(words: Uint32Array, slot: number, high: number, low: number): void {
  const topLow = words[slot + TOP_LOW];
  const topHigh = words[slot + TOP_HIGH];
  const mask = words[slot + MASK] | 0;
  if (high > topHigh || (high === topHigh && low > topLow)) {
    const ahead = high === topHigh ? (low >>> 5) - (topLow >>> 5) : crossedWords(topHigh, topLow, high, low);
    // Most of the time the number is in the word of the one before.
    if (ahead > 0) clearWords(words, slot, topLow, ahead > mask ? mask + 1 : ahead);
    words[slot + TOP_HIGH] = high;
    words[slot + TOP_LOW] = low;
  }
  const index = words[slot + RING_AT] + ((low >>> 5) & mask);
  words[index] |= 1 << (low & 31);
}

/** Clears so many words of the ring behind the one of the highest number. */
function clearWords(words: Uint32Array, slot: number, topLow: number, count: number): void {
  const mask = words[slot + MASK];
  const first = (topLow >>> 5) + 1;
  const ring = words[slot + RING_AT];
  for (let i = 0; i < count; i++) words[ring + ((first + i) & mask)] = 0;
}

/** Words between two numbers with unlike high halves, or a number beyond any ring. */
function crossedWords(topHigh: number, topLow: number, high: number, low: number): number {
  return (high - topHigh) * 0x0800_0000 + (low >>> 5) - (topLow >>> 5);
}

const TOP = 0;
const HIGH = 1;
const BITS = 2;
const accept = acceptReplay;

/**
 * The window while a run of authenticated packets of one SA is worked off. Most packets come in order, and most numbers lie
 * in the word of the one before: what these change is written back at the end of the run, which must come before any
 * packet of it leaves, so that a worker that is killed has let no packet through of which the window knows nothing.
 */
export class ReplayRun {
  /** The highest number, its two halves, and what is to be set in its word of the ring. */
  private readonly state = offHeapUint32(3);
  private slot = 0;

  constructor(private readonly words: Uint32Array) {}

  open(slot: number): void {
    const { words, state } = this;
    this.slot = slot;
    state[TOP] = words[slot + TOP_LOW];
    state[HIGH] = words[slot + TOP_HIGH];
    state[BITS] = 0;
  }

  /** See `acceptReplay`. */
  accept(high: number, low: number): number {
    const { state } = this;
    const top = state[TOP];
    if (low <= top || (low ^ top) >>> 5 !== 0 || high !== state[HIGH]) return this.acceptOther(high, low);
    state[TOP] = low;
    state[BITS] |= 1 << (low & 31);
    return OK;
  }

  private acceptOther(high: number, low: number): number {
    const { slot } = this;
    this.close();
    const verdict = accept(this.words, slot, high, low);
    this.open(slot);
    return verdict;
  }

  close(): void {
    const { words, state, slot } = this;
    if (state[BITS] === 0) return;
    const top = state[TOP];
    words[slot + TOP_LOW] = top;
    words[words[slot + RING_AT] + ((top >>> 5) & words[slot + MASK])] |= state[BITS];
    state[BITS] = 0;
  }
}
