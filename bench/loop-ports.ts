// Ports for benchmarks without a kernel: a generator and meter as the private side, and a public side whose transmitted
// packets come in again.

import type { App, AppContext, Source } from "../src/engine/app.js";
import { Link } from "../src/engine/link.js";
import { ETHERNET_START, FRAME_SHIFT, type Frames } from "../src/memory/frames.js";
import { offHeapInt32 } from "../src/memory/off-heap.js";
import { swap16 } from "../src/net/byte-order.js";
import { sum16 } from "../src/net/checksum.js";
import { headerChecksum } from "../src/net/ipv4.js";
import { type Port, type PortOptions, received } from "../src/ports/port.js";

// Names of this module's own, which V8 compiles in.
const SHIFT = FRAME_SHIFT;
const START = ETHERNET_START;
const receivedFrame = received;
const checksumOf = headerChecksum;
const swapHalf = swap16;

/** The public side: what leaves comes back, by the very link by which it left. */
export class LoopPort implements Port {
  readonly name: string;
  readonly kind = "ethernet";
  readonly source: Source;
  readonly sink: App & { readonly input: Link };
  private readonly loop: Link;

  constructor(_context: AppContext, options: PortOptions) {
    this.name = options.name;
    this.loop = options.output;
    this.source = { pull: this.pull };
    this.sink = { input: this.loop, push: () => {} };
  }

  private readonly pull = (): number => this.loop.readable;

  waiting(): [] {
    return [];
  }

  close(): void {}
}

/** Where the payload of UDP over IPv4 begins in an Ethernet frame. */
const STAMP = 42;
/** One packet in so many is written in full and compared in full on its return. */
const SAMPLE = 1024;

export interface MeterPortOptions extends PortOptions {
  /** Ethernet frames with UDP over IPv4, sent over and over in this order; each of at least 60 bytes. */
  readonly templates: readonly Uint8Array[];
  /** IPv4 destinations, which take turns. */
  readonly destinations: Uint32Array;
  /** Packets that one destination gets behind each other. */
  readonly train: number;
  /** May packets get lost? Then their frames hold what they were at that moment, and all headers are written each time. */
  readonly isLossy: boolean;
}

const TTL = 22;
const CHECKSUM = 24;
const DESTINATION = 30;
/** A sample's stamp: the number of its template above that of its destination, and 1 so that it is never 0. */
const STAMP_SHIFT = 20;

/**
 * The private side: sends packets round robin and counts what arrives. Of most packets only the headers are written, or,
 * where the frame brought the same headers back, what the way has changed of them: TTL and checksum (and the Ethernet
 * addresses, which nobody looks at). The payload is what stands in the frame. Every SAMPLE-th one is written whole,
 * numbered in its payload, and compared byte by byte when it comes back. What a packet costs here does not depend on how many destinations there are.
 */
export class MeterPort implements Port {
  readonly name: string;
  readonly kind = "ethernet";
  readonly source: Source;
  readonly sink: App & { readonly input: Link };
  /** Packets still to be sent. */
  toSend = 0;
  sent = 0;
  /** One 64-bit float: as a field it would change its kind at 2^31, and with it everything that is compiled. */
  private readonly bytes = new Float64Array(1);
  arrived = 0;
  compared = 0;
  different = 0;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private readonly input: Link;
  private readonly output: Link;
  private readonly templates: readonly Uint8Array[];
  private readonly destinations: Int32Array;
  private readonly train: number;
  private readonly isLossy: boolean;
  /** The first words of the header, as they lie in memory: templates have them in common, but for a length; sums of their IP headers without destination; lengths. */
  private readonly common: Int32Array;
  private readonly sums: Int32Array;
  private readonly lengths: Int32Array;
  private readonly ipLengths: Int32Array;
  /** By frame: what its headers were written for, length and destination, and their third IP word; 0 for a sample. */
  private readonly written: Int32Array;
  private readonly thirds: Int32Array;
  private nextTemplate = 0;
  private nextDestination = 0;
  private left: number;
  private sampleCount = 0;

