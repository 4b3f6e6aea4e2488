// ESP decapsulation (RFC 4303 §3.4, RFC 4301 §5.2): ESP packets come in, the IP packets inside go out with the SA that
// carried them; in transport mode, put together again (transport-decapsulate.ts). Packets are taken one by one, set up for
// decryption, and worked off when there are as many as the crypto library takes at a time, or when no more come in this
// breath.
//
//   SA by SPI → sequence number in the window? → decrypt the batch → lock the SA → ICV → window again, and mark
//   → where from? → padding and next header → inner header → selectors of this very SA → ECN → count, unlock
//
// Where authentic packets in UDP come from is compared with what is known of the peer (peer-source.ts).
//
// A packet that fails leaves the SA's window, counters and time of last use as they were. Packets of the same SA that
// follow each other share what was read of the SA, and are counted together.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { offHeapInt32, offHeapUint32 } from "../memory/off-heap.js";
import { swap32 } from "../net/byte-order.js";
import { ipv4Length } from "../net/ipv4-train.js";
import type { AeadBatch, Batches } from "./aead.js";
import { EarlyPackets } from "./early-packets.js";
import type { Clock } from "./encapsulate.js";
import { AEAD_HEADER, AEAD_ICV_BYTES } from "./esp-format.js";
import { HardLimits } from "./hard-limits.js";
import { InboundForesight } from "./inbound-foresight.js";
import { adjustInner, INNER_CE_ON_NOT_ECT, INNER_MALFORMED, type InnerPacket, parseInner } from "./inner.js";
import { OTHER_CIPHERS, OtherDecryption } from "./other-ciphers.js";
import { PeerSource } from "./peer-source.js";
import { checkReplay, inferHigh, REPLAY_OK, REPLAY_SEEN, ReplayRun } from "./replay.js";
import { SaLock } from "./sa-lock.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot, trafficOf } from "./sad-layout.js";
import { admits as areAdmitted } from "./selector-check.js";
import { joinTransport, mendChecksum } from "./transport-decapsulate.js";
import { type Notifier, silentNotifier } from "./worker-events.js";

export const decapsulateCounters = {
  packets: "packets decapsulated",
  bytes: "bytes of inner packets decapsulated",
  moved: "packets in UDP that came from another address or port than the SA knows",
  dummies: "dummy packets (next header 59), which end here by design (RFC 4303 §2.6)",
  early: "packets that came before the keys of their SA, and waited for those",
  "drop.early": "came before the keys of its SA, and too many waited, or the keys did not come in time",
  "drop.no_sa": "no inbound SA has this SPI",
  "drop.sa_expired": "the SA has passed its hard limit",
  "drop.too_short":
    "too short for ESP header, IV, trailer and ICV, or not a multiple of 4 bytes, with AES-CBC of 16",
  "drop.replayed": "sequence number was seen before",
  "drop.too_old": "sequence number lies before the replay window",
  "drop.bad_icv": "integrity check failed: not from the peer, or changed on the way",
  "drop.bad_padding": "pad length beyond the payload, or padding that is not 1, 2, 3 … (RFC 4303 §2.4)",
  "drop.bad_next_header": "next header is neither IPv4, IPv6 nor dummy",
  "drop.bad_inner": "the inner packet's header is malformed, or its length exceeds the payload",
  "drop.selectors": "the inner packet lies outside the selectors of its SA (RFC 4301 §5.2)",
  "drop.ecn": "marked congestion experienced outside, but not ECN-capable inside (RFC 6040 §4.2)",
} as const;

const COUNT = counterIndex(decapsulateCounters);
const COUNT_PACKETS = COUNT.packets;
const COUNT_BYTES = COUNT.bytes;
const COUNT_MOVED = COUNT.moved;

