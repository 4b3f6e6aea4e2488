// ESP encapsulation in tunnel mode (RFC 4303 §3.3, RFC 4301 §5.1): IP packets come in with the SA that shall protect
// them (`frames.sa`), ESP packets with their outer header go out. One app serves all SAs: everything about an SA is in
// its slot of the SAD. Packets grow in place, outer headers to the front, trailer and ICV to the back.
//
//   outer IP | (UDP) | SPI sequence | IV | inner IP packet … | padding 1 2 3 … | pad length, next header | ICV
//
// A batch is worked off in runs of packets with the same SA, so that an SA's fields are read, and its sequence numbers
// reserved, once a run.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { FRAME_SHIFT, type Frames } from "../memory/frames.js";
import { fold, sum16 } from "../net/checksum.js";
import { type AeadBatch, MAX_BATCH } from "./aead.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot } from "./sad-layout.js";
import { reserveSequence, sequenceHigh } from "./sequence.js";

export const encapsulateCounters = {
  packets: "packets encapsulated",
  bytes: "bytes of inner packets encapsulated",
  "drop.no_sa": "the SA was deleted while the packet waited",
  "drop.sa_expired": "the SA has passed its hard limit",
  "drop.sequence_exhausted": "all 2^32 sequence numbers of an SA without ESN are used up (RFC 4303 §3.3.3)",
  "drop.no_room": "the frame has no room for headers, padding and ICV",
} as const;

const COUNT = counterIndex(encapsulateCounters);
const at = saSlot.at;
const STATE = at.state >>> 2;
const FLAGS = at.flags >>> 2;
const SPI = at.spi >>> 2;
const KEY_LENGTH = at.keyLength >>> 2;
const SALT = at.salt >>> 2;
const VERSION = at.version >>> 2;
const OUTER_LENGTH = at.outerLength >>> 2;
const OUTER = at.outer >>> 2;
const OUTER_SUM = at.outerSum >>> 2;
const TFC = at.tfc >>> 2;
const LAST_USE = at.lastUse >>> 2;
const PACKETS = at.packets >>> 3;
const BYTES = at.bytes >>> 3;

export const ESP_HEADER = 8;
export const IV_BYTES = 8;
export const ICV_BYTES = 16;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const UDP_HEADER = 8;
const DF = 0x4000;

/**
 * The largest inner packet of which the ESP packet with its outer header fits into `mtu` bytes.
 * @param outerLength bytes of outer IP header, and UDP header if there is one
 */
export function innerMtu(mtu: number, outerLength: number): number {
  const text = mtu - outerLength - ESP_HEADER - IV_BYTES - ICV_BYTES;
  return (text & ~3) - 2;
}

/** The worker's clock, read once a breath: CLOCK_MONOTONIC in whole seconds. */
export interface Clock {
  seconds: number;
}

