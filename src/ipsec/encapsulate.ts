// ESP encapsulation (RFC 4303 §3.3, RFC 4301 §5.1): IP packets come in with the SA that shall protect
// them (`frames.sa`), ESP packets with their outer header go out. One app serves all SAs: everything about an SA is in
// its slot of the SAD. Packets grow in place, outer headers to the front, trailer and ICV to the back.
//
//   outer IP | (UDP) | SPI sequence | IV | inner IP packet … | padding 1 2 3 … | pad length, next header | ICV
//
// That is tunnel mode; what differs in transport mode is in transport-encapsulate.ts.
//
// A batch is worked off in runs of packets with the same SA: an SA's fields are read, and its sequence numbers reserved,
// once a run. What the packets of a run have in common stands in this object's fields meanwhile.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { FRAME_SHIFT, type Frames } from "../memory/frames.js";
import { fold, sum16 } from "../net/checksum.js";
import { headerChecksum } from "../net/ipv4.js";
import type { AeadBatch } from "./aead.js";
import { HardLimits } from "./hard-limits.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot, trafficOf } from "./sad-layout.js";
import { reserveSequence, sequenceHigh } from "./sequence.js";
import { TransportEncapsulate, TransportRefusal, type TransportSa } from "./transport-encapsulate.js";

export const encapsulateCounters = {
  packets: "packets encapsulated",
  bytes: "bytes of inner packets encapsulated",
  "drop.no_sa": "the SA was deleted while the packet waited",
  "drop.sa_expired": "the SA has passed its hard limit",
  "drop.sequence_exhausted": "all 2^32 sequence numbers of an SA without ESN are used up (RFC 4303 §3.3.3)",
  "drop.no_room": "the frame has no room for headers, padding and ICV",
  "drop.fragment": "a fragment, which transport mode does not protect (RFC 4303 §3.3.4)",
  "drop.address": "not from and to the end points of its SA in transport mode",
} as const;

const COUNT = counterIndex(encapsulateCounters);
const COUNT_PACKETS = COUNT.packets;
const COUNT_BYTES = COUNT.bytes;

// What the data path uses of other modules has a name here: V8 compiles a module's own constants in, and looks those of
// others up at each use.
const MAX_BATCH = 128;
const SHIFT = FRAME_SHIFT;
const reserve = reserveSequence;
const highHalf = sequenceHigh;
const checksumOf = headerChecksum;
const ACTIVE = SaState.active;
const DYING = SaState.dying;
const { extendedSequenceNumbers: EXTENDED, expired: EXPIRED, transport: TRANSPORT } = SaFlag;
const VOLUME = SaFlag.volumeLimit;
const LIMITED = SaFlag.timeLimit | VOLUME;
const { copyDf: COPY_DF, copyEcn: COPY_ECN, copyDscpOut: COPY_DSCP } = SaFlag;

const at = saSlot.at;
const STATE = at.state >>> 2;
const FLAGS = at.flags >>> 2;
const SPI = at.spi >>> 2;
const KEY_LENGTH = at.keyLength >>> 2;
const SALT = at.salt >>> 2;
const VERSION = at.version >>> 2;
const OUTER_LENGTH = at.outerLength >>> 2;
const OUTER = at.outer;
const OUTER_SUM = at.outerSum >>> 2;
const TFC = at.tfc >>> 2;
const LAST_USE = at.lastUse >>> 2;

const ESP = 8;
const IV = 8;
const ICV = 16;

export const ESP_HEADER = ESP;
export const IV_BYTES = IV;
export const ICV_BYTES = ICV;

/** Padding, pad length and next header: at most. */
const TRAILER = 3 + 2;
/** Bytes that Ethernet wants in front of the outer header. */
const ETHERNET_HEADER = 14;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const DF = 0x4000;

/**
 * The largest inner packet of which the ESP packet with its outer header fits into `mtu` bytes.
 * @param outerLength bytes of outer IP header, and UDP header if there is one
 */
