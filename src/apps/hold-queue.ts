// Packets that wait for an SA. A packet that meets a trap, or a policy whose SA is gone, makes charon negotiate; it is
// held meanwhile and sent when the SA comes, so that the first ping of a connection is not lost. The queue is small
// and bounded, in packets for each policy and in time.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Notifier } from "../ipsec/worker-events.js";
import { type Frames, NONE } from "../memory/frames.js";

export const holdCounters = {
  packets: "packets held until an SA comes",
  released: "held packets that went on when an SA came, or a policy that needs none",
  acquires: "requests for an SA handed to the supervisor",
  "drop.timeout": "no SA came in time",
  "drop.full": "too many packets wait already",
} as const;
const COUNT = counterIndex(holdCounters);

/** Packets that wait at most, over all policies and for one of them. */
const CAPACITY = 256;
const PER_POLICY = 32;
/** Seconds that a packet waits. */
const PATIENCE = 10;
/** Milliseconds between two requests for the same policy. */
const REPEAT = 1000;
/** Policies that can have a request under way; more share the places by chance. */
const PLACES = 1024;

export interface Milliseconds {
  milliseconds: number;
}

export class HoldQueue {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly clock: Milliseconds;
  private readonly notifier: Notifier;
  /** The first `count` places are taken, oldest first. */
  private readonly held = new Int32Array(CAPACITY);
  private readonly entries = new Int32Array(CAPACITY);
  private readonly since = new Int32Array(CAPACITY);
  /** When a policy was last asked for, and which one it was, by place. */
  private readonly asked = new Int32Array(PLACES);
  private readonly askedFor = new Int32Array(PLACES).fill(NONE);
  private count = 0;

  constructor(context: AppContext, clock: Milliseconds, notifier: Notifier) {
    this.counters = context.counters("hold", holdCounters);
    this.frames = context.frames;
    this.clock = clock;
    this.notifier = notifier;
  }

  /**
   * Takes a packet that the SPD entry wants protected. Owns the frame.
   * @param srcPort, dstPort -1 where the packet has none
   */
  hold(frame: number, entry: number, protocol: number, srcPort: number, dstPort: number): void {
    const now = this.clock.milliseconds;
    const place = entry & (PLACES - 1);
    if (this.askedFor[place] !== entry || ((now - this.asked[place]) & 0x7fffffff) >= REPEAT) {
      this.askedFor[place] = entry;
      this.asked[place] = now;
      this.counters[COUNT.acquires]++;
      this.notifier.acquire(entry, this.frames.view, this.frames.offset[frame], protocol, srcPort, dstPort);
    }
    let same = 0;
    for (let i = 0; i < this.count; i++) if (this.entries[i] === entry) same++;
    if (this.count === CAPACITY || same >= PER_POLICY) {
      this.counters[COUNT["drop.full"]]++;
      this.frames.free(frame);
      return;
    }
    this.put(this.count++, frame, entry, now);
    this.counters[COUNT.packets]++;
  }

  private put(i: number, frame: number, entry: number, since: number): void {
    this.held[i] = frame;
    this.entries[i] = entry;
    this.since[i] = since;
  }

  /**
   * Policies have changed: everything that waits gets another look, oldest first.
   * @param look takes the frame and sends it on, or leaves it and returns false
   */
  release(look: (frame: number) => boolean): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const frame = this.held[i];
      if (look(frame)) this.counters[COUNT.released]++;
      else this.put(kept++, frame, this.entries[i], this.since[i]);
    }
    this.count = kept;
  }

  /** Gives up packets that have waited for too long. */
  expire(): void {
    const now = this.clock.milliseconds;
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (((now - this.since[i]) & 0x7fffffff) < PATIENCE * 1000) {
        this.put(kept++, this.held[i], this.entries[i], this.since[i]);
        continue;
      }
      this.frames.free(this.held[i]);
      this.counters[COUNT["drop.timeout"]]++;
    }
    this.count = kept;
  }
}
