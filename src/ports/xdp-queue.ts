// The data path of one AF_XDP socket. A frame is with the kernel from the moment it stands in the fill or transmit ring
// until it comes back by the receive or completion ring. How many can be there is bounded by the sizes of the rings, and by
// the level to which the fill ring is filled, so that a busy queue leaves frames to others.
//
// Fill and completion ring belong to the sockets of all workers on the queue. Their lock is only ever tried: who does not
// get it leaves the rings to the one who has it, or to the next breath. What a frame's mark and the notes around each
// change of a ring are good for stands in packet-pool.ts; `recover` reads them.

import { constants } from "node:os";
import { type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { FRAME_SHIFT, FRAME_SIZE, type Frames } from "../memory/frames.js";
import { errno, MSG_DONTWAIT, recv, sendto } from "../native/libc.js";
import { DONE_COUNT, DONE_START, FILL_COUNT, FILL_START, type PacketPool, SEND } from "./packet-pool.js";
import { portCounters, received, TAILROOM } from "./port.js";
import type { XdpRing } from "./xdp-ring.js";
import type { XdpSocket } from "./xdp-socket.js";

export const xdpCounters = {
  ...portCounters,
  "drop.tx_full": "packets that found the transmit ring full",
  "drop.tx_invalid": "packets without a byte, or beyond their frame",
  "rx.checksums": "received packets whose checksum was worked out here",
  "tx.errors": "system calls to transmit that failed, for example because the device is down",
  "kernel.dropped":
    "packets that the kernel dropped because they were larger than a frame: jumbo frames, or joined ones " +
    "(ethtool -K DEVICE gro off lro off here, tso off gso off at the other end of a veth pair)",
  "kernel.ring_full": "packets that the kernel dropped because the receive ring was full",
  "kernel.fill_empty": "times that the kernel found no frame to receive into",
};
const c = counterIndex(xdpCounters);

const { EAGAIN, EBUSY, ENOBUFS } = constants.errno;

/** Frames that are worth a visit to the fill ring. */
const REFILL = 16;
const FRAME_MASK = FRAME_SIZE - 1;

export class XdpQueue {
  readonly socket: XdpSocket;
  /** Frames that this worker gave the kernel to receive into, less those that came to it; all workers' numbers add up. */
  filled = 0;
  /** Frames that this worker gave the kernel to send, less those that it took back. */
  sending = 0;

  readonly #frames: Frames;
  readonly #pool: PacketPool;
  /** Word offset of the queue's record in the pool. */
  readonly #record: number;
  readonly #words: Int32Array;
  readonly #counters: Counters;
  readonly #level: number;
  readonly #fill: XdpRing;
  readonly #completion: XdpRing;
  readonly #receive: XdpRing;
  readonly #transmit: XdpRing;
  /** The kernel refused to transmit at all the last time; waiting for room would not end. */
  #stuck = false;

  /** @param level frames that the fill ring is filled up to */
  constructor(frames: Frames, pool: PacketPool, socket: XdpSocket, counters: Counters, level: number) {
    this.socket = socket;
    this.#frames = frames;
    this.#pool = pool;
    this.#record = pool.nextQueue();
    this.#words = pool.words;
    this.#counters = counters;
    this.#fill = socket.fill;
    this.#completion = socket.completion;
    this.#receive = socket.receive;
    // A socket that does not transmit never has its send methods called.
    this.#transmit = socket.transmit ?? socket.receive;
    this.#level = Math.min(level, this.#fill.size);
  }

  /** Whether packets stand in the transmit ring that the kernel might take now. */
  get backlog(): boolean {
    return this.socket.transmit !== undefined && !this.#stuck && this.#transmit.pending > 0;
  }

  /** True while the kernel has too few frames to receive into, and there are none here: others come back when they are sent. */
  get starved(): boolean {
    return this.#fill.pending < this.#level >>> 2 && this.#frames.available < REFILL;
  }

  /** Takes at most `max` packets from the kernel and transmits them on `output`. */
  receive(max: number, output: Link): number {
    const frames = this.#frames;
    const { holders, mark } = this.#pool;
    const ring = this.#receive;
    const words = ring.words;
    const mask = ring.mask;
    const consumer = ring.consumer[0];
    let count = (Atomics.load(ring.producer, 0) - consumer) | 0;
    if (count > max) count = max;
    let bytes = 0;
    let dropped = 0;
    for (let i = 0; i < count; i++) {
      const at = ((consumer + i) & mask) << 2;
      const address = words[at];
      const length = words[at + 2];
      const frame = address >>> FRAME_SHIFT;
      holders[frame] = mark;
      if (FRAME_SIZE - (address & FRAME_MASK) - length < TAILROOM) {
        dropped++;
        frames.free(frame);
        continue;
      }
      received(frames, frame, address, length);
      bytes += length;
      output.transmit(frame);
    }
    if (count > 0) {
      Atomics.store(ring.consumer, 0, (consumer + count) | 0);
      this.filled -= count;
      this.#counters[c["rx.packets"]] += count - dropped;
      this.#counters[c["rx.bytes"]] += bytes;
      if (dropped > 0) this.#counters[c["drop.oversize"]] += dropped;
    }
    this.serve();
    return count;
  }

  /** Takes back what has been sent, and gives the kernel frames to receive into, as far as there are any. */
  serve(): void {
    const pending = this.#fill.pending;
    if (this.#completion.pending === 0 && pending > this.#level - REFILL) return;
    const pool = this.#pool;
    const record = this.#record;
    const lock = pool.tryLock(record);
    if (lock === 0) return;
    if (lock === 2) this.#repair();
    this.#complete();
    pool.balance();
    this.#refill();
    pool.unlock(record);
    // A zero-copy driver that found the ring empty has gone to sleep.
    if (this.#fill.needsWakeup) recv(this.socket.fd, null, 0, MSG_DONTWAIT);
  }

  #refill(): void {
    const frames = this.#frames;
    const ring = this.#fill;
    const pending = ring.pending;
    let count = this.#level - pending;
    if (count < REFILL && pending >= REFILL) return;
    const { available } = frames;
    // A worker that has few leaves it to the others, as long as the kernel has some.
    if (available < this.#pool.poor && pending >= this.#level >>> 2) return;
    if (count > available) count = available;
    if (count <= 0) return;
    const words = ring.words;
    const mask = ring.mask;
    const producer = ring.producer[0];
    for (let i = 0; i < count; i++) {
      const at = ((producer + i) & mask) << 1;
      words[at] = frames.allocate() << FRAME_SHIFT;
      words[at + 1] = 0;
    }
    const { holders } = this.#pool;
    const record = this.#words;
    const note = this.#record;
    record[note + FILL_START] = producer;
    Atomics.store(record, note + FILL_COUNT, count);
    for (let i = 0; i < count; i++) holders[words[((producer + i) & mask) << 1] >>> FRAME_SHIFT] = 0;
    Atomics.store(ring.producer, 0, (producer + count) | 0);
    Atomics.store(record, note + FILL_COUNT, 0);
    this.filled += count;
  }

  /** Hands all packets on `input` to the kernel. */
  send(input: Link): void {
    const frames = this.#frames;
    const ring = this.#transmit;
    const words = ring.words;
    const mask = ring.mask;
    const producer = ring.producer[0];
    const room = ring.size - ((producer - Atomics.load(ring.consumer, 0)) | 0);
    const waiting = input.readable;
    let count = 0;
    let bytes = 0;
    for (let i = 0; i < waiting; i++) {
      const frame = input.receive();
      const length = frames.length[frame];
      const offset = frames.offset[frame];
      // The kernel would skip such a descriptor and never give its frame back.
      if (length === 0 || (offset & FRAME_MASK) + length > FRAME_SIZE) {
        this.#counters[c["drop.tx_invalid"]]++;
        frames.free(frame);
        continue;
      }
      if (count === room) {
        this.#counters[c["drop.tx_full"]]++;
        frames.free(frame);
        continue;
      }
      const at = ((producer + count) & mask) << 2;
      words[at] = offset;
      words[at + 1] = 0;
      words[at + 2] = length;
      words[at + 3] = 0;
      bytes += length;
      count++;
    }
    if (count > 0) {
      const { holders } = this.#pool;
      const record = this.#words;
      const note = this.#record + SEND + 2 * this.#pool.worker;
      record[note] = producer;
      Atomics.store(record, note + 1, count);
      for (let i = 0; i < count; i++) holders[words[((producer + i) & mask) << 2] >>> FRAME_SHIFT] = 0;
      Atomics.store(ring.producer, 0, (producer + count) | 0);
      Atomics.store(record, note + 1, 0);
      this.sending += count;
      this.#counters[c["tx.packets"]] += count;
      this.#counters[c["tx.bytes"]] += bytes;
    }
    if (ring.pending > 0) this.#kick();
  }

  /**
   * Makes the kernel look at the transmit ring. One call takes everything where the socket's budget could be raised;
   * older kernels take 32 packets a call and answer EAGAIN. The loop ends as soon as a call moves nothing: the rest
   * stays in the ring for the next breath.
   */
  #kick(): void {
    const ring = this.#transmit;
    const producer = ring.producer[0];
    let consumer = Atomics.load(ring.consumer, 0);
    while (consumer !== producer && ring.needsWakeup) {
      if (sendto(this.socket.fd, null, 0, MSG_DONTWAIT, null, 0) < 0) {
        const error = errno();
        if (error !== EAGAIN && error !== EBUSY && error !== ENOBUFS) {
          this.#counters[c["tx.errors"]]++;
          this.#stuck = true;
          return;
        }
      }
      this.#stuck = false;
      const before = consumer;
      consumer = Atomics.load(ring.consumer, 0);
      if (consumer === before) return;
    }
  }

  /** With the lock. */
  #complete(): void {
    const frames = this.#frames;
    const ring = this.#completion;
    const words = ring.words;
    const mask = ring.mask;
    const consumer = ring.consumer[0];
    const count = (Atomics.load(ring.producer, 0) - consumer) | 0;
    if (count === 0) return;
    const { holders, mark } = this.#pool;
    const record = this.#words;
    const note = this.#record;
    record[note + DONE_START] = consumer;
    Atomics.store(record, note + DONE_COUNT, count);
    for (let i = 0; i < count; i++) {
      const frame = words[((consumer + i) & mask) << 1] >>> FRAME_SHIFT;
      holders[frame] = mark;
      frames.free(frame);
    }
    Atomics.store(ring.consumer, 0, (consumer + count) | 0);
    Atomics.store(record, note + DONE_COUNT, 0);
    this.sending -= count;
  }

  /**
   * Puts in order what this worker's predecessor left on its own rings when it was killed, and what it left on the common
   * ones, if it had their lock. To be called before the frames are counted.
   */
  recover(): void {
    const { holders, mark } = this.#pool;
    const { receive, transmit } = this.socket;
    // Packets that have come meanwhile, and those that it was just taking.
    const consumer = receive.consumer[0];
    const count = (Atomics.load(receive.producer, 0) - consumer) | 0;
    for (let i = 0; i < count; i++)
      holders[receive.words[((consumer + i) & receive.mask) << 2] >>> FRAME_SHIFT] = 0;
    if (transmit) {
      const record = this.#words;
      const note = this.#record + SEND + 2 * this.#pool.worker;
      const unsent = Atomics.load(record, note + 1);
      // Noted, but not handed over.
      if (unsent > 0 && transmit.producer[0] === record[note])
        for (let i = 0; i < unsent; i++)
          holders[transmit.words[((record[note] + i) & transmit.mask) << 2] >>> FRAME_SHIFT] = mark;
      Atomics.store(record, note + 1, 0);
    }
    // Another worker may be in the middle of that, or at its own work: that takes microseconds.
    let lock = this.#pool.tryLock(this.#record);
    while (lock === 0) lock = this.#pool.tryLock(this.#record);
    if (lock === 2) this.#repair();
    this.#pool.unlock(this.#record);
  }

  /** With the lock, which was taken from one who was killed: what it had noted and not done is undone. */
  #repair(): void {
    const { holders } = this.#pool;
    const record = this.#words;
    const note = this.#record;
    const { fill, completion } = this.socket;
    const dead = this.#pool.formerMark;
    const filling = Atomics.load(record, note + FILL_COUNT);
    const fillStart = record[note + FILL_START];
    if (filling > 0 && fill.producer[0] === fillStart)
      for (let i = 0; i < filling; i++)
        holders[fill.words[((fillStart + i) & fill.mask) << 1] >>> FRAME_SHIFT] = dead;
    Atomics.store(record, note + FILL_COUNT, 0);
    const doing = Atomics.load(record, note + DONE_COUNT);
    const doneStart = record[note + DONE_START];
    if (doing > 0 && completion.consumer[0] === doneStart)
      for (let i = 0; i < doing; i++)
        holders[completion.words[((doneStart + i) & completion.mask) << 1] >>> FRAME_SHIFT] = 0;
    Atomics.store(record, note + DONE_COUNT, 0);
  }
}