  constructor(context: AppContext, options: MeterPortOptions) {
    this.name = options.name;
    this.frames = context.frames;
    this.view = context.frames.view;
    this.words = context.frames.lanes.at0;
    this.input = new Link(context.frames);
    this.output = options.output;
    this.templates = options.templates;
    this.destinations = offHeapInt32(options.destinations.length);
    this.destinations.set(options.destinations);
    this.train = options.train;
    this.isLossy = options.isLossy;
    this.left = options.train;
    this.source = { pull: this.pull };
    this.sink = { input: this.input, push: this.push };
    const [first] = options.templates;
    const header = new DataView(first.buffer, first.byteOffset);
    this.common = offHeapInt32(8);
    this.common[0] = header.getInt16(0, true) << 16;
    for (let i = 1; i < 8; i++) this.common[i] = header.getInt32(4 * i - 2, true);
    this.common[4] &= 0xffff;
    const ofEach = (value: (template: Uint8Array) => number) => {
      const values = offHeapInt32(options.templates.length);
      values.set(options.templates.map(value));
      return values;
    };
    this.sums = ofEach((template) => {
      const ip = template.slice(14, 34);
      ip.fill(0, CHECKSUM - 14, CHECKSUM - 12);
      ip.fill(0, DESTINATION - 14);
      return sum16(new DataView(ip.buffer), 0, 20, 0);
    });
    this.ipLengths = ofEach((template) => (template[16] << 8) | template[17]);
    this.lengths = ofEach(({ length }) => length);
    this.written = offHeapInt32(context.frames.capacity);
    this.thirds = offHeapInt32(context.frames.capacity);
  }

  private readonly pull = (max: number): number => {
    const { frames, output, destinations } = this;
    let count = this.toSend > max ? max : this.toSend;
    if (count > output.writable) count = output.writable;
    if (count > frames.available) count = frames.available;
    // Of every SAMPLE packets the first one; the number of the next one, counted from here.
    let sample = -this.sent & (SAMPLE - 1);
    let bytes = 0;
    for (let i = 0; i < count; ) {
      let end = i + this.left;
      if (end > count) end = count;
      if (i === sample) {
        end = i + 1;
        bytes += this.putSample(i);
        sample += SAMPLE;
      } else {
        if (end > sample && sample > i) end = sample;
        bytes += this.putMany(i, end);
      }
      this.left -= end - i;
      i = end;
      if (this.left > 0) continue;
      this.left = this.train;
      this.nextDestination++;
      if (this.nextDestination === destinations.length) this.nextDestination = 0;
    }
    frames.claim(count);
    output.publish(count);
    this.toSend -= count;
    this.sent += count;
    this.bytes[0] += bytes;
    return count;
  };

  /** Puts packets `from` to `end` - 1 of this pull, which all go to the next destination, on the link. @returns their bytes */
  private putMany(from: number, end: number): number {
    const { frames, words, lengths, output, written, thirds } = this;
    const templateCount = lengths.length;
    const tag = this.nextDestination + 1;
    let template = this.nextTemplate;
    let bytes = 0;
    for (let i = from; i < end; i = (i + 1) | 0) {
      const frame = frames.spare(i);
      const offset = ((frame << SHIFT) + START) | 0;
      const length = lengths[template];
      const headers = (length << STAMP_SHIFT) | tag;
      if (written[frame] === headers) words[(offset + TTL) >> 2] = thirds[frame];
      else this.writeHeaders(frame, offset, template, headers);
      template = (template + 1) | 0;
      if (template === templateCount) template = 0;
      bytes = (bytes + length) | 0;
      receivedFrame(frames, frame, offset, length);
      output.put(i, frame);
    }
    this.nextTemplate = template;
    return bytes;
  }

