// A link carries packets from one app to the next: a ring of frame numbers with one writer and one reader in the same
// process. It is bounded; a packet that finds it full is dropped and counted here.

import type { Frames } from "../memory/frames.js";

/** Packets that a link holds, a power of two. */
const CAPACITY = 1024;
const MASK = CAPACITY - 1;
/** From how many frames on a whole array is copied in one go. */
const FEW = 24;

export class Link {
  /** Packets dropped because the link was full. */
  dropped = 0;
  private readonly frames: Frames;
  private readonly ring = new Int32Array(CAPACITY);
  private write = 0;
  private read = 0;

  constructor(frames: Frames) {
    this.frames = frames;
  }

  /** Hands a frame over to the link. */
  transmit(frame: number): void {
    if (((this.write - this.read) | 0) === CAPACITY) {
      this.dropped++;
      this.frames.free(frame);
      return;
    }
    this.ring[this.write & MASK] = frame;
    this.write = (this.write + 1) | 0;
  }

  /**
   * Hands the first `count` of these frames over to the link. What the array has behind them may come to lie on the ring as
   * well, where nobody reads it.
   */
  transmitAll(frames: Int32Array, count: number): void {
    const { ring, write } = this;
    if (count > FEW && frames.length <= this.writable && (write & MASK) + frames.length <= CAPACITY) {
      ring.set(frames, write & MASK);
      this.write = (write + count) | 0;
      return;
    }
    const fit = count > this.writable ? this.writable : count;
    for (let i = 0; i < fit; i++) ring[(write + i) & MASK] = frames[i];
    this.write = (write + fit) | 0;
    for (let i = fit; i < count; i++) this.transmit(frames[i]);
  }

  /**
   * Puts a frame on the link as number `i` of those that `publish` hands over. Only valid for `i` below `writable`: a whole
   * batch asks once for room.
   */
  put(i: number, frame: number): void {
    this.ring[(this.write + i) & MASK] = frame;
  }

  /** Hands over the `count` frames that were put on the link. */
  publish(count: number): void {
    this.write = (this.write + count) | 0;
  }

  /** The frame that is number `i` of those that wait. Only valid for `i` below `readable`; it stays on the link. */
  at(i: number): number {
    return this.ring[(this.read + i) & MASK];
  }

  /** Takes the oldest `count` frames off the link, which `at` has shown: one step for a whole batch. */
  advance(count: number): void {
    this.read = (this.read + count) | 0;
    if (this.read !== this.write) return;
    // An empty link begins anew, so that the same few cache lines are used in every breath.
    this.read = 0;
    this.write = 0;
  }

  /** Takes the oldest frame off the link. Only valid while `readable` is not 0. */
  receive(): number {
    const frame = this.ring[this.read & MASK];
    this.read = (this.read + 1) | 0;
    return frame;
  }

  /** Packets that wait. */
  get readable(): number {
    return (this.write - this.read) | 0;
  }

  /** Packets that still fit. */
  get writable(): number {
    return CAPACITY - ((this.write - this.read) | 0);
  }
}
