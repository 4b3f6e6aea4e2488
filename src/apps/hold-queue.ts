// Packets that wait for an SA. A packet that meets a trap, or a policy whose SA is gone, makes charon negotiate; it is
// held meanwhile and sent when the SA comes, so that the first ping of a connection is not lost. The queue is bounded:
// in packets, in packets for each policy, in a share of the packet memory, and in time.
//
// Who waits asks: once when the first packet comes, and again every second as long as one is there, because the supervisor
// or charon may not have been listening.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Notifier } from "../ipsec/worker-events.js";
import type { Frames } from "../memory/frames.js";

export const holdCounters = {
  packets: "packets held until an SA comes",
  released: "held packets that got their SA, or met another policy by then",
  acquires: "requests for an SA handed to the supervisor",
  "drop.timeout": "no SA came in time",
  "drop.full": "too many packets wait for an SA already",
} as const;
const COUNT = counterIndex(holdCounters);

/** Packets that wait at most: over all policies, one in so many of the worker's frames, and for one policy. */
const CAPACITY = 256;
const SHARE = 16;
const PER_POLICY = 32;
/** Milliseconds that a packet waits. */
const PATIENCE = 10_000;
/** Milliseconds between two requests for the same policy. */
const REPEAT = 1000;
const NEVER = -1;

/** What became of a packet at its second look: it is on its way, or it was dropped. */
export const GONE = -1;
export const ENDED = -2;

export interface Milliseconds {
  /** Counts modulo 2^31. */
  milliseconds: number;
}

export class HoldQueue {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly clock: Milliseconds;
  private readonly notifier: Notifier;
  private readonly capacity: number;
  // What waits, oldest first, in the first `count` places: the frame, the SPD's entry that it met, since when, and what
  // the request says of it.
  private readonly held = new Int32Array(CAPACITY);
  private readonly entries = new Int32Array(CAPACITY);
  private readonly since = new Int32Array(CAPACITY);
  private readonly protocols = new Int32Array(CAPACITY);
  private readonly srcPorts = new Int32Array(CAPACITY);
  private readonly dstPorts = new Int32Array(CAPACITY);
  /** When each entry of the SPD was last asked for. */
  private readonly asked: Int32Array;
  private waiting = 0;

  /** @param entries how many the SPD has */
  constructor(context: AppContext, clock: Milliseconds, notifier: Notifier, entries: number) {
    this.counters = context.counters("hold", holdCounters);
    this.frames = context.frames;
    this.clock = clock;
    this.notifier = notifier;
    this.capacity = Math.max(1, Math.min(CAPACITY, Math.floor(context.frames.home / SHARE)));
    this.asked = new Int32Array(entries).fill(NEVER);
  }

  /** Packets that wait now. */
  get count(): number {
    return this.waiting;
  }

  /**
   * Takes a packet that the SPD's entry wants protected. Owns the frame.
   * @param srcPort, dstPort -1 where the packet has none
   */
  hold(frame: number, entry: number, protocol: number, srcPort: number, dstPort: number): void {
    this.ask(frame, entry, protocol, srcPort, dstPort);
    let same = 0;
    for (let i = 0; i < this.waiting; i++) if (this.entries[i] === entry) same++;
    if (this.waiting === this.capacity || same >= PER_POLICY) {
      this.counters[COUNT["drop.full"]]++;
      this.frames.free(frame);
      return;
    }
    const i = this.waiting++;
    this.held[i] = frame;
    this.entries[i] = entry;
    this.since[i] = this.clock.milliseconds;
    this.protocols[i] = protocol;
    this.srcPorts[i] = srcPort;
    this.dstPorts[i] = dstPort;
    this.counters[COUNT.packets]++;
  }

  /** Asks for an SA on behalf of a packet, unless that was done a moment ago. */
  ask(frame: number, entry: number, protocol: number, srcPort: number, dstPort: number): void {
    const now = this.clock.milliseconds;
    const last = this.asked[entry];
    if (last !== NEVER && ((now - last) & 0x7fffffff) < REPEAT) return;
    this.asked[entry] = now;
    this.counters[COUNT.acquires]++;
    this.notifier.acquire(entry, this.frames.view, this.frames.offset[frame], protocol, srcPort, dstPort);
  }

  private move(from: number, to: number): void {
    this.held[to] = this.held[from];
    this.entries[to] = this.entries[from];
    this.since[to] = this.since[from];
    this.protocols[to] = this.protocols[from];
    this.srcPorts[to] = this.srcPorts[from];
    this.dstPorts[to] = this.dstPorts[from];
  }

  /**
   * Policies have changed: everything that waits gets another look, oldest first.
   * @param look takes the frame and sends it on (GONE) or ends it (ENDED), or leaves it and returns the entry for whose SA
   * it waits
   */
  release(look: (frame: number) => number): void {
    let kept = 0;
    for (let i = 0; i < this.waiting; i++) {
      const entry = look(this.held[i]);
      if (entry < 0) {
        // It has its SA. Should that go, who asks next has a need of his own.
        if (entry === GONE) this.asked[this.entries[i]] = NEVER;
        this.counters[COUNT.released]++;
        continue;
      }
      this.entries[i] = entry;
      this.move(i, kept++);
    }
    this.waiting = kept;
  }

  /** Gives up packets that have waited for too long, and asks again for the others. To be called every few milliseconds. */
  tick(): void {
    const now = this.clock.milliseconds;
    let kept = 0;
    for (let i = 0; i < this.waiting; i++) {
      if (((now - this.since[i]) & 0x7fffffff) >= PATIENCE) {
        this.frames.free(this.held[i]);
        this.counters[COUNT["drop.timeout"]]++;
        continue;
      }
      this.ask(this.held[i], this.entries[i], this.protocols[i], this.srcPorts[i], this.dstPorts[i]);
      this.move(i, kept++);
    }
    this.waiting = kept;
  }
}
