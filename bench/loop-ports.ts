// Ports for benchmarks without a kernel: a generator and meter as the private side, and a public side whose transmitted
// packets come in again.

import type { App, AppContext, Source } from "../src/engine/app.js";
import { Link } from "../src/engine/link.js";
import { type Frames, NONE } from "../src/memory/frames.js";
import { fold, sum16 } from "../src/net/checksum.js";
import { type Port, type PortOptions, received } from "../src/ports/port.js";

// Names of this module's own, which V8 compiles in.
const NO_FRAME = NONE;
const receivedFrame = received;
const foldSum = fold;

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
  /** Ethernet frames with UDP over IPv4, sent over and over in this order; each of at least 60 bytes. */
  readonly templates: readonly Uint8Array[];
  /** IPv4 destinations, which take turns. */
  readonly destinations: Uint32Array;
  /** Packets that one destination gets behind each other. */
  readonly train: number;
}

const CHECKSUM = 24;
const DESTINATION = 30;
/** A sample's stamp: the number of its template above that of its destination, and 1 so that it is never 0. */
const STAMP_SHIFT = 20;

/**
 * The private side: sends packets round robin and counts what arrives. Of most packets only the headers are written; the
 * payload is what stands in the frame. Every SAMPLE-th one is written whole, numbered in its payload, and compared byte by
 * byte when it comes back. What a packet costs here does not depend on how many destinations there are.
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
  private readonly view: DataView;
  private readonly words: Uint32Array;
  private readonly input: Link;
  private readonly output: Link;
  private readonly number: number;
  private readonly templates: readonly Uint8Array[];
  private readonly destinations: Uint32Array;
  private readonly train: number;
  /** The templates' first bytes as words of memory, their IP headers' sums without destination, and their lengths. */
  private readonly headers: Uint32Array;
  private readonly sums: Uint32Array;
  private readonly lengths: Uint32Array;
  private nextTemplate = 0;
  private nextDestination = 0;
  private left: number;
  private sampleCount = 0;

  constructor(context: AppContext, options: MeterPortOptions) {
    this.name = options.name;
    this.frames = context.frames;
    this.view = context.frames.view;
    this.words = context.frames.region.words;
    this.input = new Link(context.frames);
    this.output = options.output;
    this.number = options.number;
    this.templates = options.templates;
    this.destinations = options.destinations;
    this.train = options.train;
    this.left = options.train;
    this.source = { pull: this.pull };
    this.sink = { input: this.input, push: this.push };
    const headers = new Uint8Array(options.templates.length * HEADER);
    options.templates.forEach((template, i) => {
      headers.set(template.subarray(0, HEADER), i * HEADER);
      headers.fill(0, i * HEADER + STAMP, i * HEADER + STAMP + 4);
    });
    this.headers = new Uint32Array(headers.buffer);
    this.sums = Uint32Array.from(options.templates, (template) => {
      const header = template.slice(14, 34);
      header.fill(0, CHECKSUM - 14, CHECKSUM - 12);
      header.fill(0, DESTINATION - 14);
      return sum16(new DataView(header.buffer), 0, 20, 0);
    });
    this.lengths = Uint32Array.from(options.templates, ({ length }) => length);
  }

  private readonly pull = (max: number): number => {
    const { frames, words, headers, lengths, destinations, output, number } = this;
    const count = this.toSend > max ? max : this.toSend;
    const { sent } = this;
    let template = this.nextTemplate;
    let bytes = 0;
    let i = 0;
    for (; i < count; i++) {
      const frame = frames.allocate();
      if (frame === NO_FRAME) break;
      const offset = frames.offset[frame];
      const length = lengths[template];
      if (((sent + i) & (SAMPLE - 1)) === 0) this.writeSample(offset, template);
      else {
        const to = offset >>> 2;
        const from = template * HEADER_WORDS;
        for (let w = 0; w < HEADER_WORDS; w += 4) {
          words[to + w] = headers[from + w];
          words[to + w + 1] = headers[from + w + 1];
          words[to + w + 2] = headers[from + w + 2];
          words[to + w + 3] = headers[from + w + 3];
        }
      }
      this.address(this.view, offset, template, destinations[this.nextDestination]);
      if (++template === lengths.length) template = 0;
      if (--this.left === 0) {
        this.left = this.train;
        if (++this.nextDestination === destinations.length) this.nextDestination = 0;
      }
      bytes += length;
      receivedFrame(frames, frame, offset, length, number);
      output.transmit(frame);
    }
    this.nextTemplate = template;
    this.toSend -= i;
    this.sent += i;
    this.sentBytes += bytes;
    return i;
  };

  /** Writes destination and checksum of a packet made from a template. */
  private address(view: DataView, offset: number, template: number, destination: number): void {
    const sum = this.sums[template] + (destination >>> 16) + (destination & 0xffff);
    view.setInt32(offset + DESTINATION, destination);
    view.setUint16(offset + CHECKSUM, foldSum(sum));
  }

  private writeSample(offset: number, template: number): void {
    const { frames } = this;
    frames.bytes.set(this.templates[template], offset);
    frames.view.setUint32(offset + STAMP, (template << STAMP_SHIFT) + this.nextDestination + 1);
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
  private compare(frame: number, stamp: number): void {
    const number = stamp >>> STAMP_SHIFT;
    const template = this.templates[number];
    const destination = this.destinations[stamp & ((1 << STAMP_SHIFT) - 1)];
    this.compared++;
    if (template === undefined || destination === undefined) {
      this.different++;
      return;
    }
    const got = this.frames.copy(frame);
    const ipLength = (template[16] << 8) | template[17];
    const want = Uint8Array.from(template.subarray(0, 14 + ipLength));
    const view = new DataView(want.buffer);
    this.address(view, 0, number, destination);
    view.setUint32(STAMP, stamp + 1);
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