// What the data path uses of other modules has a name here: V8 compiles a module's own constants in, and looks those of
// others up at each use.
const MAX_BATCH = 128;
const ACTIVE = SaState.active;
const LARVAL = SaState.larval;
const DYING = SaState.dying;
const { inbound: INBOUND, extendedSequenceNumbers: EXTENDED, expired: EXPIRED } = SaFlag;
const VOLUME = SaFlag.volumeLimit;
const LIMITED = SaFlag.timeLimit | VOLUME;
const WITH_TRANSPORT = SaFlag.transportSelectors;
const { copyEcn: COPY_ECN, copyDscpIn: COPY_DSCP } = SaFlag;
/** Packets of SAs with one of these take part in `passes`; those of others only if their outer header is marked. */
const SPECIAL = VOLUME | COPY_DSCP;
const { transport: TRANSPORT, udpEncapsulation: IN_UDP } = SaFlag;
const OTHER = OTHER_CIPHERS;
/** What is to be asked for each packet of an SA that has one of these. */
const UNUSUAL = OTHER | IN_UDP | TRANSPORT | SPECIAL;
const ALL = 0;
const LAST = 1;
// Of AES-GCM.
const HEADER = AEAD_HEADER;
const OVERHEAD = HEADER + AEAD_ICV_BYTES;
const infer = inferHigh;
const check = checkReplay;
const parse = parseInner;
const adjust = adjustInner;
const admits = areAdmitted;
const join = joinTransport;
const mend = mendChecksum;
const swapWord = swap32;
const lengthOf = ipv4Length;
const FRESH = REPLAY_OK;
const SEEN = REPLAY_SEEN;
const NO_SA = NONE;
const MALFORMED = INNER_MALFORMED;
const CE_ON_NOT_ECT = INNER_CE_ON_NOT_ECT;

const at = saSlot.at;
const STATE = at.state >>> 2;
const FLAGS = at.flags >>> 2;
const KEY_LENGTH = at.keyLength >>> 2;
const SALT = at.salt >>> 2;
const SPI = at.spi >>> 2;
const WINDOW = at.replayWindow >>> 2;
const TOP_LOW = at.topLow >>> 2;
const TOP_HIGH = at.topHigh >>> 2;
const LAST_USE = at.lastUse >>> 2;

const ECN = 3;
/** The ECN bits of both versions of IP in the first word of a header, as it lies in memory. */
const ECN_BITS = 0x0000_3300;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const NEXT_HEADER_NONE = 59;
/** Two bytes of padding, and how many they are, in the last word of a text as it lies in memory. */
const TWO_BYTES = 0x02_0201;
// In place of a sequence number's high half.
const TOO_OLD = -1;
const REPLAYED = -2;
// Is the SA open to which packets are being taken, and can packets go to it the usual way?
const UNUSABLE = 1;
const USABLE = 2;
/** In place of a reason to drop: the keys of the SA are to come, or earlier packets wait for them still. */
const TOO_EARLY = -1;
/** The same: it can be used, but its cipher is not AES-GCM. */
const OTHER_CIPHER = -2;

/** Where ESP packets go. */
export interface EspSink {
  /**
   * Takes the ESP packet of `length` bytes that begins at `esp`, in the IP packet that begins at `outer`. Owns the frame.
   * @param word the same place in the lanes of memory/lanes.ts, six words in front of it
   * @param first the first word of the outer header, as it lies in memory
   */
  take(frame: number, outer: number, esp: number, word: number, length: number, first: number): void;
  /** The same for a packet whose outer IPv4 header has the two bytes in front that the one before has, or that `resume` was given. */
  takeNext(frame: number, outer: number, esp: number, word: number, length: number): void;
  /**
   * The packets that follow come off a link of which the last one lies some time back: packets of other links may have come
   * since, and such as had waited for their keys.
   * @param first the first two bytes of its outer header, as they lie in memory; 0 when `take` is called next
   */
  resume(first: number): void;
  /** Is told of the Ethernet frames that are going to be taken off a link, before the first one comes. */
  foresee(link: Link, count: number): void;
}

