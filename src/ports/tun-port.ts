// TUN: the gateway's own host as the private side. What the kernel routes to the device comes in here, and what is
// transmitted here arrives at the host.
//
// The kernel hands over what it would hand to a network card that segments (TSO, USO) and works out checksums: up to 64 KiB
// in one read, cut into segments here (segmenter.ts). What is written is joined before (coalescer.ts):
//
//   read:  [virtio header] [frame: all of a packet] [annex: what is too long for the frame]
//   write: [virtio header] [frame]            or, a train: [virtio and packet headers] [payload] [payload] …
//
// A packet that comes alone is read right into its frame. One that is to be cut is put together in the annex first.

import { constants } from "node:os";
import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { close, errno, POLLIN, POLLOUT, readv, writev } from "../native/libc.js";
import { finishChecksum } from "../net/checksum.js";
import { COALESCE_BATCH, Coalescer } from "./coalescer.js";
import { IoVectors } from "./iovec.js";
import { Pacing } from "./pacing.js";
import { type Port, type PortOptions, portCounters, received, type Waiting } from "./port.js";
import { OVERSIZE, SEGMENTABLE, Segmenter } from "./segmenter.js";
import { TRAIN_HEADER } from "./train-header.js";
import { openTun, TUN_LARGEST } from "./tun.js";
import {
  GSO_NONE,
  NEEDS_CHECKSUM,
  VIRTIO_BYTES,
  VIRTIO_CHECKSUM_OFFSET,
  VIRTIO_CHECKSUM_START,
  VIRTIO_FLAGS,
  VIRTIO_GSO_SIZE,
  VIRTIO_GSO_TYPE,
} from "./virtio-header.js";

const texts = {
  ...portCounters,
  "drop.tx_full": "packets that the kernel had no room for",
  "drop.tx_refused": "packets that the kernel refused: the device is down, or they are not IP",
  "drop.malformed": "packets to be segmented, or without checksum, whose headers contradict each other",
  "rx.joined": "reads that brought many packets in one piece, which were cut here",
  "tx.joined": "writes of several packets in one piece",
  "tx.parted": "such writes that the kernel refused: their packets were written one by one",
};
const c = counterIndex(texts);
const { EAGAIN, ENOBUFS, ENOMEM } = constants.errno;
/** What a descriptor of a deleted device gives ("file descriptor in bad state"); node has no name for it. */
const EBADFD = 77;

// Names of this module's own, which V8 compiles in.
const NOWHERE = NONE;
const LARGEST = TUN_LARGEST;
const BATCH = COALESCE_BATCH;
const HEADER = VIRTIO_BYTES;

/** Bytes of the annex for the longest packet, a virtio header, and the headers of a train. */
const PACKET = 65_536;
const HEADERS = 256;

export interface TunPortOptions extends PortOptions {
  /** The TUN device; default: the port's name. */
  readonly device?: string;
  /** Whether other workers have the device open too; default: no. */
  readonly isShared?: boolean;
  /** Whether the worker may pause, so that this host's programs get to read their datagrams; default: yes. */
  readonly mayPause?: boolean;
}

export class TunPort implements Port {
  /** Bytes of the frames' annex that a port needs. */
  static readonly annex = PACKET + HEADERS;

  readonly name: string;
  readonly kind = "ip";
  readonly device: string;
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #output: Link;
  readonly #fd: number;
  readonly #reading: IoVectors;
  readonly #writing: IoVectors;
  readonly #segmenter: Segmenter;
  readonly #coalescer: Coalescer;
  readonly #pacing: Pacing | undefined;
  /** Where in the region the longest packet goes, and the two headers. */
  readonly #packet: number;
  readonly #header: number;
  readonly #trainHeader: number;
  readonly #waiting: readonly Waiting[];
  readonly #unfinished: readonly Waiting[];
  /** A frame that no packet came for yet. */
  #spare = NONE;

