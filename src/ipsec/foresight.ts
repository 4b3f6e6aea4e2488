// Reading ahead: with thousands of SAs, what a packet needs of its own is in no cache, and each read of it costs as much as
// encrypting a small packet, if one read waits for the other. So the apps walk over a batch first and read a word of
// every cache line that they are going to need. These reads depend on nothing, the processor does many at a time, and
// when the batch is worked off the lines are there.

import { KEY_SCHEDULE_SIZE, saSlot } from "./sad-layout.js";

const at = saSlot.at;
const LINE = 64 >>> 2;
const STATE = at.state >>> 2;
/** The round keys of AES-128 end three lines on; they follow the header, which is three lines as well. */
const ROUND_KEYS = at.smallRing >>> 2;
/** The schedule ends with the powers of the hash key that short packets need. */
const HASH_KEYS = (at.schedule + KEY_SCHEDULE_SIZE - 64) >>> 2;
const SELECTORS = at.selectors >>> 2;

/**
 * Reads what encapsulation needs of an SA.
 * @param words the SAD
 * @param slot word index of the SA's slot
 * @returns nothing of interest; to be kept somewhere, so that the reads are not optimised away
 */
export function foreseeOutbound(words: Uint32Array, slot: number): number {
  return (
    words[slot + STATE] ^
    words[slot + STATE + LINE] ^
    words[slot + STATE + 2 * LINE] ^
    words[slot + ROUND_KEYS] ^
    words[slot + ROUND_KEYS + LINE] ^
    words[slot + ROUND_KEYS + 2 * LINE] ^
    words[slot + HASH_KEYS]
  );
}

/** The same for decapsulation. */
export function foreseeInbound(words: Uint32Array, slot: number): number {
  return foreseeOutbound(words, slot) ^ words[slot + SELECTORS];
}

/** Bytes of a packet from which on it is long. */
export const LONG_PACKET = 256;

/** Reads the powers of the hash key that a long packet needs besides. */
export function foreseeLong(words: Uint32Array, slot: number): number {
  let foreseen = 0;
  for (let i = slot + ROUND_KEYS + 3 * LINE; i < slot + HASH_KEYS; i += LINE) foreseen ^= words[i];
  return foreseen;
}

/** Runs of packets with the same SA in one breath from which on reading ahead is worth while. */
const MANY_RUNS = 4;

/** Counts the runs of a breath: with few SAs all that packets need is in the cache, and there is nothing to read ahead. */
export class RunCount {
  private runs = 0;
  private runsBefore = 0;

  /** A run of packets of another SA begins. */
  countRun(): void {
    this.runs = (this.runs + 1) | 0;
  }

  /** The breath ends. */
  endBreath(): void {
    this.runsBefore = this.runs;
    this.runs = 0;
  }

  /** Were there so many SAs in the last breath that looking ahead is worth while? */
  get isWorthwhile(): boolean {
    return this.runsBefore > MANY_RUNS;
  }
}
