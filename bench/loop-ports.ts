// Ports for benchmarks without a kernel: a generator and meter as the private side, and a public side whose transmitted
// packets come in again.

import type { App, AppContext, Source } from "../src/engine/app.js";
import { Link } from "../src/engine/link.js";
import { NONE } from "../src/memory/frames.js";
import { type Port, type PortOptions, received } from "../src/ports/port.js";

/** The public side: what leaves comes back. */
export class LoopPort implements Port {
  readonly name: string;
  readonly kind = "ethernet";
  readonly source: Source = { pull: (max) => this.pull(max) };
  readonly sink: App & { readonly input: Link };
  private readonly context: AppContext;
  private readonly options: PortOptions;

  constructor(context: AppContext, options: PortOptions) {
    this.name = options.name;
    this.context = context;
    this.options = options;
    this.sink = { input: new Link(context.frames), push: () => {} };
  }

  private pull(max: number): number {
    const { input } = this.sink;
    const { frames } = this.context;
    const { output, number } = this.options;
    const count = input.readable > max ? max : input.readable;
    for (let i = 0; i < count; i++) {
      const frame = input.receive();
      received(frames, frame, frames.offset[frame], frames.length[frame], number);
      output.transmit(frame);
    }
    return count;
  }

  waiting(): [] {
    return [];
  }

  close(): void {}
}

/** One packet in so many is written in full and compared in full on its return. */
const SAMPLE = 1024;

export interface MeterPortOptions extends PortOptions {
  /** Ethernet frames, sent over and over in this order; each at least 60 bytes, with a UDP payload of at least 4. */
  readonly packets: readonly Uint8Array[];
}

/**
 * The private side: sends the packets round robin and counts what arrives. Of most packets only the headers are
 * written anew; the payload is what stands in the frame. Every SAMPLE-th one is written whole, numbered in its payload,
 * and compared byte by byte when it comes back.
 */
export class MeterPort implements Port {
  readonly name: string;
  readonly kind = "ethernet";
  readonly source: Source = { pull: (max) => this.pull(max) };
  readonly sink: App & { readonly input: Link };
  /** Packets still to be sent. */
  toSend = 0;
  sent = 0;
  sentBytes = 0;
  arrived = 0;
  compared = 0;
  different = 0;
  private readonly context: AppContext;
  private readonly options: MeterPortOptions;
  /** The packets' first bytes as words, and their lengths. */
  private readonly headers: Uint32Array;
  private readonly lengths: Uint32Array;
  private next = 0;
  private sampleCount = 0;

  constructor(context: AppContext, options: MeterPortOptions) {
    this.name = options.name;
    this.context = context;
    this.options = options;
    this.sink = { input: new Link(context.frames), push: () => this.push() };
    this.headers = new Uint32Array(options.packets.length * HEADER_WORDS);
    this.lengths = Uint32Array.from(options.packets, ({ length }) => length);
    options.packets.forEach((packet, i) => {
      const view = new DataView(packet.buffer, packet.byteOffset);
      for (let w = 0; w < HEADER_WORDS; w++) this.headers[i * HEADER_WORDS + w] = view.getUint32(4 * w);
    });
  }

  private pull(max: number): number {
    const { frames } = this.context;
    const { output, number } = this.options;
    const { view } = frames;
    const headers = this.headers;
    const count = this.toSend > max ? max : this.toSend;
    let bytes = 0;
    let i = 0;
    for (; i < count; i++) {
      const frame = frames.allocate();
      if (frame === NONE) break;
      const offset = frames.offset[frame];
      const length = this.lengths[this.next];
      if (((this.sent + i) & (SAMPLE - 1)) === 0) this.writeSample(offset);
      else {
        const header = this.next * HEADER_WORDS;
        for (let w = 0; w < HEADER_WORDS; w++) view.setUint32(offset + 4 * w, headers[header + w]);
        view.setUint32(offset + STAMP, 0);
      }
      if (++this.next === this.lengths.length) this.next = 0;
      bytes += length;
      received(frames, frame, offset, length, number);
      output.transmit(frame);
    }
    this.toSend -= i;
    this.sent += i;
    this.sentBytes += bytes;
    return i;
  }

  private writeSample(offset: number): void {
    const { frames } = this.context;
    frames.bytes.set(this.options.packets[this.next], offset);
    frames.view.setUint32(offset + STAMP, this.next + 1);
    this.sampleCount++;
  }

  /** Samples sent; as many must be compared. */
  get samples(): number {
    return this.sampleCount;
  }

  private push(): void {
    const { frames } = this.context;
    const { input } = this.sink;
    const count = input.readable;
    for (let i = 0; i < count; i++) {
      const frame = input.receive();
      const stamp = frames.view.getUint32(frames.offset[frame] + STAMP);
      if (stamp !== 0) this.compare(frame, stamp - 1);
      frames.free(frame);
    }
    this.arrived += count;
  }

  /** All bytes from the UDP header on must be the sent ones; so must the IP header but for TTL and checksum. */
  private compare(frame: number, index: number): void {
    const packet = this.options.packets[index];
    this.compared++;
    if (!packet) {
      this.different++;
      return;
    }
    const got = this.context.frames.copy(frame);
    const ipLength = (packet[16] << 8) | packet[17];
    const want = Uint8Array.from(packet.subarray(0, 14 + ipLength));
    want[STAMP] = got[STAMP];
    want.set(got.subarray(STAMP, STAMP + 4), STAMP);
    // Ethernet addresses are new, TTL is two lower and the checksum follows it.
    want.set(got.subarray(0, 12), 0);
    const ttl = want[22] - got[22];
    want.set(got.subarray(22, 26), 22);
    if (ttl !== 2 || got.length !== want.length || Buffer.compare(got, want) !== 0) this.different++;
  }

  waiting(): [] {
    return [];
  }

  close(): void {}
}

const HEADER_WORDS = 11;
/** Where the payload of UDP over IPv4 begins in an Ethernet frame. */
const STAMP = 42;
