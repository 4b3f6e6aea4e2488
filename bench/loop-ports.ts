// Ports for benchmarks without a kernel: a generator and meter as the private side, and a public side whose transmitted
// packets come in again.

import type { App, AppContext, Source } from "../src/engine/app.js";
import { Link } from "../src/engine/link.js";
import { type Frames, NONE } from "../src/memory/frames.js";
import { type Port, type PortOptions, received } from "../src/ports/port.js";

// Names of this module's own, which V8 compiles in.
const NO_FRAME = NONE;
const receivedFrame = received;

/** The public side: what leaves comes back. */
export class LoopPort implements Port {
  readonly name: string;
  readonly kind = "ethernet";
  readonly source: Source;
  readonly sink: App & { readonly input: Link };
  private readonly frames: Frames;
  private readonly input: Link;
  private readonly output: Link;
  private readonly number: number;

  constructor(context: AppContext, options: PortOptions) {
    this.name = options.name;
    this.frames = context.frames;
    this.input = new Link(context.frames);
    this.output = options.output;
    this.number = options.number;
    this.source = { pull: this.pull };
    this.sink = { input: this.input, push: () => {} };
  }

  private readonly pull = (max: number): number => {
    const { input, frames, output, number } = this;
    const count = input.readable > max ? max : input.readable;
    for (let i = 0; i < count; i++) {
      const frame = input.receive();
      receivedFrame(frames, frame, frames.offset[frame], frames.length[frame], number);
      output.transmit(frame);
    }
    return count;
  };

  waiting(): [] {
    return [];
  }

  close(): void {}
}

/** Where the payload of UDP over IPv4 begins in an Ethernet frame. */
const STAMP = 42;
/** Bytes of each packet that are written anew: the headers and the stamp, in whole words. */
const HEADER = 48;
const HEADER_WORDS = HEADER / 4;

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
  readonly source: Source;
  readonly sink: App & { readonly input: Link };
  /** Packets still to be sent. */
  toSend = 0;
  sent = 0;
  sentBytes = 0;
  arrived = 0;
  compared = 0;
  different = 0;
  private readonly frames: Frames;
  private readonly words: Uint32Array;
  private readonly input: Link;
  private readonly output: Link;
  private readonly number: number;
  private readonly packets: readonly Uint8Array[];
  /** The packets' first bytes as words of memory, and their lengths. */
  private readonly headers: Uint32Array;
  private readonly lengths: Uint32Array;
  private next = 0;
  private sampleCount = 0;

  constructor(context: AppContext, options: MeterPortOptions) {
    this.name = options.name;
    this.frames = context.frames;
    this.words = context.frames.region.words;
    this.input = new Link(context.frames);
    this.output = options.output;
    this.number = options.number;
    this.packets = options.packets;
    this.source = { pull: this.pull };
    this.sink = { input: this.input, push: this.push };
    const headers = new Uint8Array(options.packets.length * HEADER);
    options.packets.forEach((packet, i) => {
      headers.set(packet.subarray(0, HEADER), i * HEADER);
      headers.fill(0, i * HEADER + STAMP, i * HEADER + STAMP + 4);
    });
    this.headers = new Uint32Array(headers.buffer);
    this.lengths = Uint32Array.from(options.packets, ({ length }) => length);
  }

  private readonly pull = (max: number): number => {
    const { frames, words, headers, lengths, output, number } = this;
    const count = this.toSend > max ? max : this.toSend;
    const { sent } = this;
    let next = this.next;
    let bytes = 0;
    let i = 0;
    for (; i < count; i++) {
      const frame = frames.allocate();
      if (frame === NO_FRAME) break;
      const offset = frames.offset[frame];
      const length = lengths[next];
      if (((sent + i) & (SAMPLE - 1)) === 0) this.writeSample(offset, next);
      else {
        const to = offset >>> 2;
        const from = next * HEADER_WORDS;
        for (let w = 0; w < HEADER_WORDS; w += 4) {
          words[to + w] = headers[from + w];
          words[to + w + 1] = headers[from + w + 1];
          words[to + w + 2] = headers[from + w + 2];
          words[to + w + 3] = headers[from + w + 3];
        }
      }
      if (++next === lengths.length) next = 0;
      bytes += length;
      receivedFrame(frames, frame, offset, length, number);
      output.transmit(frame);
    }
    this.next = next;
    this.toSend -= i;
    this.sent += i;
    this.sentBytes += bytes;
    return i;
  };

  private writeSample(offset: number, index: number): void {
    const { frames } = this;
    frames.bytes.set(this.packets[index], offset);
    frames.view.setUint32(offset + STAMP, index + 1);
    this.sampleCount++;
  }

  /** Samples sent; as many must be compared. */
  get samples(): number {
    return this.sampleCount;
  }

  private readonly push = (): void => {
    const { frames, input } = this;
    const { view } = frames;
    const count = input.readable;
    for (let i = 0; i < count; i++) {
      const frame = input.receive();
      const stamp = view.getInt32(frames.offset[frame] + STAMP);
      if (stamp !== 0) this.compare(frame, stamp - 1);
      frames.free(frame);
    }
    this.arrived += count;
  };

  /** All bytes from the UDP header on must be the sent ones; so must the IP header but for TTL and checksum. */
  private compare(frame: number, index: number): void {
    const packet = this.packets[index];
    this.compared++;
    if (!packet) {
      this.different++;
      return;
    }
    const got = this.frames.copy(frame);
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
