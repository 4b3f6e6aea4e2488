// ESP packets that come before the keys of their SA. A responder uses a new SA as soon as it has answered; its first
// packets may overtake the initiator's charon, which has reserved the SPI but still works on the answer. They wait here,
// in order, until the keys come, which takes milliseconds. On a first connection nobody would miss them, but in a
// reauthentication (make before break) they belong to traffic under way.
//
// Only packets with an SPI that charon has reserved come here. Such an SPI is known to the peer alone (it travels
// encrypted), so that nobody else can fill the queue; it is bounded in packets and in time all the same.

import type { Frames } from "../memory/frames.js";
import type { EspSink } from "./decapsulate.js";
import type { Sad } from "./sad.js";
import { SaState, saSlot } from "./sad-layout.js";

const CAPACITY = 512;
/** Seconds that a packet waits at least; the clock is as coarse. */
const PATIENCE = 2;
const STATE = saSlot.at.state >>> 2;
const LARVAL = SaState.larval;

export class EarlyPackets {
  /** Packets that wait; the first so many places are taken, oldest first. */
  count = 0;
  private readonly held = new Int32Array(CAPACITY);
  private readonly slots = new Int32Array(CAPACITY);
  private readonly since = new Int32Array(CAPACITY);
  private readonly released = new Int32Array(CAPACITY);
  private readonly capacity: number;

  /**
   * @param sink takes packets whose keys have come
   * @param tooLate takes packets whose keys did not come in time
   */
  constructor(
    private readonly frames: Frames,
    private readonly sad: Sad,
    private readonly clock: { seconds: number },
    private readonly sink: EspSink,
    private readonly tooLate: (frame: number) => void,
  ) {
    // Not all of a small packet memory.
    this.capacity = Math.min(CAPACITY, frames.home >>> 3);
  }

  /** Takes a packet for the larval SA in `slot`. @returns false, leaving the frame to the caller, when too many wait */
  hold(frame: number, slot: number): boolean {
    if (this.count === this.capacity) return false;
    this.put(this.count++, frame, slot, this.clock.seconds);
    return true;
  }

  private put(i: number, frame: number, slot: number, since: number): void {
    this.held[i] = frame;
    this.slots[i] = slot;
    this.since[i] = since;
  }

  /** Does a packet of this SA wait, so that the next one must wait behind it? */
  waitsFor(slot: number): boolean {
    for (let i = 0; i < this.count; i++) if (this.slots[i] === slot) return true;
    return false;
  }

  /**
   * Looks whether keys have come. Packets whose SA has its keys now, or is gone, go on, oldest first.
   */
  release(): void {
    const { frames, held, slots, since, sad, clock, released } = this;
    let kept = 0;
    let ready = 0;
    for (let i = 0; i < this.count; i++) {
      if (sad.words[(sad.offset(slots[i]) >>> 2) + STATE] !== LARVAL) released[ready++] = held[i];
      else if (clock.seconds - since[i] > PATIENCE) this.tooLate(held[i]);
      else this.put(kept++, held[i], slots[i], since[i]);
    }
    // They must not be found waiting for themselves.
    this.count = kept;
    for (let i = 0; i < ready; i++) {
      const frame = released[i];
      const outer = frames.outer[frame];
      const first = frames.view.getInt32(outer, true);
      const esp = frames.offset[frame];
      this.sink.take(frame, outer, esp, (esp >> 2) - 6, frames.length[frame], first);
    }
  }
}
