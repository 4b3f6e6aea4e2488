// ESP encapsulation (RFC 4303 §3.3, RFC 4301 §5.1): IP packets come in with the SA that shall protect them, ESP packets with
// their outer header go out. One app serves all SAs: everything about an SA is in
// its slot of the SAD. Packets grow in place, outer headers to the front, trailer and ICV to the back.
//
//   outer IP | (UDP) | SPI sequence | IV | inner IP packet … | padding 1 2 3 … | pad length, next header | ICV
//
// That is tunnel mode with AES-GCM; what differs in transport mode is in transport-encapsulate.ts, with other ciphers in
// other-ciphers.ts.
//
// A batch is worked off in runs of packets with the same SA: an SA's fields are read, and its sequence numbers reserved,
// once a run. What the packets of a run have in common stands in this object's fields meanwhile.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import { FRAME_SIZE, type Frames, NONE } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { offHeapInt32 } from "../memory/off-heap.js";
import { swap16, swap32 } from "../net/byte-order.js";
import { fold, sum16 } from "../net/checksum.js";
import { headerChecksum } from "../net/ipv4.js";
import type { AeadBatch, Batches } from "./aead.js";
import { AEAD_HEADER, AEAD_ICV_BYTES, AEAD_TRAILER } from "./esp-format.js";
import { HardLimits } from "./hard-limits.js";
import { OTHER_CIPHERS, OtherEncryption } from "./other-ciphers.js";
import { SaLock } from "./sa-lock.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot, trafficOf } from "./sad-layout.js";
import { atCeiling, reserveSequence, sequenceHigh } from "./sequence.js";
import { TransportEncapsulate, TransportRefusal, type TransportSa } from "./transport-encapsulate.js";

