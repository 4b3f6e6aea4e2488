// ESP encapsulation (RFC 4303 §3.3, RFC 4301 §5.1): IP packets come in with the SA that shall protect them, ESP packets with
// their outer header go out. One app serves all SAs: everything about an SA is in
// its slot of the SAD. Packets grow in place, outer headers to the front, trailer and ICV to the back.
//
//   outer IP | (UDP) | SPI sequence | IV | inner IP packet … | padding 1 2 3 … | pad length, next header | ICV
//
// That is tunnel mode with AES-GCM; what differs in transport mode is in transport-encapsulate.ts, with other ciphers in
// other-ciphers.ts; outer headers other than IPv4 without UDP are in tunnel-header.ts.
//
// Packets are framed one by one as they come, and encrypted when there are as many as the crypto library takes at a time, or
// when no more come in this breath. Those of one SA that follow each other are a run: the SA's fields are read, and what it has
// carried is counted, once a run, and numbers are reserved for as many packets as the run before had; those that are not used are
// given back at the run's end. What the packets of a run have in common stands in this object's fields meanwhile.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import { FRAME_SIZE, type Frames, NONE } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { offHeapInt32 } from "../memory/off-heap.js";
import { swap16, swap32 } from "../net/byte-order.js";
import { headerChecksum } from "../net/ipv4.js";
import type { AeadBatch, Batches } from "./aead.js";
import { AEAD_HEADER, AEAD_ICV_BYTES, AEAD_TRAILER } from "./esp-format.js";
import { HardLimits } from "./hard-limits.js";
import { OTHER_CIPHERS, OtherEncryption } from "./other-ciphers.js";
import { SaLock } from "./sa-lock.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot, trafficOf } from "./sad-layout.js";
import { atCeiling, giveBackSequence, reserveSequence } from "./sequence.js";
import { TransportEncapsulate, TransportRefusal, type TransportSa } from "./transport-encapsulate.js";
import { TunnelHeader } from "./tunnel-header.js";

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
const giveBack = giveBackSequence;
const isAtCeiling = atCeiling;
const checksumOf = headerChecksum;
const swapHalf = swap16;
const swapWord = swap32;
const ACTIVE = SaState.active;
const DYING = SaState.dying;
const { extendedSequenceNumbers: EXTENDED, expired: EXPIRED, transport: TRANSPORT } = SaFlag;
const OTHER = OTHER_CIPHERS;
const VOLUME = SaFlag.volumeLimit;
const LIMITED = SaFlag.timeLimit | VOLUME;

const at = saSlot.at;
const STATE = at.state >>> 2;
const FLAGS = at.flags >>> 2;
const SPI = at.spi >>> 2;
const KEY_LENGTH = at.keyLength >>> 2;
const SALT = at.salt >>> 2;
const TFC = at.tfc >>> 2;
const LAST_USE = at.lastUse >>> 2;

// Of AES-GCM.
const HEADER = AEAD_HEADER;
const TRAILER = AEAD_TRAILER;
const ICV = AEAD_ICV_BYTES;

// What changes with each packet stands in an array, which V8 does not look at twice. Numbers and jobs are set aside in blocks:
// how many packets are left in this one, and how many it had; which job and which sequence number (its low half, as it lies in
// memory) come behind its last one; the high half, and the same as it lies in memory.
const LEFT = 0;
const BLOCK = 1;
const END_JOB = 2;
const END_LOW = 3;
const HIGH = 4;
const HIGH_WORD = 5;
/** Jobs of the batch that the packets of blocks before have: with AES-GCM, and with other ciphers. */
const JOBS = 6;
const OTHER_JOBS = 7;
/** Low half of the next block's first number, and of the one behind those that are reserved. */
const NEXT = 8;
const RESERVED = 9;
/** What the run has carried: packets of its blocks before, and bytes. */
const PACKETS = 10;
const BYTES = 11;
/** Bytes that `takeNext` needs in front of a packet. */
const FRONT = 12;
/** Of the SA: SPI as it lies in memory. Of the train: first word of the outer header, the sum of the header, mask for the DF flag. */
const SPI_WORD = 13;
const FIRST = 14;
const SUM = 15;
const DF_MASK = 16;
/** For how many packets numbers are reserved next: as many as the run before had, or as this one has had. */
const EXPECTED = 17;
const STATE_WORDS = 18;
/** Words from where the Ethernet header is written, with two bytes in front of it, to the inner packet, with AES-GCM in IPv4. */
const FRONT_WORDS = 13;