  /** Puts packet `i` of this pull on the link, as a sample. @returns its bytes */
  private putSample(i: number): number {
    const { frames, lengths } = this;
    const frame = frames.spare(i);
    const offset = (frame << SHIFT) + START;
    const template = this.nextTemplate;
    this.writeSample(offset, template, this.nextDestination);
    this.written[frame] = 0;
    this.nextTemplate = template + 1 === lengths.length ? 0 : template + 1;
    receivedFrame(frames, frame, offset, lengths[template]);
    this.output.put(i, frame);
    return lengths[template];
  }

  /** Writes the headers anew, which the way has changed; no stamp follows them. */
  private writeHeaders(frame: number, offset: number, template: number, headers: number): void {
    const { words, common, view } = this;
    const ipLength = this.ipLengths[template];
    // IP headers begin at multiples of four.
    const word = ((offset + 14) >> 2) - 4;
    words[word] = common[0];
    words[word + 1] = common[1];
    words[word + 2] = common[2];
    words[word + 3] = common[3];
    words[word + 4] = common[4] | (swapHalf(ipLength) << 16);
    words[word + 5] = 0;
    words[word + 6] = common[6];
    words[word + 7] = common[7];
    words[word + 11] = 0;
    this.address(view, offset, this.sums[template], this.destinations[this.nextDestination]);
    this.written[frame] = this.isLossy ? 0 : headers;
    this.thirds[frame] = view.getInt32(offset + TTL, true);
  }

  /** Writes destination and checksum of a packet made from the template with this sum. */
  private address(view: DataView, offset: number, templateSum: number, destination: number): void {
    const sum = templateSum + (destination >>> 16) + (destination & 0xffff);
    view.setInt32(offset + DESTINATION, destination);
    view.setUint16(offset + CHECKSUM, checksumOf(sum));
  }

  private writeSample(offset: number, template: number, next: number): void {
    const { frames } = this;
    frames.bytes.set(this.templates[template], offset);
    this.address(frames.view, offset, this.sums[template], this.destinations[next]);
    frames.view.setUint32(offset + STAMP, (template << STAMP_SHIFT) + next + 1);
    this.sampleCount++;
  }

  get sentBytes(): number {
    return this.bytes[0];
  }

  /** Samples sent; as many must be compared. */
  get samples(): number {
    return this.sampleCount;
  }

  private readonly push = (): void => {
    const { frames, input, words } = this;
    const { view } = frames;
    const count = input.readable;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const frame = input.at(i);
      const at = (frames.offset[frame] + STAMP) | 0;
      if (words[at >> 2] !== 0) this.compare(frame, view.getInt32(at) - 1);
      frames.putBack(i, frame);
    }
    frames.reclaim(count);
    input.advance(count);
    this.arrived += count;
  };

  /** All bytes of the IP packet must be the sent ones, but for a TTL that is two lower and the checksum that follows it. */
  private compare(frame: number, stamp: number): void {
    const number = stamp >>> STAMP_SHIFT;
    const destination = stamp & ((1 << STAMP_SHIFT) - 1);
    this.compared++;
    if (number >= this.templates.length || destination >= this.destinations.length) {
      this.different++;
      return;
    }
    const { view, frames } = this;
    const template = this.templates[number];
    const offset = frames.offset[frame];
    const length = 14 + ((template[16] << 8) | template[17]);
    let same =
      frames.length[frame] === length &&
      view.getUint8(offset + TTL) === template[TTL] - 2 &&
      view.getInt32(offset + DESTINATION) === this.destinations[destination];
    // Ethernet addresses are new. The stamp has been read already, and what it says is compared.
    for (let i = 12; i < length; i++) {
      if (i === TTL || i === CHECKSUM || i === CHECKSUM + 1) continue;
      if (i >= DESTINATION && i < DESTINATION + 4) continue;
      if (i >= STAMP && i < STAMP + 4) continue;
      if (view.getUint8(offset + i) !== template[i]) same = false;
    }
    if (!same) this.different++;
  }

  waiting(): [] {
    return [];
  }

  close(): void {}
}