export class Encapsulate implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly sad: Sad;
  private readonly words: Uint32Array;
  private readonly atomics: Int32Array;
  private readonly totals: Float64Array;
  private readonly aead: AeadBatch;
  private readonly clock: Clock;
  private readonly worker: number;
  private readonly batch = new Int32Array(MAX_BATCH);
  /** Packets of the batch whose UDP checksum is due once they are encrypted (UDP over IPv6, RFC 8200 §8.1). */
  private readonly checksumDue = new Uint32Array(MAX_BATCH);

  constructor(
    context: AppContext,
    sad: Sad,
    aead: AeadBatch,
    clock: Clock,
    worker: number,
    readonly input: Link,
    readonly output: Link,
  ) {
    this.counters = context.counters("encapsulate", encapsulateCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.sad = sad;
    this.words = sad.words;
    this.atomics = sad.atomics;
    this.totals = new Float64Array(sad.words.buffer as ArrayBuffer);
    this.aead = aead;
    this.clock = clock;
    this.worker = worker;
  }

  readonly push = (): void => {
    let waiting = this.input.readable;
    while (waiting > 0) {
      const taken = waiting > MAX_BATCH ? MAX_BATCH : waiting;
      this.pushBatch(taken);
      waiting -= taken;
    }
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private pushBatch(taken: number): void {
    const batch = this.batch;
    const frames = this.frames;
    const words = this.words;
    const { input } = this;
    let count = 0;
    for (let i = 0; i < taken; i++) {
      const frame = input.receive();
      const slot = this.sad.offset(frames.sa[frame]) >>> 2;
      if (words[slot + STATE] !== SaState.active) this.drop(frame, COUNT["drop.no_sa"]);
      else if (words[slot + FLAGS] & SaFlag.expired) this.drop(frame, COUNT["drop.sa_expired"]);
      else if (!this.hasRoom(frame, words[slot + OUTER_LENGTH])) this.drop(frame, COUNT["drop.no_room"]);
      else batch[count++] = frame;
    }
    if (count === 0) return;
    this.aead.begin(count);
    let kept = 0;
    let due = 0;
    for (let i = 0; i < count; ) {
      const sa = frames.sa[batch[i]];
      let end = i + 1;
      while (end < count && frames.sa[batch[end]] === sa) end++;
      const offset = this.sad.offset(sa);
      const slot = offset >>> 2;
      const first = reserveSequence(this.atomics, slot, end - i);
      const flags = words[slot + FLAGS];
      const esn = flags & SaFlag.extendedSequenceNumbers;
      let packets = 0;
      let bytes = 0;
      for (let k = 0; i < end; i++, k++) {
        const frame = batch[i];
        const low = (first + k) >>> 0;
        const high = sequenceHigh(this.atomics, slot, low);
        if (esn === 0 && (high !== 0 || low === 0)) {
          this.drop(frame, COUNT["drop.sequence_exhausted"]);
          continue;
        }
        bytes += frames.length[frame];
        packets++;
        const outerLength = this.packet(kept, frame, offset, slot, flags, high, low);
        if (outerLength === IPV6_HEADER + UDP_HEADER) this.checksumDue[due++] = frame;
        batch[kept++] = frame;
      }
      const lane = (offset >>> 3) + this.worker;
      this.totals[lane + PACKETS] += packets;
      this.totals[lane + BYTES] += bytes;
      if (packets > 0) words[slot + LAST_USE] = this.clock.seconds;
      this.counters[COUNT.packets] += packets;
      this.counters[COUNT.bytes] += bytes;
    }
    // Packets that were dropped after begin() have left jobs of the batch unset, at its end.
    this.aead.run(kept);
    for (let i = 0; i < due; i++) this.udpChecksum(this.checksumDue[i]);
    for (let i = 0; i < kept; i++) this.output.transmit(batch[i]);
  }

  private hasRoom(frame: number, outerLength: number): boolean {
    const frames = this.frames;
    const offset = frames.offset[frame];
    const headroom = offset - (frame << FRAME_SHIFT);
    return (
      headroom >= outerLength + ESP_HEADER + IV_BYTES + 14 && frames.tailroom(frame) >= 3 + 2 + ICV_BYTES
    );
  }

  /**
   * Frames one packet and sets it up for encryption as number `i` of the batch.
   * @returns bytes of outer header
   */
  private packet(
    i: number,
    frame: number,
    offset: number,
    slot: number,
    flags: number,
    high: number,
    low: number,
  ): number {
    const view = this.view;
    const frames = this.frames;
    const words = this.words;
    const inner = frames.offset[frame];
    const first = view.getUint32(inner);
    const isIpv4 = first >>> 28 === 4;
    let length = frames.length[frame];
    if (words[slot + TFC] !== 0) length = this.padTraffic(frame, length, words[slot + TFC]);

    // Trailer: the text is a multiple of 4 bytes long (RFC 4303 §2.4), padding counts 1, 2, 3.
    const pad = (2 - length) & 3;
    const tail = inner + length;
    for (let p = 0; p < pad; p++) view.setUint8(tail + p, p + 1);
    view.setUint8(tail + pad, pad);
    view.setUint8(tail + pad + 1, isIpv4 ? NEXT_HEADER_IPV4 : NEXT_HEADER_IPV6);
    const text = length + pad + 2;

    // Header: the IV is the sequence number, which is unique for the key (RFC 4106 §3.1).
    const spi = words[slot + SPI];
    const iv = inner - IV_BYTES;
    const esp = iv - ESP_HEADER;
    view.setUint32(esp, spi);
    view.setUint32(esp + 4, low);
    view.setUint32(iv, high);
    view.setUint32(iv + 4, low);
    this.aead.set(
      i,
      offset,
      words[slot + KEY_LENGTH],
      words[slot + SALT],
      high,
      low,
      spi,
      flags & SaFlag.extendedSequenceNumbers,
      high,
      low,
      inner,
      text,
    );

    const innerTos = isIpv4 ? (first >>> 16) & 0xff : (first >>> 20) & 0xff;
    const tos =
      ((flags & SaFlag.copyDscpOut) !== 0 ? innerTos & 0xfc : 0) |
      ((flags & SaFlag.copyEcn) !== 0 ? innerTos & 3 : 0);
    // IPv6 packets must not be fragmented on the way, so the outer header says so for them (RFC 4301 §8.1).
    let df = 0;
    if ((flags & SaFlag.copyDf) !== 0) df = isIpv4 ? view.getUint16(inner + 6) & DF : DF;
    return this.outerHeader(frame, slot, esp, ESP_HEADER + IV_BYTES + text + ICV_BYTES, tos, df, low);
  }

  /** Traffic flow confidentiality (RFC 4303 §2.7): zeros behind the packet, up to `size` bytes if way and frame have room. */
  private padTraffic(frame: number, length: number, size: number): number {
    const room = this.frames.tailroom(frame) - (3 + 2 + ICV_BYTES);
    const limit = this.frames.limit[frame];
    const wanted = (size > limit ? limit : size) - length;
    const zeros = wanted > room ? room : wanted;
    if (zeros <= 0) return length;
    const tail = this.frames.offset[frame] + length;
    for (let i = 0; i < zeros; i++) this.view.setUint8(tail + i, 0);
    return length + zeros;
  }

  /** Copies the SA's outer header in front of the ESP header; again if its end points changed meanwhile. */
  private outerHeader(
    frame: number,
    slot: number,
    esp: number,
    espLength: number,
    tos: number,
    df: number,
    low: number,
  ): number {
    const view = this.view;
    const words = this.words;
    let outerLength = 0;
    let sum = 0;
    let version = 0;
    do {
      version = Atomics.load(this.atomics, slot + VERSION);
      outerLength = words[slot + OUTER_LENGTH];
      const start = esp - outerLength;
      for (let i = 0; i < outerLength; i += 4)
        view.setUint32(start + i, words[slot + OUTER + (i >>> 2)], true);
      sum = words[slot + OUTER_SUM];
    } while ((version & 1) !== 0 || version !== Atomics.load(this.atomics, slot + VERSION));
    const start = esp - outerLength;
    const total = outerLength + espLength;
    // 20 or 40 bytes are an IP header alone, 28 or 48 one with UDP behind it.
    if (outerLength === IPV4_HEADER + UDP_HEADER || outerLength === IPV6_HEADER + UDP_HEADER)
      view.setUint16(esp - 4, UDP_HEADER + espLength);
    if (outerLength < IPV6_HEADER) {
      // With DF set the identification means nothing (RFC 6864 §4.1); without, it should not repeat soon.
      const id = df === 0 ? low & 0xffff : 0;
      view.setUint8(start + 1, tos);
      view.setUint16(start + 2, total);
      view.setUint16(start + 4, id);
      view.setUint16(start + 6, df);
      view.setUint16(start + 10, fold(sum + tos + total + id + df));
    } else {
      view.setUint16(start, 0x6000 | (tos << 4));
      view.setUint16(start + 4, total - IPV6_HEADER);
    }
    this.frames.offset[frame] = start;
    this.frames.length[frame] = total;
    return outerLength;
  }

  /** UDP over IPv6 must carry a checksum; over IPv4 it is 0 (RFC 3948 §2.2). */
  private udpChecksum(frame: number): void {
    const view = this.view;
    const start = this.frames.offset[frame];
    const udp = start + IPV6_HEADER;
    const length = this.frames.length[frame] - IPV6_HEADER;
    view.setUint16(udp + 6, 0);
    const pseudo = sum16(view, start + 8, 32, length + 17);
    const checksum = fold(sum16(view, udp, length, pseudo));
    view.setUint16(udp + 6, checksum === 0 ? 0xffff : checksum);
  }
}