  /** @throws Error when there is no such TUN device; EBUSY when another process has it for longer than a second */
  constructor(context: AppContext, options: TunPortOptions) {
    const { frames } = context;
    this.name = options.name;
    this.device = options.device ?? options.name;
    this.#frames = frames;
    this.#counters = context.counters(options.name, texts);
    this.#output = options.output;
    this.#packet = frames.reserve(PACKET);
    this.#header = frames.reserve(HEADERS);
    this.#trainHeader = this.#header + 64;
    const { fd, segmentsUdp } = openTun(this.device, options.isShared ?? false);
    this.#fd = fd;
    this.#segmenter = new Segmenter(frames, 0, LARGEST);
    this.#coalescer = new Coalescer(frames, 0, segmentsUdp);
    if (options.mayPause ?? true) this.#pacing = new Pacing();
    this.#reading = new IoVectors(frames.region, 3);
    this.#reading.set(0, this.#header, HEADER);
    this.#reading.set(2, this.#packet + LARGEST, PACKET - LARGEST);
    this.#writing = new IoVectors(frames.region, 1 + BATCH);
    this.#waiting = [{ fd, events: POLLIN }];
    // Always true: there is more to be had at once.
    this.#unfinished = [{ fd, events: POLLIN | POLLOUT }];
    this.sink = { input: new Link(frames), push: () => this.#push() };
  }

  #pull(max: number): number {
    const frames = this.#frames;
    const segmenter = this.#segmenter;
    let count = 0;
    let packets = 0;
    let bytes = 0;
    for (; count < max; count++) {
      let frame = this.#spare;
      if (frame === NOWHERE) {
        frame = frames.allocate();
        if (frame === NOWHERE) break; // The packets wait in the device.
        this.#spare = frame;
      }
      let length = 0;
      if (segmenter.remaining > 0) length = segmenter.cut(frame);
      else {
        length = this.#read(frame);
        if (length < 0) {
          if (count === 0 && errno() === EBADFD) throw new Error(`the TUN device ${this.device} is gone`);
          break;
        }
        if (length === 0) continue;
      }
      this.#spare = NOWHERE;
      received(frames, frame, frames.offset[frame], length);
      packets++;
      bytes += length;
      this.#output.transmit(frame);
    }
    this.#counters[c["rx.packets"]] += packets;
    this.#counters[c["rx.bytes"]] += bytes;
    return count;
  }

  /**
   * Reads a packet.
   * @returns its length, or that of its first segment; 0 when it was dropped, -1 when there was none
   */
  #read(frame: number): number {
    const { view, bytes, offset } = this.#frames;
    const counters = this.#counters;
    const at = offset[frame];
    this.#reading.set(1, at, LARGEST);
    const length = readv(this.#fd, this.#reading.address, 3) - HEADER;
    if (length <= 0) return -1;
    const header = this.#header;
    const flags = view.getUint8(header + VIRTIO_FLAGS);
    const type = view.getUint8(header + VIRTIO_GSO_TYPE);
    const start = view.getUint16(header + VIRTIO_CHECKSUM_START, true);
    if (type === GSO_NONE) {
      if (length > LARGEST) return this.#drop(c["drop.oversize"]);
      if ((flags & NEEDS_CHECKSUM) !== 0) {
        const field = start + view.getUint16(header + VIRTIO_CHECKSUM_OFFSET, true);
        if (field + 2 > length) return this.#drop(c["drop.malformed"]);
        finishChecksum(view, at + start, at + length, at + field);
      }
      return length;
    }
    const whole = this.#packet;
    bytes.copyWithin(whole, at, at + (length < LARGEST ? length : LARGEST));
    const size = view.getUint16(header + VIRTIO_GSO_SIZE, true);
    const verdict = this.#segmenter.begin(whole, length, flags, type, size, start);
    if (verdict !== SEGMENTABLE)
      return this.#drop(verdict === OVERSIZE ? c["drop.oversize"] : c["drop.malformed"]);
    counters[c["rx.joined"]]++;
    return this.#segmenter.cut(frame);
  }