/** Bytes that Ethernet wants in front of the outer header, and two that are written with them. */
const ETHERNET_HEADER = 16;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const IPV4_HEADER = 20;
/** 1 2 3, as they lie in memory, read by this machine. */
const PADDING = 0x00030201;

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
  /** The same for an IPv4 header that begins four words behind `word` (see memory/lanes.ts). */
  sendIpv4(frame: number, word: number, length: number): void;
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
  private readonly header: TunnelHeader;
  private readonly limits: HardLimits;
  private readonly lock: SaLock;
  /** See the constants above. */
  private readonly state = offHeapInt32(STATE_WORDS).fill(1, EXPECTED);
  /** High half of the first number that was reserved last. */
  private readonly firstHigh = offHeapInt32(1);
  private readonly transport: TransportEncapsulate;
  private readonly transportSa: TransportSa;
  /** By TransportRefusal: the counter of packets that transport mode does not protect. */
  private readonly refusals = new Int32Array(3);
  // The run's SA: slot, why its packets are dropped (a counter, or 0), whether it is locked.
  private sa = NOWHERE;
  private reason = 0;
  private isLocked = false;
  private isPlain = false;
  private offset = 0;
  private flags = 0;
  private spi = 0;
  /** Bytes that its packets need in front of them, and behind them at most. */
  private frontLength = 0;
  private tailLength = TRAILER + ICV;
  private tfc = 0;
  private limit = 0;
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
    this.header = new TunnelHeader(context.frames, sad);
    this.limits = new HardLimits(sad, clock);
    this.lock = new SaLock(sad, worker);
  }

  /** Ends the run, and encrypts what was taken in this breath. */
  readonly push = (): void => {
    this.endRun();
    this.flush();
  };

  /**
   * Encrypts what was taken. To be called before frames are allocated in the middle of a breath: the way out may have freed
   * some that are still set up for encryption.
   */
  encrypt(): void {
    this.endBlock();
    this.flush();
  }

  /**
   * Takes an IP packet for the SA in slot `sa`: where it lies is in `frames`. Owns the frame.
   * @param limit bytes of the longest inner packet that the way to the SA's far end carries
   */
  take(frame: number, sa: number, limit: number): void {
    if (sa !== this.sa) this.openRun(sa, limit);
    const { state, frames } = this;
    if (this.reason === 0 && state[LEFT] === 0) this.openBlock();
    if (this.reason !== 0) {
      this.drop(frame, this.reason);
      return;
    }
    if (!this.hasRoom(frame) && !this.makeRoom(frame)) {
      // What `takeNext` needs to know of the packet that was taken last has not been noted.
      this.endBlock();
      this.drop(frame, COUNT["drop.no_room"]);
      return;
    }
    // Behind all other reasons to drop it: what a limit has let through is counted.
    if ((this.flags & (TRANSPORT | VOLUME)) !== 0 && !this.admit(frame)) return;
    const length = frames.length[frame];
    state[BYTES] += length;
    if ((this.flags & (TRANSPORT | OTHER)) !== 0) this.unusualPacket(frame);
    else this.packet(frame, frames.offset[frame], length);
  }

  /**
   * The same for an IPv4 packet of `length` bytes that begins at `ip`, whose SA, version, header length and TOS are those of
   * the packet that was taken last.
   */
  takeNext(frame: number, ip: number, length: number, sa: number, limit: number): void {
    const { state } = this;
    const left = state[LEFT];
    const front = ip & (FRAME - 1);
    if (
      left === 0 ||
      front < state[FRONT] ||
      ((FRAME - front - length) | 0) < TRAILER + ICV ||
      (ip & 3) !== 0
    ) {
      const { frames } = this;
      frames.offset[frame] = ip;
      frames.length[frame] = length;
      this.take(frame, sa, limit);
      return;
    }
    state[BYTES] = (state[BYTES] + length) | 0;
    const word = ((ip >> 2) - FRONT_WORDS) | 0;
    const df = (this.lanes.at14[word] >>> 16) & state[DF_MASK];
    this.seal(left, frame, word, ip, length, NEXT_HEADER_IPV4, df);
  }

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  /** Encrypts what was set up. */
  private flush(): void {
    const { state } = this;
    const jobs = state[JOBS];
    state[JOBS] = 0;
    state[OTHER_JOBS] = 0;
    if (jobs > 0) this.gcm.run(jobs);
    this.others.run();
    this.header.payChecksums();
  }

  /** The packets that follow belong to SA `sa`. */
  private openRun(sa: number, limit: number): void {
    this.endRun();
    const { state } = this;
    this.sa = sa;
    this.limit = limit;
    this.reason = this.openSa(sa);
    if (this.reason !== 0) return;
    this.isLocked = (this.flags & VOLUME) !== 0;
    this.isPlain = (this.flags & (TRANSPORT | OTHER)) === 0 && this.header.length === IPV4_HEADER;
    // `takeNext` knows the plain ones only: of the others none has so much room.
    state[FRONT] = this.isPlain && this.tfc === 0 && !this.isLocked ? this.frontLength : FRAME;
    this.exit.open(sa);
  }

  /** Counts what the run has carried, and gives back the numbers that it has not used. */
  private endRun(): void {
    this.endBlock();
    const { state } = this;
    if (this.sa === NOWHERE) return;
    this.sa = NOWHERE;
    const slot = this.offset >>> 2;
    if (state[RESERVED] !== state[NEXT]) giveBack(this.atomics, slot, state[NEXT], state[RESERVED]);
    state[RESERVED] = state[NEXT];
    const packets = state[PACKETS];
    state[EXPECTED] = packets > 0 ? packets : 1;
    if (packets > 0) {
      const bytes = state[BYTES];
      const lane = (this.offset >>> 3) + this.traffic;
      this.totals[lane] += packets;
      this.totals[lane + 1] += bytes;
      this.words[slot + LAST_USE] = this.clock.seconds;
      this.counters[COUNT_PACKETS] += packets;
      this.counters[COUNT_BYTES] += bytes;
    }
    state[PACKETS] = 0;
    state[BYTES] = 0;
    if (this.isLocked) this.lock.release(slot);
    this.isLocked = false;
  }

  /**
   * Sets aside numbers and jobs for the packets to come: as many as the batch has room for, with one high half, and such
   * that from one to the next only the lowest byte differs. When there are none, `reason` says why.
   */
  private openBlock(): void {
    this.endBlock();
    const { state, flags } = this;
    const lane = (flags & OTHER) === 0 ? JOBS : OTHER_JOBS;
    if (state[lane] === MAX_BATCH) this.flush();
    const jobs = state[lane];
    const slot = this.offset >>> 2;
    if (state[RESERVED] === state[NEXT]) {
      if ((flags & LIMITED) !== 0 && isAtCeiling(this.atomics, slot)) {
        this.reason = COUNT["drop.sequence_ceiling"];
        return;
      }
      const room = MAX_BATCH - jobs;
      const count = state[EXPECTED] < room ? state[EXPECTED] : room;
      state[EXPECTED] = count << 1;
      state[NEXT] = reserve(this.atomics, slot, count, this.firstHigh) | 0;
      state[HIGH] = this.firstHigh[0];
      state[RESERVED] = (state[NEXT] + count) | 0;
    }
    const low = state[NEXT] | 0;
    const high = state[HIGH] >>> 0;
    if ((flags & EXTENDED) === 0 && (high !== 0 || low === 0)) {
      this.reason = COUNT["drop.sequence_exhausted"];
      return;
    }
    const reserved = (state[RESERVED] - low) | 0;
    const room = MAX_BATCH - jobs;
    const alike = 0x100 - (low & 0xff);
    const count = reserved < room ? (reserved < alike ? reserved : alike) : room < alike ? room : alike;
    state[LEFT] = count;
    state[BLOCK] = count;
    state[END_JOB] = (jobs + count) | 0;
    // Beyond the last one's lowest byte nothing is carried: only what is below it is of interest.
    state[END_LOW] = (swapWord(low) + (count << 24)) | 0;
    this.gcm.turn(high);
    state[HIGH_WORD] = swapWord(high);
  }

  /** Notes what was used of numbers and jobs. */
  private endBlock(): void {
    const { state } = this;
    const used = (state[BLOCK] - state[LEFT]) | 0;
    state[(this.flags & OTHER) === 0 ? JOBS : OTHER_JOBS] += used;
    state[NEXT] += used;
    if (used !== 0 && state[NEXT] === 0) state[HIGH]++;
    state[PACKETS] += used;
    state[BLOCK] = 0;
    state[LEFT] = 0;
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

  /** @returns whether the packet passes what only SAs in transport mode and with limits ask; else it has ended here */
  private admit(frame: number): boolean {
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
    this.flags = 0;
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
    this.state[SPI_WORD] = swapWord(this.spi);
    this.tfc = words[slot + TFC] | 0;
    this.header.open(slot, flags);
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
    this.frontLength = (this.header.length + (HEADER + ETHERNET_HEADER)) | 0;
    this.tailLength = TRAILER + ICV;
  }

  private openOther(): void {
    const { others } = this;
    others.open(this.offset);
    this.frontLength = (this.header.length + others.headerLength + ETHERNET_HEADER) | 0;
    this.tailLength = others.tailLength;
  }

  /**
   * Looks whether the SA may carry something still. One with a limit of bytes or packets is locked from here on, if it may,
   * until what the run carries is counted: two workers together would carry too much.
   * @returns 0, or the counter of the reason why the SA cannot be used
   */
  private openLimits(offset: number, flags: number): number {
    const expired = COUNT["drop.sa_expired"];
    if ((flags & VOLUME) === 0) return this.limits.open(offset) ? 0 : expired;
    this.lock.take(offset >>> 2);
    if (this.limits.open(offset)) return 0;
    this.lock.release(offset >>> 2);
    return expired;
  }

  /** A packet of an SA in tunnel mode with AES-GCM, the first one of those for which `takeNext` is called. */
  private packet(frame: number, ip: number, innerLength: number): void {
    const { state, header } = this;
    const { at13, at14 } = this.lanes;
    const word = ((ip >> 2) - FRONT_WORDS) | 0;
    const first = at13[word];
    const second = at14[word];
    const isIpv4 = (first & 0xf0) === 0x40;
    const nextHeader = isIpv4 ? NEXT_HEADER_IPV4 : NEXT_HEADER_IPV6;
    const length = this.tfc === 0 ? innerLength : this.padTraffic(frame, innerLength, this.tfc >>> 0);
    if (this.isPlain) {
      const tos = header.tos(first) << 8;
      state[FIRST] = header.words[0] | tos;
      state[SUM] = (header.sum + tos) | 0;
      state[DF_MASK] = header.dfMask;
      const df = header.df(first, second);
      this.seal(state[LEFT], frame, word, ip, length, nextHeader, df);
      return;
    }
    const left = state[LEFT];
    state[LEFT] = (left - 1) | 0;
    const low = (state[END_LOW] - (left << 24)) | 0;
    const text = this.esp((state[END_JOB] - left) | 0, word, ip, length, nextHeader, low);
    this.sendTunnel(frame, (ip - HEADER) | 0, first, second, (HEADER + ICV + text) | 0, low);
  }

  /**
   * Frames and sends a packet whose outer header is IPv4 without UDP.
   * @param left packets that the block has room for, this one included
   * @param word where in the lanes the packet is, FRONT_WORDS in front of it
   */
  private seal(
    left: number,
    frame: number,
    word: number,
    ip: number,
    length: number,
    nextHeader: number,
    df: number,
  ): void {
    const { state } = this;
    const outer = this.header.words;
    state[LEFT] = (left - 1) | 0;
    const low = (state[END_LOW] - (left << 24)) | 0;
    const text = this.esp((state[END_JOB] - left) | 0, word, ip, length, nextHeader, low);
    const total = (IPV4_HEADER + HEADER + ICV + text) | 0;
    const { at4, at5, at6, at7, at8 } = this.lanes;
    const totalWord = swapHalf(total);
    // With DF set the identification means nothing (RFC 6864 §4.1); without, it should not repeat soon.
    const id = df === 0 ? low >>> 16 : 0;
    at4[word] = state[FIRST] | (totalWord << 16);
    at5[word] = id | (df << 16);
    at6[word] = outer[2] | (checksumOf((state[SUM] + totalWord + id + df) | 0) << 16);
    at7[word] = outer[3];
    at8[word] = outer[4];
    this.exit.sendIpv4(frame, word, total);
  }

  /**
   * Puts ESP header, IV and trailer around an inner packet, and sets it up for encryption as job `i` of the batch.
   * @param low half of the sequence number, as it lies in memory
   * @returns bytes of the text
   */
  private esp(i: number, word: number, ip: number, length: number, nextHeader: number, low: number): number {
    const { view, state } = this;
    const { at9, at10, at11, at12 } = this.lanes;
    // The IV is the sequence number, which is unique for the key (RFC 4106 §3.1).
    at9[word] = state[SPI_WORD];
    at10[word] = low;
    at11[word] = state[HIGH_WORD];
    at12[word] = low;
    // Trailer: the text is a multiple of 4 bytes long (RFC 4303 §2.4), padding counts 1, 2, 3. What of the three is too
    // much is written over by what follows.
    const pad = (2 - length) & 3;
    const tail = (ip + length) | 0;
    view.setInt32(tail, PADDING, true);
    view.setInt16(tail + pad, pad | (nextHeader << 8), true);
    const text = (length + pad + 2) | 0;
    this.gcm.encrypt(i, low, ip, text);
    return text;
  }

  /** `packet` in transport mode, or with another cipher than AES-GCM. */
  private unusualPacket(frame: number): void {
    const { frames, others, state } = this;
    const left = state[LEFT];
    state[LEFT] = (left - 1) | 0;
    const high = state[HIGH] >>> 0;
    const lowWord = (state[END_LOW] - (left << 24)) | 0;
    const low = swapWord(lowWord);
    if ((this.flags & TRANSPORT) !== 0) {
      this.transportPacket((state[END_JOB] - left) | 0, frame, high, low);
      return;
    }
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
    this.sendTunnel(frame, inner - headerLength, first, second, espLength, lowWord);
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
  ): void {
    const { header } = this;
    const start = header.put(esp, length, first, second, low);
    this.exit.send(frame, start, (header.length + length) | 0, header.isIpv4);
  }

  /** @returns whether the packet can be protected in transport mode; else it has ended here */
  private admitTransport(frame: number): boolean {
    const refusal = this.transport.refuse(frame, this.offset);
    if (refusal === 0) return true;
    this.drop(frame, this.refusals[refusal]);
    return false;
  }

  /** `packet` in transport mode. */
  private transportPacket(i: number, frame: number, high: number, low: number): void {
    const { transport, transportSa: sa, frames, header } = this;
    sa.isGcm = (this.flags & OTHER) === 0;
    sa.spi = this.spi;
    sa.udpLength = header.length;
    sa.udpPorts = header.words[0];
    transport.packet(i, frame, high, low, sa);
    const start = frames.offset[frame];
    const isIpv4 = this.view.getUint8(start) >>> 4 === 4;
    if (sa.udpLength !== 0 && !isIpv4) header.oweChecksum(start, start + transport.headerLength);
    this.exit.send(frame, start, frames.length[frame], isIpv4);
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
}
