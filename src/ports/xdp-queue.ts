// The data path of one AF_XDP socket. A frame is with the kernel from the moment it stands in the fill or transmit ring
// until it comes back by the receive or completion ring. Both numbers are counted and bounded, so that a busy queue
// leaves frames to others, and because the bounds are no larger than the rings, no ring can ever overflow.

import { constants } from "node:os";
import { type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { FRAME_SHIFT, FRAME_SIZE, type Frames } from "../memory/frames.js";
import { errno, MSG_DONTWAIT, recv, sendto } from "../native/libc.js";
import { portCounters, received, TAILROOM } from "./port.js";
import type { XdpRing } from "./xdp-ring.js";
import type { XdpSocket } from "./xdp-socket.js";

export const xdpCounters = {
  ...portCounters,
  "drop.tx_full": "packets that found the transmit ring full",
  "drop.tx_invalid": "packets without a byte, or beyond their frame",
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
  /** Frames that the kernel has to receive into, those in the receive ring included. */
  filled = 0;
  /** Frames that the kernel has to send. */
  sending = 0;

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #port: number;
  readonly #fillLimit: number;
  readonly #sendLimit: number;
  readonly #fill: XdpRing;
  readonly #completion: XdpRing;
  readonly #receive: XdpRing;
  readonly #transmit: XdpRing;
  /** The kernel refused to transmit at all the last time; waiting for room would not end. */
  #stuck = false;

  /**
   * @param port the number that received frames carry
   * @param fillLimit the most frames that the kernel may have to receive into
   * @param sendLimit the most frames that it may have to send
   */
  constructor(
    frames: Frames,
    socket: XdpSocket,
    counters: Counters,
    port: number,
    fillLimit: number,
    sendLimit: number,
  ) {
    this.socket = socket;
    this.#frames = frames;
    this.#counters = counters;
    this.#port = port;
    this.#fill = socket.fill;
    this.#completion = socket.completion;
    this.#receive = socket.receive;
    // A socket that does not transmit never has its send methods called.
    this.#transmit = socket.transmit ?? socket.receive;
    this.#fillLimit = Math.min(fillLimit, this.#fill.size);
    this.#sendLimit = Math.min(sendLimit, this.#transmit.size);
    this.#refill();
  }

  /** Whether packets stand in the transmit ring that the kernel might take now. */
  get backlog(): boolean {
    return this.sending > 0 && !this.#stuck && this.#transmit.pending > 0;
  }

  /** True while the kernel has too few frames to receive into, and others come back when they have been sent. */
  get starved(): boolean {
    return this.sending > 0 && this.filled < this.#fillLimit >>> 2;
  }

  /** Takes at most `max` packets from the kernel and transmits them on `output`. */
  receive(max: number, output: Link): number {
    if (this.sending > 0) this.#complete();
    const frames = this.#frames;
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
      if (FRAME_SIZE - (address & FRAME_MASK) - length < TAILROOM) {
        dropped++;
        frames.free(frame);
        continue;
      }
      received(frames, frame, address, length, this.#port);
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
    this.#refill();
    return count;
  }

  /** Gives the kernel frames to receive into, as far as there are any. */
  #refill(): void {
    const frames = this.#frames;
    const ring = this.#fill;
    let count = this.#fillLimit - this.filled;
    if (count >= REFILL || this.filled < REFILL) {
      if (count > frames.available) count = frames.available;
      const words = ring.words;
      const mask = ring.mask;
      const producer = ring.producer[0];
      for (let i = 0; i < count; i++) {
        const at = ((producer + i) & mask) << 1;
        words[at] = frames.allocate() << FRAME_SHIFT;
        words[at + 1] = 0;
      }
      if (count > 0) {
        Atomics.store(ring.producer, 0, (producer + count) | 0);
        this.filled += count;
      }
    }
    // A zero-copy driver that found the ring empty has gone to sleep.
    if (ring.needsWakeup) recv(this.socket.fd, null, 0, MSG_DONTWAIT);
  }

  /** Hands all packets on `input` to the kernel. */
  send(input: Link): void {
    if (this.sending > 0) this.#complete();
    const frames = this.#frames;
    const ring = this.#transmit;
    const words = ring.words;
    const mask = ring.mask;
    const producer = ring.producer[0];
    const room = this.#sendLimit - this.sending;
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
      Atomics.store(ring.producer, 0, (producer + count) | 0);
      this.sending += count;
      this.#counters[c["tx.packets"]] += count;
      this.#counters[c["tx.bytes"]] += bytes;
    }
    if (this.sending > 0) this.#kick();
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

  /** Takes back what has been sent. */
  #complete(): void {
    const frames = this.#frames;
    const ring = this.#completion;
    const words = ring.words;
    const mask = ring.mask;
    const consumer = ring.consumer[0];
    const count = (Atomics.load(ring.producer, 0) - consumer) | 0;
    if (count === 0) return;
    for (let i = 0; i < count; i++) frames.free(words[((consumer + i) & mask) << 1] >>> FRAME_SHIFT);
    Atomics.store(ring.consumer, 0, (consumer + count) | 0);
    this.sending -= count;
  }
}