export function innerMtu(mtu: number, outerLength: number): number {
  const text = mtu - outerLength - ESP - IV - ICV;
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
  /** Where in a slot this worker counts, in 64-bit numbers. */
  private readonly traffic: number;
  private readonly limits: HardLimits;
  /** Packets taken off the link; those that go on to encryption. */
  private readonly taken = new Int32Array(MAX_BATCH);
  private readonly batch = new Int32Array(MAX_BATCH);
  private readonly transport: TransportEncapsulate;
  private readonly transportSa: TransportSa;
  /** By TransportRefusal: the counter of packets that transport mode does not protect. */
  private readonly refusals = new Int32Array(3);
  /**
   * Packets of the batch whose UDP checksum is due once they are encrypted (UDP over IPv6, RFC 8200 §8.1): bytes of the
   * header in front of UDP.
   */
  private readonly checksumDue = new Int32Array(MAX_BATCH);

  // The run's SA.
  private offset = 0;
  private flags = 0;
  private spi = 0;
  private salt = 0;
  private keyLength = 0;
  private tfc = 0;
  private outerLength = 0;
  private outerSum = 0;
  /** Its outer header, as big-endian words. */
  private readonly outer = new Uint32Array(12);

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
    this.traffic = trafficOf(worker) >>> 3;
    this.transport = new TransportEncapsulate(context.frames, sad, aead);
    this.transportSa = { offset: 0, flags: 0, spi: 0, salt: 0, keyLength: 0, udpLength: 0, udpPorts: 0 };
    this.refusals[TransportRefusal.fragment] = COUNT["drop.fragment"];
    this.refusals[TransportRefusal.address] = COUNT["drop.address"];
    this.limits = new HardLimits(sad, clock);
  }

  readonly push = (): void => {
    let waiting = this.input.readable;
    while (waiting > 0) {
      const count = waiting > MAX_BATCH ? MAX_BATCH : waiting;
      this.pushBatch(count);
      waiting -= count;
    }
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private pushBatch(count: number): void {
    const { input, output, taken, batch, checksumDue } = this;
    const sa = this.frames.sa;
    for (let i = 0; i < count; i++) taken[i] = input.receive();
    this.aead.begin(count);
    let kept = 0;
    for (let i = 0; i < count; ) {
      const first = sa[taken[i]];
      let end = i + 1;
      while (end < count && sa[taken[end]] === first) end++;
      kept = this.pushRun(first, i, end, kept);
      i = end;
    }
    // Packets that were dropped have left jobs of the batch unset, at its end.
    this.aead.run(kept);
    let due = 0;
    for (let i = 0; i < kept; i++) {
      const frame = batch[i];
      if (checksumDue[i] !== 0) {
        this.udpChecksum(frame, checksumDue[i]);
        due++;
      }
      output.transmit(frame);
    }
    if (due > 0) checksumDue.fill(0);
  }

  /**
   * Sets packets `from` to `end` - 1 of those taken up for encryption, from number `kept` of the batch on.
   * @returns how many the batch has then
   */
  private pushRun(sa: number, from: number, end: number, kept: number): number {
    const { taken, batch } = this;
    const reason = this.openSa(sa);
    const isTransport = (this.flags & TRANSPORT) !== 0;
    let ready = kept;
    for (let i = from; i < end; i++) {
      const frame = taken[i];
      if (reason !== 0) this.drop(frame, reason);
      else if (!this.hasRoom(frame)) this.drop(frame, COUNT["drop.no_room"]);
      else if (isTransport && !this.admitTransport(frame)) continue;
      else if ((this.flags & VOLUME) !== 0 && !this.limits.take(this.frames.length[frame]))
        this.drop(frame, COUNT["drop.sa_expired"]);
      else batch[ready++] = frame;
    }
    if (ready === kept) return kept;

    const slot = this.offset >>> 2;
    const extended = this.flags & EXTENDED;
    let low = reserve(this.atomics, slot, ready - kept);
    let count = kept;
    let bytes = 0;
    for (let i = kept; i < ready; i++) {
      const frame = batch[i];
      const high = highHalf(this.atomics, slot, low);
      if (extended === 0 && (high !== 0 || low === 0)) this.drop(frame, COUNT["drop.sequence_exhausted"]);
      else {
        bytes += isTransport
          ? this.transportPacket(count, frame, high, low)
          : this.packet(count, frame, high, low);
        batch[count++] = frame;
      }
      low = (low + 1) >>> 0;
    }
    const packets = count - kept;
    if (packets > 0) {
      const lane = (this.offset >>> 3) + this.traffic;
      this.totals[lane] += packets;
      this.totals[lane + 1] += bytes;
      this.words[slot + LAST_USE] = this.clock.seconds;
      this.counters[COUNT_PACKETS] += packets;
      this.counters[COUNT_BYTES] += bytes;
    }
    return count;
  }

  /** Reads what a run needs of its SA. @returns 0, or the counter of the reason why the SA cannot be used */
  private openSa(sa: number): number {
    const words = this.words;
    const offset = this.sad.offset(sa);
    const slot = offset >>> 2;
    // An SA that is deleted between the policy's decision and here, in the middle of a breath, carries these packets still:
    // its slot keeps its keys until this worker has passed the epoch. A rekey would lose them otherwise.
    const state = words[slot + STATE];
    if (state !== ACTIVE && state !== DYING) return COUNT["drop.no_sa"];
    const flags = words[slot + FLAGS] | 0;
    if ((flags & EXPIRED) !== 0) return COUNT["drop.sa_expired"];
    if ((flags & LIMITED) !== 0 && !this.limits.open(offset)) return COUNT["drop.sa_expired"];
    this.offset = offset;
    this.flags = flags;
    this.spi = words[slot + SPI] | 0;
    this.salt = words[slot + SALT] | 0;
    this.keyLength = words[slot + KEY_LENGTH] | 0;
    this.tfc = words[slot + TFC] | 0;
    const view = this.sad.view;
    const outer = this.outer;
    // The end points may move while this reads them: the sequence lock says so, and it reads again.
    let version = 0;
    do {
      version = Atomics.load(this.atomics, slot + VERSION);
      const length = words[slot + OUTER_LENGTH] | 0;
      this.outerLength = length;
      this.outerSum = words[slot + OUTER_SUM] | 0;
      for (let i = 0; i < length; i += 4) outer[i >>> 2] = view.getUint32(offset + OUTER + i);
    } while ((version & 1) !== 0 || version !== Atomics.load(this.atomics, slot + VERSION));
    return 0;
  }

  private hasRoom(frame: number): boolean {
    const frames = this.frames;
    const offset = frames.offset[frame];
    return (
      offset - (frame << SHIFT) >= this.outerLength + (ESP + IV + ETHERNET_HEADER) &&
      ((frame + 1) << SHIFT) - offset - frames.length[frame] >= TRAILER + ICV
    );
  }

  /**
   * Frames one packet and sets it up for encryption as number `i` of the batch.
   * @returns bytes of the inner packet
   */
  private packet(i: number, frame: number, high: number, low: number): number {
    const view = this.view;
    const frames = this.frames;
    const { flags, spi } = this;
    const inner = frames.offset[frame];
    const innerLength = frames.length[frame];
    const first = view.getInt32(inner);
    const isIpv4 = first >>> 28 === 4;
    let length = innerLength;
    if (this.tfc !== 0) length = this.padTraffic(frame, length, this.tfc >>> 0);

    // Trailer: the text is a multiple of 4 bytes long (RFC 4303 §2.4), padding counts 1, 2, 3. What of the three is too
    // much is written over by what follows.
    const pad = (2 - length) & 3;
    const tail = inner + length;
    view.setInt32(tail, 0x01020300);
    view.setInt16(tail + pad, (pad << 8) | (isIpv4 ? NEXT_HEADER_IPV4 : NEXT_HEADER_IPV6));
    const text = length + pad + 2;

    // Header: the IV is the sequence number, which is unique for the key (RFC 4106 §3.1).
    const esp = inner - (ESP + IV);
    view.setInt32(esp, spi);
    view.setInt32(esp + 4, low);
    view.setInt32(esp + 8, high);
    view.setInt32(esp + 12, low);
    this.aead.set(
      i,
      this.offset,
      this.keyLength,
      this.salt,
      high,
      low,
      spi,
      flags & EXTENDED,
      high,
      low,
      inner,
      text,
    );

    const innerTos = isIpv4 ? (first >>> 16) & 0xff : (first >>> 20) & 0xff;
    const tos =
      ((flags & COPY_DSCP) !== 0 ? innerTos & 0xfc : 0) | ((flags & COPY_ECN) !== 0 ? innerTos & 3 : 0);
    // IPv6 packets must not be fragmented on the way, so the outer header says so for them (RFC 4301 §8.1).
    let df = 0;
    if ((flags & COPY_DF) !== 0) df = isIpv4 ? view.getUint16(inner + 6) & DF : DF;
    const { outerLength } = this;
    const start = esp - outerLength;
    const total = outerLength + (ESP + IV + ICV) + text;
    frames.offset[frame] = start;
    frames.length[frame] = total;
    // 20 or 28 bytes are IPv4, 40 or 48 IPv6, without and with UDP.
    if (outerLength < IPV6_HEADER) this.outerIpv4(start, total, tos, df, low);
    else if (this.outerIpv6(start, total, tos)) this.checksumDue[i] = IPV6_HEADER;
    return innerLength;
  }

  /** @returns whether the packet can be protected in transport mode; else it has ended here */
  private admitTransport(frame: number): boolean {
    const refusal = this.transport.refuse(frame, this.offset);
    if (refusal === 0) return true;
    this.drop(frame, this.refusals[refusal]);
    return false;
  }

  /** `packet` in transport mode. */
  private transportPacket(i: number, frame: number, high: number, low: number): number {
    const { transport, transportSa: sa } = this;
    sa.offset = this.offset;
    sa.flags = this.flags;
    sa.spi = this.spi;
    sa.salt = this.salt;
    sa.keyLength = this.keyLength;
    sa.udpLength = this.outerLength;
    sa.udpPorts = this.outer[0];
    const length = transport.packet(i, frame, high, low, sa);
    const isIpv4 = this.view.getUint8(this.frames.offset[frame]) >>> 4 === 4;
    if (sa.udpLength !== 0 && !isIpv4) this.checksumDue[i] = transport.headerLength;
    return length;
  }

  private outerIpv4(start: number, total: number, tos: number, df: number, low: number): void {
    const view = this.view;
    const outer = this.outer;
    // With DF set the identification means nothing (RFC 6864 §4.1); without, it should not repeat soon.
    const id = df === 0 ? low & 0xffff : 0;
    view.setInt32(start, outer[0] | (tos << 16) | total);
    view.setInt32(start + 4, (id << 16) | df);
    view.setInt32(start + 8, outer[2] | checksumOf(this.outerSum + tos + total + id + df));
    view.setInt32(start + 12, outer[3]);
    view.setInt32(start + 16, outer[4]);
    if (this.outerLength === IPV4_HEADER) return;
    view.setInt32(start + 20, outer[5]);
    // UDP over IPv4 goes without a checksum (RFC 3948 §2.2).
    view.setInt32(start + 24, (total - IPV4_HEADER) << 16);
  }

  /** @returns whether a UDP checksum is due */
  private outerIpv6(start: number, total: number, tos: number): boolean {
    const view = this.view;
    const outer = this.outer;
    view.setInt32(start, outer[0] | (tos << 20));
    view.setInt32(start + 4, outer[1] | ((total - IPV6_HEADER) << 16));
    for (let i = 8; i < IPV6_HEADER; i += 4) view.setInt32(start + i, outer[i >>> 2]);
    if (this.outerLength === IPV6_HEADER) return false;
    view.setInt32(start + 40, outer[10]);
    view.setInt32(start + 44, (total - IPV6_HEADER) << 16);
    return true;
  }

  /** Traffic flow confidentiality (RFC 4303 §2.7): zeros behind the packet, up to `size` bytes if way and frame have room. */
  private padTraffic(frame: number, length: number, size: number): number {
    const room = this.frames.tailroom(frame) - (TRAILER + ICV);
    const limit = this.frames.limit[frame];
    const wanted = (size > limit ? limit : size) - length;
    const zeros = wanted > room ? room : wanted;
    if (zeros <= 0) return length;
    const tail = this.frames.offset[frame] + length;
    for (let i = 0; i < zeros; i++) this.view.setUint8(tail + i, 0);
    return length + zeros;
  }

  /** UDP over IPv6 must carry a checksum; over IPv4 it is 0 (RFC 3948 §2.2). */
  private udpChecksum(frame: number, header: number): void {
    const view = this.view;
    const start = this.frames.offset[frame];
    const udp = start + header;
    const length = this.frames.length[frame] - header;
    view.setUint16(udp + 6, 0);
    const pseudo = sum16(view, start + 8, 32, length + 17);
    const checksum = fold(sum16(view, udp, length, pseudo));
    view.setUint16(udp + 6, checksum === 0 ? 0xffff : checksum);
  }
}
