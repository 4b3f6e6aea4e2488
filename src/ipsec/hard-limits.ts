// Hard limits in the data path: an SA that has carried what it may, or that is too old, carries nothing more, whether or
// not a supervisor is there to see it (RFC 4301 §4.4.2.1). The packet with which an SA reaches its limit is the last one,
// as with Linux: an SA of 1,000 packets carries 1,000, one of 1,000 bytes those until 1,000 bytes are reached. That holds for
// several workers together: who asks here about bytes and packets has the SA locked (sa-lock.ts) until he has counted them.
//
// SAs without hard limits never come here; those with one of time (charon's default) come once for each run of packets,
// those with one of bytes or packets (flag `volumeLimit`) also once for each packet.

import type { Sad } from "./sad.js";
import { MAX_WORKERS, SaFlag, saSlot, trafficOf } from "./sad-layout.js";

const at = saSlot.at;
const FLAGS = at.flags >>> 2;
const ADDED = at.added >>> 2;
const LIFE_SECONDS = (at.limits >>> 3) + 1;
const LIFE_BYTES = (at.limits >>> 3) + 3;
const LIFE_PACKETS = (at.limits >>> 3) + 5;
/** Where each worker counts packets, and behind them bytes. */
const LANES = Int32Array.from({ length: MAX_WORKERS }, (_, worker) => trafficOf(worker) >>> 3);
const EXPIRED = SaFlag.expired;

export class HardLimits {
  private readonly atomics: Int32Array;
  private readonly words: Uint32Array;
  private readonly doubles: Float64Array;
  /** Bytes and packets that the SA may still carry. */
  private readonly left = new Float64Array(2);
  private flags = 0;

  constructor(
    sad: Sad,
    private readonly clock: { seconds: number },
  ) {
    this.atomics = sad.atomics;
    this.words = sad.words;
    this.doubles = new Float64Array(sad.words.buffer as ArrayBuffer);
  }

  /**
   * Begins a run of packets of one SA.
   * @param offset byte offset of its slot
   * @returns whether it may carry packets at all
   */
  open(offset: number): boolean {
    const { doubles, left } = this;
    const slot = offset >>> 3;
    this.flags = (offset >>> 2) + FLAGS;
    const seconds = doubles[slot + LIFE_SECONDS];
    const isOld = seconds !== 0 && this.clock.seconds - this.words[(offset >>> 2) + ADDED] >= seconds;
    left[0] = this.rest(doubles[slot + LIFE_BYTES], slot + 1);
    left[1] = this.rest(doubles[slot + LIFE_PACKETS], slot);
    return (!isOld && left[0] > 0 && left[1] > 0) || this.expire();
  }

  /** May one more packet, of `length` bytes, be carried? The answer yes counts it. */
  take(length: number): boolean {
    const { left } = this;
    if (!(left[0] > 0 && left[1] > 0)) return this.expire();
    left[0] -= length;
    left[1] -= 1;
    return true;
  }

  /** What the workers have left of a limit, of which 0 stands for none. @param slot plus 1 for bytes */
  private rest(limit: number, slot: number): number {
    if (limit === 0) return Number.POSITIVE_INFINITY;
    let rest = limit;
    for (let i = 0; i < LANES.length; i++) rest -= this.doubles[slot + LANES[i]];
    return rest;
  }

  private expire(): false {
    Atomics.or(this.atomics, this.flags, EXPIRED);
    return false;
  }
}