/** Where decapsulated packets go. */
export interface Outlet {
  /** Takes the packet of `length` bytes that begins at `ip`; `frames.sa` says which SA carried it. Owns the frame. */
  take(frame: number, ip: number, length: number, isIpv4: boolean): void;
  /** The same for an IPv4 packet of the same SA and with the same addresses as the one before; `frames.sa` need not say it again. */
  takeNext(frame: number, ip: number, length: number): void;
}

export class Decapsulate implements App, EspSink {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly sad: Sad;
  private readonly words: Uint32Array;
  private readonly totals: Float64Array;
  private readonly gcm: AeadBatch;
  private readonly others: OtherDecryption;
  private readonly foresight: InboundForesight;
  private readonly outlet: Outlet;
  private readonly clock: Clock;
  private readonly limits: HardLimits;
  private readonly lock: SaLock;
  private readonly early: EarlyPackets;
  /** Where in a slot this worker counts, in 64-bit numbers. */
  private readonly traffic: number;
  /** Packets that are set up for decryption, and the low halves of their sequence numbers. */
  private readonly batch = new Int32Array(MAX_BATCH);
  private readonly low = new Uint32Array(MAX_BATCH);
  private count = 0;
  /** Where among them another SA, or another high half, begins, and which. The last run may be empty. */
  private readonly runStart = new Int32Array(MAX_BATCH + 2);
  private readonly runSa = new Int32Array(MAX_BATCH + 1);
  private readonly runHigh = new Uint32Array(MAX_BATCH + 1);
  private runs = 0;
  /** How many of the packets before the last run have other ciphers, and are no jobs of AES-GCM. */
  private skipped = 0;
  private readonly inner: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };

  // The SA of the packet that was looked at last: slot, byte offset of the slot, fields, and why it cannot be used
  // (a counter, TOO_EARLY or OTHER_CIPHER), or 0.
  private sa = NO_SA;
  /** Its SPI as it lies in memory, while `isOpen` is not 0: it is the one to which packets are being taken. */
  private spi = 0;
  private isOpen = 0;
  private offset = 0;
  private flags = 0;
  private reason = 0;
  /**
   * The SA's highest sequence number: low half, which is 2^32 - 1 while the window has not left the half's beginning, and
   * high half. A packet with a higher low half is new, and its high half is this one.
   */
  private readonly top = offHeapUint32(2);
  /**
   * What the SA's last packet that went on has shown: that its selectors admit IPv4 packets without options with these
   * addresses, and that nothing else counts. First half of the first word, -1 when it has shown nothing; addresses as they
   * lie in memory.
   */
  private readonly admitted = offHeapInt32(3).fill(-1, 0, 1);
  /** All first words of outer headers in the batch, whose ECN bits are of interest, and the one that packets go on with which `takeNext` is given. */
  private readonly marks = offHeapInt32(2);
  /** The SA's replay window. */
  private readonly window: ReplayRun;
  /** With ESP in UDP: where the SA's packets should come from. */
  private readonly source: PeerSource;

  constructor(
    context: AppContext,
    parts: {
      sad: Sad;
      batches: Batches;
      clock: Clock;
      worker: number;
      outlet: Outlet;
      notifier?: Notifier;
    },
  ) {
    const { sad, batches, clock, worker, outlet, notifier = silentNotifier } = parts;
    this.counters = context.counters("decapsulate", decapsulateCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.lanes = context.frames.lanes;
    this.sad = sad;
    this.words = sad.words;
    this.totals = new Float64Array(sad.words.buffer as ArrayBuffer);
    this.gcm = batches.gcm;
    this.others = new OtherDecryption(context.frames.view, sad, batches);
    this.foresight = new InboundForesight(context.frames, sad);
    this.outlet = outlet;
    this.clock = clock;
    this.traffic = trafficOf(worker) >>> 3;
    this.limits = new HardLimits(sad, clock);
    this.lock = new SaLock(sad, worker);
    this.early = new EarlyPackets(context.frames, sad, clock, this, (frame) =>
      this.drop(frame, COUNT["drop.early"]),
    );
    this.source = new PeerSource(context.frames, sad, clock, notifier);
    this.window = new ReplayRun(sad.words);
  }

  /** Works off what was taken in this breath. */
  readonly push = (): void => {
    if (this.early.count !== 0) {
      this.flush();
      this.early.release();
    }
    this.flush();
    this.foresight.endBreath();
  };

  /** See EspSink. */
  foresee(link: Link, count: number): void {
    if (this.foresight.isWorthwhile) this.foresight.look(link, count);
  }

  /** Sets a packet up for decryption, unless it can be seen already that it is not to be had. */
  take(frame: number, outer: number, esp: number, word: number, length: number, first: number): void {
    this.takeFirst(frame, outer, esp, word, length);
    // Behind what it may have made to be worked off.
    this.resume(first);
  }

  /** See EspSink. */
  resume(first: number): void {
    this.marks[LAST] = first;
    this.marks[ALL] |= first;
  }

  /** See EspSink. */
  takeNext(frame: number, outer: number, esp: number, word: number, length: number): void {
    const { count } = this;
    const text = (length - OVERHEAD) | 0;
    const low = this.view.getUint32(esp + 4);
    // Is `low` above the window's top, an SA is open that is usable, and has this SPI?
    if (
      text < 4 ||
      (text & 3) !== 0 ||
      count === MAX_BATCH ||
      this.lanes.at6[word] !== this.spi ||
      low <= this.top[0]
    )
      this.takeFirst(frame, outer, esp, word, length);
    else this.enter(count, frame, outer, esp, word, text, low);
  }

  /** Makes a packet of the open SA, whose high half of the sequence number is the run's, one of the batch. */
  private enter(
    count: number,
    frame: number,
    outer: number,
    esp: number,
    word: number,
    text: number,
    low: number,
  ): void {
    const { frames } = this;
    const { at7, at8, at9 } = this.lanes;
    frames.outer[frame] = outer;
    frames.offset[frame] = esp;
    frames.length[frame] = (text + OVERHEAD) | 0;
    this.low[count] = low;
    this.batch[count] = frame;
    this.count = (count + 1) | 0;
    const job = (count - this.skipped) | 0;
    this.gcm.decrypt(job, at8[word], at9[word], at7[word], (esp + HEADER) | 0, text);
  }

  /** The same for a packet whose SA is not open yet, whose place in the window is to be looked up, or that is the first of a batch. */
  private takeFirst(frame: number, outer: number, esp: number, word: number, length: number): void {
    const { frames } = this;
    const text = (length - OVERHEAD) | 0;
    if (text < 4 || (text & 3) !== 0) {
      this.drop(frame, COUNT["drop.too_short"]);
      return;
    }
    // Before the SA is opened: it may reach its limit, or be deleted, while what was taken is worked off.
    if (this.count === MAX_BATCH) this.flush();
    const spi = this.lanes.at6[word];
    if (spi !== this.spi || this.isOpen !== USABLE) this.openSpi(spi);
    if (this.isOpen !== USABLE) {
      frames.outer[frame] = outer;
      frames.offset[frame] = esp;
      frames.length[frame] = length;
      this.takeUnusual(frame, esp, length);
      return;
    }
    const { top, count } = this;
    const low = this.view.getUint32(esp + 4);
    const usual = top[1];
    let high = usual;
    if (low <= top[0]) {
      high = this.placeOrDrop(frame, low);
      if (high < 0) return;
    }
    if (high === usual) {
      this.enter(count, frame, outer, esp, word, text, low);
      return;
    }
    this.gcm.turn(high);
    this.beginRun(high);
    this.enter(count, frame, outer, esp, word, text, low);
    this.gcm.turn(usual);
    this.beginRun(usual);
  }

  /** Takes a packet whose SA cannot be used, or has another cipher than AES-GCM. */
  private takeUnusual(frame: number, esp: number, length: number): void {
    const { reason } = this;
    if (reason === OTHER_CIPHER) this.takeOther(frame, esp, length);
    else if (reason === TOO_EARLY) this.hold(frame);
    else this.drop(frame, reason);
  }

  private takeOther(frame: number, esp: number, length: number): void {
    const { others } = this;
    const text = length - others.headerLength - others.icvLength;
    if (!others.isText(text)) {
      this.drop(frame, COUNT["drop.too_short"]);
      return;
    }
    const low = this.view.getUint32(esp + 4);
    const high = this.placeOrDrop(frame, low);
    if (high < 0) return;
    if (high !== this.runHigh[this.runs - 1]) this.beginRun(high);
    const { count } = this;
    this.low[count] = low;
    this.batch[count] = frame;
    this.count = (count + 1) | 0;
    others.set(esp, text, high, low);
  }

  /** The packets that are taken from here on belong to the open SA, and their sequence numbers have this high half. */
  private beginRun(high: number): void {
    const { count, runStart } = this;
    if (this.runs === 0 || runStart[this.runs - 1] !== count) this.runs++;
    const run = this.runs - 1;
    runStart[run] = count;
    this.runSa[run] = this.sa;
    this.runHigh[run] = high;
    this.skipped = this.others.count;
  }

  /** Decrypts what was taken, and sends on what is sound. */
  private flush(): void {
    const { gcm, others, count, runs, runStart, runSa, runHigh } = this;
    this.count = 0;
    this.runs = 0;
    this.close();
    if (count === 0) return;
    gcm.run(count - others.count);
    others.run();
    runStart[runs] = count;
    for (let run = 0; run < runs; run++)
      if (runStart[run] !== runStart[run + 1])
        this.finishRun(runSa[run], runHigh[run], runStart[run], runStart[run + 1]);
    this.marks[ALL] = this.marks[LAST];
  }

  /** Sends on what is sound of the packets `from` to `end` - 1 of the batch, which are of the SA in slot `sa`. */
  private finishRun(sa: number, high: number, from: number, end: number): void {
    const { batch, others, window } = this;
    this.lock.take(this.sad.offset(sa) >>> 2);
    this.openSa(sa);
    window.open(this.offset >>> 2);
    if ((this.flags & OTHER) !== 0) others.open(this.offset);
    const { flags } = this;
    const marks = this.marks[ALL] & ECN_BITS;
    // V8 compiles the call with these as constants into this loop, and no branch that depends on them.
    const isUsual = (flags & UNUSUAL) === 0 && marks === 0;
    const skipped = others.asked;
    let dropped = 0;
    let bytes = 0;
    for (let i = from; i < end; i = (i + 1) | 0) {
      const job = (i - skipped) | 0;
      const length = isUsual
        ? this.finish(i, job, batch[i], high, 0, 0)
        : this.finish(i, job, batch[i], high, flags, marks);
      if (length === 0) dropped = (dropped + 1) | 0;
      bytes = (bytes + length) | 0;
    }
    // The window is brought up to date before any packet of the run leaves.
    window.close();
    if (dropped !== end - from) this.countRun(end - from - dropped, bytes);
    this.lock.release(this.offset >>> 2);
  }

  /** Packets that wait for the keys of their SA. */
  get held(): number {
    return this.early.count;
  }

  /** @returns 0, for those who would return the packet's length if it were not dropped */
  private drop(frame: number, reason: number): number {
    this.counters[reason]++;
    this.frames.free(frame);
    return 0;
  }

  /** Makes the SA with this SPI, as it lies in memory, the one that the next packets belong to. */
  private openSpi(spi: number): void {
    if (spi === this.spi && this.isOpen === UNUSABLE) return;
    this.close();
    this.spi = spi;
    this.isOpen = UNUSABLE;
    const sa = this.sad.lookup(swapWord(spi));
    this.foresight.countRun();
    this.openSa(sa);
    if (this.reason === 0) this.openKeys();
    if (this.reason === 0 || this.reason === OTHER_CIPHER) this.beginRun(this.top[1]);
    if (this.reason === 0) this.isOpen = USABLE;
  }

  /** No SA is open any more. */
  private close(): void {
    this.isOpen = 0;
    this.top[0] = 0xffffffff;
  }

  /** Makes the SA in slot `sa` (NONE for none) the one that the next packets belong to. */
  private openSa(sa: number): void {
    this.sa = sa;
    if (sa === NO_SA) {
      this.reason = COUNT["drop.no_sa"];
      return;
    }
    const { words } = this;
    const offset = this.sad.offset(sa);
    const slot = offset >>> 2;
    const flags = words[slot + FLAGS] | 0;
    this.offset = offset;
    this.flags = flags;
    this.admitted[0] = -1;
    const state = words[slot + STATE];
    // Whatever else is the matter: packets that were taken before it was ask what the SA has left.
    const isSpent = (flags & LIMITED) !== 0 && !this.limits.open(offset);
    if (state === LARVAL || (this.early.count !== 0 && this.early.waitsFor(sa))) this.reason = TOO_EARLY;
    // An SA that was deleted a moment ago takes what was under way.
    else if ((state !== ACTIVE && state !== DYING) || (flags & INBOUND) === 0)
      this.reason = COUNT["drop.no_sa"];
    else this.reason = isSpent || (flags & EXPIRED) !== 0 ? COUNT["drop.sa_expired"] : 0;
    if ((flags & IN_UDP) !== 0) this.source.open(offset, flags);
  }

  /** Makes the SA that was just opened the one whose packets are set up for decryption. */
  private openKeys(): void {
    const { words, flags, offset, top } = this;
    const slot = offset >>> 2;
    const extended = flags & EXTENDED;
    if ((flags & OTHER) !== 0) {
      this.others.open(offset);
      this.reason = OTHER_CIPHER;
      return;
    }
    this.gcm.open(
      offset,
      words[slot + KEY_LENGTH] | 0,
      words[slot + SALT] | 0,
      words[slot + SPI] | 0,
      extended,
    );
    const topLow = words[slot + TOP_LOW];
    const window = words[slot + WINDOW];
    top[0] = window !== 0 && topLow >= window ? topLow : 0xffffffff;
    top[1] = extended !== 0 ? words[slot + TOP_HIGH] : 0;
    this.gcm.turn(top[1]);
  }

  private hold(frame: number): void {
    if (this.early.hold(frame, this.sa)) this.counters[COUNT.early]++;
    else this.drop(frame, COUNT["drop.early"]);
  }

  private countRun(packets: number, bytes: number): void {
    const lane = (this.offset >>> 3) + this.traffic;
    this.totals[lane] += packets;
    this.totals[lane + 1] += bytes;
    this.words[(this.offset >>> 2) + LAST_USE] = this.clock.seconds;
    this.counters[COUNT_PACKETS] += packets;
    this.counters[COUNT_BYTES] += bytes;
  }

  /**
   * Where in the SA's window is a sequence number with this low half?
   * @returns its high half, REPLAYED or TOO_OLD
   */
  private place(low: number): number {
    const { words } = this;
    const slot = this.offset >>> 2;
    const high = (this.flags & EXTENDED) !== 0 ? infer(words, slot, low) : 0;
    if (high < 0) return TOO_OLD;
    const replay = check(words, slot, high, low);
    if (replay === FRESH) return high;
    return replay === SEEN ? REPLAYED : TOO_OLD;
  }

  /** The same, for a packet that is to be dropped when its number has none. */
  private placeOrDrop(frame: number, low: number): number {
    const found = this.place(low);
    if (found < 0) this.drop(frame, found === REPLAYED ? COUNT["drop.replayed"] : COUNT["drop.too_old"]);
    return found;
  }

  /**
   * Takes packet `i` of the batch, which is decrypted, with AES-GCM as job number `job`, through the checks that need its
   * content, and sends it on.
   * @param flags of its SA; 0 stands for those that have none of UNUSUAL
   * @param marks not 0 if outer headers of the batch have ECN bits
   * @returns bytes of the inner packet; 0 when it ended here
   */
  private finish(i: number, job: number, frame: number, high: number, flags: number, marks: number): number {
    const { frames, admitted } = this;
    const esp = frames.offset[frame];
    let text = (frames.length[frame] - OVERHEAD) | 0;
    let start = (esp + HEADER) | 0;
    if ((flags & OTHER) === 0) {
      if (!this.gcm.authentic(job, (start + text) | 0)) return this.drop(frame, COUNT["drop.bad_icv"]);
    } else {
      const { headerLength, icvLength } = this.others;
      text = (frames.length[frame] - headerLength - icvLength) | 0;
      start = (esp + headerLength) | 0;
      if (!this.others.authentic((start + text) | 0)) return this.drop(frame, COUNT["drop.bad_icv"]);
    }
    const end = (start + text) | 0;

    // Again, because the same number may have come twice in this batch.
    const replay = this.window.accept(high, this.low[i]);
    if (replay !== FRESH)
      return this.drop(frame, replay === SEEN ? COUNT["drop.replayed"] : COUNT["drop.too_old"]);

    if ((flags & IN_UDP) !== 0 && this.source.hasMoved(this.sa, frames.outer[frame], esp))
      this.counters[COUNT_MOVED]++;

    const { at0, at4, at7, at8 } = this.lanes;
    const trailer = at0[((end >> 2) - 1) | 0];
    const pad = (trailer >>> 16) & 0xff;
    const nextHeader = trailer >>> 24;
    const payload = (text - 2 - pad) | 0;
    // Most packets are a multiple of four bytes long, and have two bytes of padding.
    if (
      (trailer & 0xff_ffff) !== TWO_BYTES &&
      pad !== 0 &&
      (payload < 0 || !this.isPadding((end - 2) | 0, pad))
    )
      return this.drop(frame, COUNT["drop.bad_padding"]);
    if ((flags & TRANSPORT) !== 0) return this.finishTransport(frame, esp, start, payload, nextHeader);
    const word = ((start >> 2) - 4) | 0;
    const first = at4[word];
    if (
      nextHeader !== NEXT_HEADER_IPV4 ||
      (first & 0xffff) !== admitted[0] ||
      at7[word] !== admitted[1] ||
      at8[word] !== admitted[2]
    )
      return this.finishOther(frame, start, payload, nextHeader);
    const length = lengthOf(first);
    if (length < 20 || length > payload) return this.drop(frame, COUNT["drop.bad_inner"]);
    if (((flags & SPECIAL) | marks) !== 0 && !this.passes(frame, start, length, true)) return 0;
    // Traffic flow confidentiality padding stands behind the inner packet's own length (RFC 4303 §2.7).
    this.outlet.takeNext(frame, start, length);
    return length;
  }

  /** The same, from the content on, for a packet that is not like the one before. */
  private finishOther(frame: number, start: number, payload: number, nextHeader: number): number {
    const length = this.inspect(frame, start, payload, nextHeader);
    const isIpv4 = nextHeader === NEXT_HEADER_IPV4;
    if (length === 0 || !this.passes(frame, start, length, isIpv4)) return 0;
    this.frames.sa[frame] = this.sa;
    this.outlet.take(frame, start, length, isIpv4);
    return length;
  }

  /** Carries over what the outer header is marked with, and counts against limits. @returns whether the packet goes on */
  private passes(frame: number, start: number, length: number, isIpv4: boolean): boolean {
    const { frames, flags } = this;
    if (
      this.isMarked(frames.outer[frame], flags) &&
      adjust(this.view, start, isIpv4, frames.outer[frame], flags) === CE_ON_NOT_ECT
    ) {
      this.dropInspected(frame, COUNT["drop.ecn"]);
      return false;
    }
    // Again, because the packets before this one in the batch may have reached the limit.
    if ((flags & VOLUME) === 0 || this.limits.take(length)) return true;
    this.dropInspected(frame, COUNT["drop.sa_expired"]);
    return false;
  }

  /**
   * Parses the packet at `start`, and compares it with the SA's selectors.
   * @returns its length; 0 when it ended here
   */
  private inspect(frame: number, start: number, payload: number, nextHeader: number): number {
    const { view, inner, admitted } = this;
    admitted[0] = -1;
    const isIpv4 = nextHeader === NEXT_HEADER_IPV4;
    if (!isIpv4 && nextHeader !== NEXT_HEADER_IPV6)
      return this.drop(
        frame,
        nextHeader === NEXT_HEADER_NONE ? COUNT.dummies : COUNT["drop.bad_next_header"],
      );
    if (parse(inner, view, start, payload, isIpv4) === MALFORMED)
      return this.drop(frame, COUNT["drop.bad_inner"]);
    if (!admits(this.words, this.offset >>> 2, view, start, inner))
      return this.drop(frame, COUNT["drop.selectors"]);
    if (isIpv4 && (this.flags & WITH_TRANSPORT) === 0 && view.getUint8(start) === 0x45) {
      admitted[0] = view.getUint16(start, true);
      admitted[1] = view.getInt32(start + 12, true);
      admitted[2] = view.getInt32(start + 16, true);
    }
    return inner.length;
  }

  /** Drops a packet that does not speak for those behind it: it has not gone on. */
  private dropInspected(frame: number, reason: number): number {
    this.admitted[0] = -1;
    return this.drop(frame, reason);
  }

  /** Has the outer header anything that the inner one may have to take over? */
  private isMarked(outer: number, flags: number): boolean {
    if ((flags & COPY_DSCP) !== 0) return true;
    if ((flags & COPY_ECN) === 0) return false;
    const first = this.view.getUint16(outer);
    return ((first >>> 12 === 4 ? first : first >>> 4) & ECN) !== 0;
  }

  /** The same, from the content on, in transport mode: the header in front of ESP is the packet's own. */
  private finishTransport(
    frame: number,
    esp: number,
    start: number,
    payload: number,
    nextHeader: number,
  ): number {
    if (nextHeader === NEXT_HEADER_NONE) return this.drop(frame, COUNT.dummies);
    const { frames, view, inner } = this;
    const ip = join(frames, frame, esp, start, payload, nextHeader);
    if (parse(inner, view, ip, start - ip + payload, view.getUint8(ip) >>> 4 === 4) === MALFORMED)
      return this.drop(frame, COUNT["drop.bad_inner"]);
    if (!admits(this.words, this.offset >>> 2, view, ip, inner))
      return this.drop(frame, COUNT["drop.selectors"]);
    if ((this.flags & VOLUME) !== 0 && !this.limits.take(inner.length))
      return this.drop(frame, COUNT["drop.sa_expired"]);
    if ((this.flags & IN_UDP) !== 0) mend(view, ip, inner);
    frames.sa[frame] = this.sa;
    this.outlet.take(frame, ip, inner.length, inner.isIpv4);
    return inner.length;
  }

  /** Do the `pad` bytes before `end` count 1, 2, 3 … (RFC 4303 §2.4)? */
  private isPadding(end: number, pad: number): boolean {
    const view = this.view;
    for (let i = 1, at = end - pad; i <= pad; i++, at++) if (view.getUint8(at) !== i) return false;
    return true;
  }
}