export const encapsulateCounters = {
  packets: "packets encapsulated",
  bytes: "bytes of inner packets encapsulated",
  "drop.no_sa": "the SA was deleted while the packet waited",
  "drop.sa_expired": "the SA has passed its hard limit",
  "drop.sequence_exhausted": "all 2^32 sequence numbers of an SA without ESN are used up (RFC 4303 §3.3.3)",
  "drop.sequence_ceiling":
    "the supervisor has not set aside further sequence numbers for the static SA: it is not running, or cannot write to its disk",
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
const FRAME = FRAME_SIZE;
const NOWHERE = NONE;
const reserve = reserveSequence;
const highHalf = sequenceHigh;
const isAtCeiling = atCeiling;
const checksumOf = headerChecksum;
const swapHalf = swap16;
const swapWord = swap32;
const sum = sum16;
const foldSum = fold;
const ACTIVE = SaState.active;
const DYING = SaState.dying;
const { extendedSequenceNumbers: EXTENDED, expired: EXPIRED, transport: TRANSPORT } = SaFlag;
const OTHER = OTHER_CIPHERS;
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
const OUTER = at.outer >>> 2;
const OUTER_SUM = at.outerSum >>> 2;
const TFC = at.tfc >>> 2;
const LAST_USE = at.lastUse >>> 2;

// Of AES-GCM.
const HEADER = AEAD_HEADER;
const TRAILER = AEAD_TRAILER;
const ICV = AEAD_ICV_BYTES;

/** Bytes that Ethernet wants in front of the outer header, and two that are written with them. */
const ETHERNET_HEADER = 16;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** As it lies in memory, in the second half of the header's second word. */
const DF = 0x0040;
/** 1 2 3, as they lie in memory, read by this machine. */
const PADDING = 0x00030201;
const UDP = 17;

/** The worker's clock, read once a breath: CLOCK_MONOTONIC in whole seconds. */
export interface Clock {
  seconds: number;
}

/** Where ESP packets go: the way to the far end of an SA. */
export interface Exit {
  /** The packets that follow belong to the SA in slot `sa`. */
  open(sa: number): void;
  /**
   * Takes the packet of `length` bytes whose outer IP header begins at `start`. It need not be encrypted yet: it leaves
   * when the batch is. Owns the frame.
   */
  send(frame: number, start: number, length: number, isIpv4: boolean): void;
}

export class Encapsulate implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly sad: Sad;
  private readonly words: Uint32Array;
  private readonly atomics: Int32Array;
  private readonly totals: Float64Array;
  private readonly gcm: AeadBatch;
  private readonly others: OtherEncryption;
  private readonly exit: Exit;
  private readonly clock: Clock;
  /** Where in a slot this worker counts, in 64-bit numbers. */
  private readonly traffic: number;
  private readonly limits: HardLimits;
  private readonly lock: SaLock;
  /** Packets that were taken, where among them the SA changes, and to which. */
  private readonly taken = new Int32Array(MAX_BATCH);
  private readonly runStart = new Int32Array(MAX_BATCH + 1);
  private readonly runSa = new Int32Array(MAX_BATCH);
  private readonly runLimit = new Int32Array(MAX_BATCH);
  private count = 0;
  private runs = 0;
  private last = NOWHERE;
  private readonly transport: TransportEncapsulate;
  private readonly transportSa: TransportSa;
  /** By TransportRefusal: the counter of packets that transport mode does not protect. */
  private readonly refusals = new Int32Array(3);
  /**
   * Packets of the batch whose UDP checksum is due once they are encrypted (UDP over IPv6, RFC 8200 §8.1): where the IP
   * header and the UDP header begin.
   */
  private readonly dueIp = new Int32Array(MAX_BATCH);
  private readonly dueUdp = new Int32Array(MAX_BATCH);
  private dueCount = 0;

  // The run's SA.
  private offset = 0;
  private flags = 0;
  private spi = 0;
  /** As it lies in memory. */
  private spiWord = 0;
  /** Bytes that its packets need in front of them, and behind them at most. */
  private frontLength = 0;
  private tailLength = TRAILER + ICV;
  private tfc = 0;
  private limit = 0;
  private outerLength = 0;
  private outerSum = 0;
  /** What of the inner TOS byte and of its DF flag the outer header takes over, as masks. */
  private tosMask = 0;
  private dfMask = 0;
  /** Its outer header as it lies in memory. */
  private readonly outer = offHeapInt32(12);

  constructor(
    context: AppContext,
    parts: { sad: Sad; batches: Batches; clock: Clock; worker: number; exit: Exit },
  ) {
    const { sad, batches, clock, worker, exit } = parts;
    this.counters = context.counters("encapsulate", encapsulateCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.lanes = context.frames.lanes;
    this.sad = sad;
    this.words = sad.words;
    this.atomics = sad.atomics;
    this.totals = new Float64Array(sad.words.buffer as ArrayBuffer);
    this.gcm = batches.gcm;
    this.others = new OtherEncryption(context.frames.view, sad, batches);
    this.exit = exit;
    this.clock = clock;
    this.traffic = trafficOf(worker) >>> 3;
    this.transport = new TransportEncapsulate(context.frames, sad, batches.gcm, this.others);
    this.transportSa = { isGcm: true, spi: 0, udpLength: 0, udpPorts: 0 };
    this.refusals[TransportRefusal.fragment] = COUNT["drop.fragment"];
    this.refusals[TransportRefusal.address] = COUNT["drop.address"];
    this.limits = new HardLimits(sad, clock);
    this.lock = new SaLock(sad, worker);
  }

  /** Works off what was taken in this breath. */
  readonly push = (): void => {
    this.flush();
  };

  /**
   * Takes an IP packet for the SA in slot `sa`: where it lies is in `frames`. Owns the frame.
   * @param limit bytes of the longest inner packet that the way to the SA's far end carries
   */
  take(frame: number, sa: number, limit: number): void {
    if (this.count === MAX_BATCH) this.flush();
    const { count } = this;
    this.taken[count] = frame;
    if (sa !== this.last || count === 0) {
      this.last = sa;
      this.runSa[this.runs] = sa;
      this.runLimit[this.runs] = limit;
      this.runStart[this.runs] = count;
      this.runs++;
    }
    this.count = count + 1;
  }

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private readonly flush = (): void => {
    const { runs, runSa, runStart } = this;
    runStart[runs] = this.count;
    this.runs = 0;
    this.count = 0;
    let set = 0;
    for (let run = 0; run < runs; run++) {
      this.limit = this.runLimit[run];
      set = this.pushRun(runSa[run], runStart[run], runStart[run + 1], set);
    }
    if (set > 0) this.gcm.run(set);
    this.others.run();
    if (this.dueCount > 0) this.udpChecksums();
  };

  /**
   * Sets packets `from` to `end` - 1 of those taken up for encryption, with AES-GCM from number `set` of the batch on.
   * @returns how many the batch has then, those with other ciphers not counted
   */
  private pushRun(sa: number, from: number, end: number, set: number): number {
    const { taken } = this;
    const reason = this.openSa(sa);
    let ready = end;
    if (reason !== 0) ready = this.dropRun(from, end, reason);
    else if ((this.flags & (TRANSPORT | VOLUME)) !== 0) ready = this.admit(from, end);
    const isLocked = reason === 0 && (this.flags & VOLUME) !== 0;
    const slot = this.offset >>> 2;
    if (ready === from) {
      if (isLocked) this.lock.release(slot);
      return set;
    }

    this.exit.open(sa);
    const isUsual = (this.flags & (TRANSPORT | OTHER)) === 0;
    // V8 compiles the call with these two as constants into this loop, and no branch that depends on them.
    const isPlain = isUsual && this.tfc === 0 && this.outerLength === IPV4_HEADER;
    const extended = this.flags & EXTENDED;
    let low = reserve(this.atomics, slot, ready - from) | 0;
    let high = highHalf(this.atomics, slot, low >>> 0);
    // The same as they lie in memory.
    let lowWord = swapWord(low);
    let highWord = swapWord(high);
    let count = set;
    let bytes = 0;
    for (let i = from; i < ready; i = (i + 1) | 0) {
      const frame = taken[i];
      // The high half changes where the low one begins anew, and has another home for each half of it.
      if ((low & 0x7fffffff) === 0) {
        high = highHalf(this.atomics, slot, low >>> 0);
        highWord = swapWord(high);
      }
      // A number that is not used is left out: a hole in the sequence is harmless.
      if (!this.hasRoom(frame) && !this.makeRoom(frame)) this.drop(frame, COUNT["drop.no_room"]);
      else if (extended === 0 && (high !== 0 || low === 0))
        this.drop(frame, COUNT["drop.sequence_exhausted"]);
      else {
        const length = isPlain
          ? this.packet(count, frame, high, highWord, lowWord, 0, IPV4_HEADER)
          : isUsual
            ? this.packet(count, frame, high, highWord, lowWord, this.tfc, this.outerLength)
            : this.unusualPacket(count, frame, high, low);
        count = (count + 1) | 0;
        bytes = (bytes + length) | 0;
      }
      low = (low + 1) | 0;
      lowWord = (low & 0xff) === 0 ? swapWord(low) : (lowWord + 0x0100_0000) | 0;
    }
    const packets = count - set;
    if (packets > 0) {
      const lane = (this.offset >>> 3) + this.traffic;
      this.totals[lane] += packets;
      this.totals[lane + 1] += bytes;
      this.words[slot + LAST_USE] = this.clock.seconds;
      this.counters[COUNT_PACKETS] += packets;
      this.counters[COUNT_BYTES] += bytes;
    }
    if (isLocked) this.lock.release(slot);
    return (this.flags & OTHER) === 0 ? count : set;
  }

  private dropRun(from: number, end: number, reason: number): number {
    for (let i = from; i < end; i++) this.drop(this.taken[i], reason);
    return from;
  }

  private hasRoom(frame: number): boolean {
    const { offset, length } = this.frames;
    const inner = offset[frame];
    const front = inner & (FRAME - 1);
    return (
      front >= this.frontLength &&
      ((FRAME - front - length[frame]) | 0) >= this.tailLength &&
      (inner & 3) === 0
    );
  }

  /** Moves a packet that does not begin at a multiple of four. @returns whether it has room then */
  private makeRoom(frame: number): boolean {
    this.frames.align(frame, 0);
    return this.hasRoom(frame);
  }

  /** Drops what of a run in transport mode, or with limits, is not to be protected. @returns the new end of the run */
  private admit(from: number, end: number): number {
    const { taken } = this;
    let ready = from;
    for (let i = from; i < end; i++) if (this.admitSpecial(taken[i])) taken[ready++] = taken[i];
    return ready;
  }

  /** @returns whether the packet passes what only SAs in transport mode and with limits ask; else it has ended here */
  private admitSpecial(frame: number): boolean {
    if ((this.flags & TRANSPORT) !== 0 && !this.admitTransport(frame)) return false;
    if ((this.flags & VOLUME) === 0 || this.limits.take(this.frames.length[frame])) return true;
    this.drop(frame, COUNT["drop.sa_expired"]);
    return false;
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
    if ((flags & LIMITED) !== 0) {
      const reason = this.openLimits(offset, flags);
      if (reason !== 0) return reason;
    }
    this.offset = offset;
    this.flags = flags;
    this.spi = words[slot + SPI] | 0;
    this.spiWord = swapWord(this.spi);
    this.tfc = words[slot + TFC] | 0;
    this.tosMask = ((flags & COPY_DSCP) !== 0 ? 0xfc : 0) | ((flags & COPY_ECN) !== 0 ? 3 : 0);
    this.dfMask = (flags & COPY_DF) !== 0 ? DF : 0;
    const outer = this.outer;
    // The end points may move while this reads them: the sequence lock says so, and it reads again.
    let version = 0;
    do {
      version = Atomics.load(this.atomics, slot + VERSION);
      const length = words[slot + OUTER_LENGTH] | 0;
      this.outerLength = length;
      this.outerSum = swapHalf(~checksumOf(words[slot + OUTER_SUM] | 0) & 0xffff);
      for (let i = 0; i < length >>> 2; i++) outer[i] = words[slot + OUTER + i];
    } while ((version & 1) !== 0 || version !== Atomics.load(this.atomics, slot + VERSION));
    if ((flags & OTHER) === 0) this.openGcm();
    else this.openOther();
    return 0;
  }

  private openGcm(): void {
    const { words, flags, offset } = this;
    const slot = offset >>> 2;
    const keyLength = words[slot + KEY_LENGTH] | 0;
    const salt = words[slot + SALT] | 0;
    this.gcm.open(offset, keyLength, salt, this.spi, flags & EXTENDED);
    this.frontLength = (this.outerLength + (HEADER + ETHERNET_HEADER)) | 0;
    this.tailLength = TRAILER + ICV;
  }

  private openOther(): void {
    const { others } = this;
    others.open(this.offset);
    this.frontLength = (this.outerLength + others.headerLength + ETHERNET_HEADER) | 0;
    this.tailLength = others.tailLength;
  }

  /**
   * Looks whether the SA may carry something still. One with a limit of bytes or packets is locked from here on, if it may,
   * until what the run carries is counted: two workers together would carry too much.
   * @returns 0, or the counter of the reason why the SA cannot be used
   */
  private openLimits(offset: number, flags: number): number {
    if (isAtCeiling(this.atomics, offset >>> 2)) return COUNT["drop.sequence_ceiling"];
    const expired = COUNT["drop.sa_expired"];
    if ((flags & VOLUME) === 0) return this.limits.open(offset) ? 0 : expired;
    this.lock.take(offset >>> 2);
    if (this.limits.open(offset)) return 0;
    this.lock.release(offset >>> 2);
    return expired;
  }

  /**
   * Frames one packet, sets it up for encryption as number `i` of the batch, and sends it.
   * @returns bytes of the inner packet
   */
  private packet(
    i: number,
    frame: number,
    high: number,
    highWord: number,
    lowWord: number,
    tfc: number,
    outerLength: number,
  ): number {
    const { view, frames } = this;
    const { at0, at1, at2, at3, at4, at5 } = this.lanes;
    const inner = frames.offset[frame];
    const innerLength = frames.length[frame];
    // Where the ESP header goes, of which the IV is the sequence number, which is unique for the key (RFC 4106 §3.1).
    const word = ((inner >> 2) - 4) | 0;
    at0[word] = this.spiWord;
    at1[word] = lowWord;
    at2[word] = highWord;
    at3[word] = lowWord;
    const first = at4[word];
    const second = at5[word];
    const isIpv4 = (first & 0xf0) === 0x40;
    let length = innerLength;
    if (tfc !== 0) length = this.padTraffic(frame, length, tfc >>> 0);

    // Trailer: the text is a multiple of 4 bytes long (RFC 4303 §2.4), padding counts 1, 2, 3. What of the three is too
    // much is written over by what follows.
    const pad = (2 - length) & 3;
    const tail = (inner + length) | 0;
    view.setInt32(tail, PADDING, true);
    view.setInt16(tail + pad, pad | (isIpv4 ? NEXT_HEADER_IPV4 << 8 : NEXT_HEADER_IPV6 << 8), true);
    const text = (length + pad + 2) | 0;

    this.gcm.encrypt(i, high, lowWord, inner, text);
    this.sendTunnel(frame, word << 2, first, second, (HEADER + ICV + text) | 0, lowWord, outerLength);
    return innerLength;
  }

  /** `packet` in transport mode, or with another cipher than AES-GCM. */
  private unusualPacket(i: number, frame: number, high: number, low: number): number {
    if ((this.flags & TRANSPORT) !== 0) return this.transportPacket(i, frame, high, low);
    const { frames, others } = this;
    const { at0, at1 } = this.lanes;
    const inner = frames.offset[frame];
    const innerLength = frames.length[frame];
    const first = at0[inner >> 2];
    const second = at1[inner >> 2];
    const length = this.tfc === 0 ? innerLength : this.padTraffic(frame, innerLength, this.tfc >>> 0);
    const nextHeader = (first & 0xf0) === 0x40 ? NEXT_HEADER_IPV4 : NEXT_HEADER_IPV6;
    const text = others.frame(inner, length, nextHeader, high, low);
    const { headerLength, icvLength } = others;
    const espLength = headerLength + text + icvLength;
    const esp = inner - headerLength;
    this.sendTunnel(frame, esp, first, second, espLength, swapWord(low), this.outerLength);
    return innerLength;
  }

  /**
   * Puts the outer header in front of `length` bytes of ESP that begin at `esp`, and sends the packet.
   * @param first, second the inner packet's first words, as they lie in memory, as does `low`, half of the sequence number
   */
  private sendTunnel(
    frame: number,
    esp: number,
    first: number,
    second: number,
    length: number,
    low: number,
    outerLength: number,
  ): void {
    const isIpv4 = (first & 0xf0) === 0x40;
    const tos = (isIpv4 ? first >>> 8 : (first << 4) | ((first >>> 12) & 15)) & this.tosMask;
    // IPv6 packets must not be fragmented on the way, so the outer header says so for them (RFC 4301 §8.1).
    const df = (isIpv4 ? second >>> 16 : DF) & this.dfMask;
    const start = (esp - outerLength) | 0;
    const total = (outerLength + length) | 0;
    // 20 or 28 bytes are IPv4, 40 or 48 IPv6, without and with UDP.
    const isOuterIpv4 = outerLength < IPV6_HEADER;
    // With DF set the identification means nothing (RFC 6864 §4.1); without, it should not repeat soon.
    if (isOuterIpv4) this.outerIpv4(start, total, tos, df, df === 0 ? low >>> 16 : 0, outerLength);
    else this.outerIpv6(start, total, tos);
    this.exit.send(frame, start, total, isOuterIpv4);
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
    const { transport, transportSa: sa, frames } = this;
    sa.isGcm = (this.flags & OTHER) === 0;
    sa.spi = this.spi;
    sa.udpLength = this.outerLength;
    sa.udpPorts = this.outer[0];
    const length = transport.packet(i, frame, high, low, sa);
    const start = frames.offset[frame];
    const isIpv4 = this.view.getUint8(start) >>> 4 === 4;
    if (sa.udpLength !== 0 && !isIpv4) this.oweChecksum(start, start + transport.headerLength);
    this.exit.send(frame, start, frames.length[frame], isIpv4);
    return length;
  }

  /** @param df, id as they lie in memory */
  private outerIpv4(
    start: number,
    total: number,
    tos: number,
    df: number,
    id: number,
    outerLength: number,
  ): void {
    const { outer } = this;
    const { at0, at1, at2, at3, at4, at5, at6 } = this.lanes;
    const word = start >> 2;
    const length = swapHalf(total);
    at0[word] = outer[0] | (tos << 8) | (length << 16);
    at1[word] = id | (df << 16);
    at2[word] = outer[2] | (checksumOf((this.outerSum + (tos << 8) + length + id + df) | 0) << 16);
    at3[word] = outer[3];
    at4[word] = outer[4];
    if (outerLength === IPV4_HEADER) return;
    at5[word] = outer[5];
    // UDP over IPv4 goes without a checksum (RFC 3948 §2.2).
    at6[word] = swapHalf(total - IPV4_HEADER);
  }

  private outerIpv6(start: number, total: number, tos: number): void {
    const { outer } = this;
    const packets = this.lanes.at0;
    const word = start >> 2;
    packets[word] = outer[0] | (tos >>> 4) | ((tos & 15) << 12);
    packets[word + 1] = outer[1] | swapHalf(total - IPV6_HEADER);
    for (let i = 2; i < IPV6_HEADER >>> 2; i++) packets[word + i] = outer[i];
    if (this.outerLength === IPV6_HEADER) return;
    packets[word + 10] = outer[10];
    packets[word + 11] = swapHalf(total - IPV6_HEADER);
    this.oweChecksum(start, start + IPV6_HEADER);
  }

  /** Traffic flow confidentiality (RFC 4303 §2.7): zeros behind the packet, up to `size` bytes if way and frame have room. */
  private padTraffic(frame: number, length: number, size: number): number {
    const room = this.frames.tailroom(frame) - this.tailLength;
    const { limit } = this;
    const wanted = (size > limit ? limit : size) - length;
    const zeros = wanted > room ? room : wanted;
    if (zeros <= 0) return length;
    const tail = this.frames.offset[frame] + length;
    for (let i = 0; i < zeros; i++) this.view.setUint8(tail + i, 0);
    return length + zeros;
  }

  /** Notes a packet whose UDP checksum is to be worked out when the batch is encrypted. */
  private oweChecksum(ip: number, udp: number): void {
    this.dueIp[this.dueCount] = ip;
    this.dueUdp[this.dueCount] = udp;
    this.dueCount++;
  }

  /** UDP over IPv6 must carry a checksum; over IPv4 it is 0 (RFC 3948 §2.2). */
  private udpChecksums(): void {
    const { view, dueIp, dueUdp } = this;
    for (let i = 0; i < this.dueCount; i++) {
      const udp = dueUdp[i];
      const length = view.getUint16(udp + 4);
      view.setUint16(udp + 6, 0);
      const pseudo = sum(view, dueIp[i] + 8, 32, length + UDP);
      const checksum = foldSum(sum(view, udp, length, pseudo));
      view.setUint16(udp + 6, checksum === 0 ? 0xffff : checksum);
    }
    this.dueCount = 0;
  }
}