  /** @returns 0, for those who would return the packet's length */
  #drop(reason: number): number {
    this.#counters[reason]++;
    return 0;
  }

  #push(): void {
    const { input } = this.sink;
    const coalescer = this.#coalescer;
    const pacing = this.#pacing;
    if (input.readable === 0) pacing?.rest();
    while (input.readable > 0) {
      coalescer.clear();
      for (let n = Math.min(BATCH, input.readable); n > 0; n--) coalescer.add(input.receive());
      for (let train = 0; train < coalescer.trains; train++) {
        const first = coalescer.first[train];
        const count = coalescer.count[train];
        const protocol = this.#protocol(first);
        if (count > 1) this.#writeTrain(train);
        else this.#write(first);
        pacing?.handed(count, protocol);
      }
    }
  }

  /** The IP protocol of a packet that the graph made or checked; of IPv6 the first next header. */
  #protocol(frame: number): number {
    const { view, offset } = this.#frames;
    const at = offset[frame];
    return view.getUint8(at) >>> 4 === 4 ? view.getUint8(at + 9) : view.getUint8(at + 6);
  }

  /** Writes a packet by itself. */
  #write(frame: number): void {
    const frames = this.#frames;
    const { view } = frames;
    const vectors = this.#writing;
    const length = frames.length[frame];
    // No flags, no segmentation: all ten bytes are 0.
    view.setInt32(this.#trainHeader, 0);
    view.setInt32(this.#trainHeader + 4, 0);
    view.setUint16(this.#trainHeader + 8, 0);
    vectors.set(0, this.#trainHeader, HEADER);
    vectors.set(1, frames.offset[frame], length);
    if (writev(this.#fd, vectors.address, 2) >= 0) {
      this.#counters[c["tx.packets"]]++;
      this.#counters[c["tx.bytes"]] += length;
    } else this.#counters[isFull(errno()) ? c["drop.tx_full"] : c["drop.tx_refused"]]++;
    frames.free(frame);
  }

  /** Writes several packets in one piece, or one by one when the kernel does not take them so. */
  #writeTrain(train: number): void {
    const frames = this.#frames;
    const coalescer = this.#coalescer;
    const vectors = this.#writing;
    const header = coalescer.header[train];
    const count = coalescer.count[train];
    vectors.set(0, this.#trainHeader, coalescer.writeHeader(train, this.#trainHeader));
    let bytes = 0;
    let frame = coalescer.first[train];
    for (let i = 1; i <= count; i++) {
      vectors.set(i, frames.offset[frame] + header, frames.length[frame] - header);
      bytes += frames.length[frame];
      frame = coalescer.following[frame];
    }
    const result = writev(this.#fd, vectors.address, count + 1);
    const isLost = result < 0 && isFull(errno());
    const isParted = result < 0 && !isLost;
    frame = coalescer.first[train];
    for (let i = 0; i < count; i++) {
      const next = coalescer.following[frame];
      if (isParted) this.#write(frame);
      else frames.free(frame);
      frame = next;
    }
    if (isParted) this.#counters[c["tx.parted"]]++;
    else if (isLost) this.#counters[c["drop.tx_full"]] += count;
    else {
      this.#counters[c["tx.joined"]]++;
      this.#counters[c["tx.packets"]] += count;
      this.#counters[c["tx.bytes"]] += bytes;
    }
  }

  waiting(): readonly Waiting[] {
    return this.#segmenter.remaining > 0 ? this.#unfinished : this.#waiting;
  }

  close(): void {
    close(this.#fd);
    this.#reading.unmap();
    this.#writing.unmap();
    if (this.#spare !== NONE) this.#frames.free(this.#spare);
    this.#spare = NONE;
  }
}

function isFull(error: number): boolean {
  return error === EAGAIN || error === ENOBUFS || error === ENOMEM;
}

// The headers of a train fit in their place.
if (64 + TRAIN_HEADER > HEADERS) throw new Error("HEADERS is too small");
