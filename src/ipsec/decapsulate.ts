// ESP decapsulation (RFC 4303 §3.4, RFC 4301 §5.2): ESP packets come in (`offset` at the ESP header, `frames.outer` at the
// outer IP header), the IP packets inside go out with the SA that carried them; in transport mode, put together again
// (transport-decapsulate.ts).
//
//   SA by SPI → sequence number in the window? → decrypt the batch → ICV → window again, and mark
//   → where from? → padding and next header → inner header → selectors of this very SA → ECN
//
// A peer behind a NAT may speak from another address or port than before: what its packets say of that is believed once
// they are authentic and new (RFC 3948 §3.2 needs no more), and told to the key manager, which moves the SA's end points.
//
// A packet that fails leaves the SA's window, counters and time of last use as they were. Packets of the same SA that
// follow each other share what was read of the SA, and are counted together.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { AeadBatch } from "./aead.js";
import { EarlyPackets } from "./early-packets.js";
import { type Clock, ESP_HEADER, ICV_BYTES, IV_BYTES } from "./encapsulate.js";
import { foreseeInbound, foreseeLong, LONG_PACKET } from "./foresight.js";
import { HardLimits } from "./hard-limits.js";
import { adjustInner, INNER_CE_ON_NOT_ECT, INNER_MALFORMED, type InnerPacket, parseInner } from "./inner.js";
import { acceptReplay, checkReplay, inferHigh, REPLAY_OK, REPLAY_SEEN } from "./replay.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot, trafficOf } from "./sad-layout.js";
import { admits } from "./selector-check.js";
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
  "drop.too_short": "too short for ESP header, IV, trailer and ICV, or not a multiple of 4 bytes",
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
const { copyEcn: COPY_ECN, copyDscpIn: COPY_DSCP } = SaFlag;
const { transport: TRANSPORT, udpEncapsulation: IN_UDP, outerIpv6: OUTER_IPV6 } = SaFlag;
const HEADER = ESP_HEADER + IV_BYTES;
const OVERHEAD = HEADER + ICV_BYTES;
const foresee = foreseeInbound;
const foreseeKey = foreseeLong;
const LONG = LONG_PACKET;
const infer = inferHigh;
const check = checkReplay;
const accept = acceptReplay;
const parse = parseInner;
const adjust = adjustInner;
const admit = admits;
const join = joinTransport;
const mend = mendChecksum;
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
const LAST_USE = at.lastUse >>> 2;
const SOURCE = at.src;
const SOURCE_PORT = at.srcPort;

const UDP = 17;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const NEXT_HEADER_NONE = 59;
/** In place of a reason to drop: the keys of the SA are to come, or earlier packets wait for them still. */
const TOO_EARLY = -1;

export class Decapsulate implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly sad: Sad;
  private readonly words: Uint32Array;
  private readonly totals: Float64Array;
  private readonly aead: AeadBatch;
  private readonly clock: Clock;
  private readonly limits: HardLimits;
  private readonly early: EarlyPackets;
  private readonly notifier: Notifier;
  /** The second in which the key manager was last told that an SA's peer has moved, by slot. */
  private readonly told: Int32Array;
  /** Where in a slot this worker counts, in 64-bit numbers. */
  private readonly traffic: number;
  /** Packets taken off the link; where among them the SPI changes, to which, and the slot of its SA. */
  private readonly taken = new Int32Array(MAX_BATCH);
  private readonly runStart = new Int32Array(MAX_BATCH + 1);
  private readonly runSpi = new Int32Array(MAX_BATCH);
  private readonly runSa = new Int32Array(MAX_BATCH);
  private readonly runLong = new Uint8Array(MAX_BATCH);
  /** Those that go on to decryption. */
  private readonly batch = new Int32Array(MAX_BATCH);
  private foreseen = 0;
  private readonly high = new Uint32Array(MAX_BATCH);
  private readonly inner: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };

  // The SA of the packet that was looked at last: slot, byte offset of the slot, fields, and why it cannot be used
  // (a counter, or TOO_EARLY), or 0.
  private sa = NO_SA;
  private offset = 0;
  private flags = 0;
  private keyLength = 0;
  private salt = 0;
  private reason = 0;
  /** With ESP in UDP: where the SA's packets should come from. */
  private sourcePort = 0;
  private readonly source = new Int32Array(4);

  constructor(
    context: AppContext,
    sad: Sad,
    aead: AeadBatch,
    clock: Clock,
    worker: number,
    readonly input: Link,
    readonly output: Link,
    notifier: Notifier = silentNotifier,
  ) {
    this.counters = context.counters("decapsulate", decapsulateCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.sad = sad;
    this.words = sad.words;
    this.totals = new Float64Array(sad.words.buffer as ArrayBuffer);
    this.aead = aead;
    this.clock = clock;
    this.traffic = trafficOf(worker) >>> 3;
    this.limits = new HardLimits(sad, clock);
    this.early = new EarlyPackets(context.frames, sad, clock, (frame) =>
      this.drop(frame, COUNT["drop.early"]),
    );
    this.notifier = notifier;
    this.told = new Int32Array(sad.slotCount);
  }

  readonly push = (): void => {
    const { input, output, batch, aead } = this;
    if (this.early.count !== 0) this.early.release(input);
    const { sa } = this.frames;
    let waiting = input.readable;
    while (waiting > 0) {
      const taken = waiting > MAX_BATCH ? MAX_BATCH : waiting;
      waiting -= taken;
      const count = this.prepare(taken);
      if (count === 0) continue;
      aead.run(count);
      let packets = 0;
      let bytes = 0;
      for (let i = 0; i < count; i++) {
        const frame = batch[i];
        if (sa[frame] !== this.sa) {
          this.countRun(packets, bytes);
          packets = 0;
          bytes = 0;
          this.openSa(sa[frame]);
        }
        const length = this.finish(i, frame);
        if (length === 0) continue;
        packets++;
        bytes += length;
        output.transmit(frame);
      }
      this.countRun(packets, bytes);
    }
  };

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
    this.keyLength = words[slot + KEY_LENGTH] | 0;
    this.salt = words[slot + SALT] | 0;
    const state = words[slot + STATE];
    if (state === LARVAL || (this.early.count !== 0 && this.early.waitsFor(sa))) this.reason = TOO_EARLY;
    // An SA that was deleted a moment ago takes what was under way.
    else if ((state !== ACTIVE && state !== DYING) || (flags & INBOUND) === 0)
      this.reason = COUNT["drop.no_sa"];
    else if ((flags & EXPIRED) !== 0) this.reason = COUNT["drop.sa_expired"];
    else this.reason = (flags & LIMITED) !== 0 && !this.limits.open(offset) ? COUNT["drop.sa_expired"] : 0;
    if ((flags & IN_UDP) !== 0) this.openSource(offset);
  }

  private hold(frame: number): void {
    if (this.early.hold(frame, this.sa)) this.counters[COUNT.early]++;
    else this.drop(frame, COUNT["drop.early"]);
  }

  /** Reads where the SA's packets should come from. If that changes in this moment the supervisor, who changes it, knows. */
  private openSource(offset: number): void {
    const { view } = this.sad;
    this.sourcePort = view.getUint16(offset + SOURCE_PORT, true);
    for (let i = 0; i < 4; i++) this.source[i] = view.getInt32(offset + SOURCE + 4 * i);
  }

  /** Looks where an authentic packet of an SA with ESP in UDP came from. @param esp where its ESP header begins */
  private compareSource(frame: number, esp: number): void {
    const { view, source, sourcePort } = this;
    const ip = this.frames.outer[frame];
    const isIpv6 = (this.flags & OUTER_IPV6) !== 0;
    if (view.getUint8(ip) >>> 4 !== (isIpv6 ? 6 : 4)) return;
    if (view.getUint8(isIpv6 ? ip + 6 : ip + 9) !== UDP) return;
    const port = view.getUint16(esp - 8);
    // Port 0 is any: strongSwan's SAs for each CPU have it.
    let same = port === sourcePort || sourcePort === 0;
    if (isIpv6) for (let i = 0; i < 4; i++) same &&= view.getInt32(ip + 8 + 4 * i) === source[i];
    else same &&= view.getInt32(ip + 12) === source[0];
    if (same) return;
    this.counters[COUNT_MOVED]++;
    const now = this.clock.seconds;
    if (this.told[this.sa] === now) return;
    this.told[this.sa] = now;
    this.notifier.mapping(this.sa, this.sad.spi(this.sa), view, ip, port);
  }

  /** Counts what the SA has carried. */
  private countRun(packets: number, bytes: number): void {
    if (packets === 0) return;
    const lane = (this.offset >>> 3) + this.traffic;
    this.totals[lane] += packets;
    this.totals[lane + 1] += bytes;
    this.words[(this.offset >>> 2) + LAST_USE] = this.clock.seconds;
    this.counters[COUNT_PACKETS] += packets;
    this.counters[COUNT_BYTES] += bytes;
  }

  /**
   * Takes packets off the link, finds the SA of each run of equal SPIs, and reads ahead what its packets need of it. Short
   * loops one after the other: the fewer instructions there are from read to read, the more reads are under way at a time.
   */
  private find(count: number): void {
    const { input, taken, runStart, runSpi, runSa, runLong, view, words, sad } = this;
    const { offset, length } = this.frames;
    let runs = 0;
    let last = 0;
    let foreseen = 0;
    for (let i = 0; i < count; i++) {
      const frame = input.receive();
      taken[i] = frame;
      const spi = view.getInt32(offset[frame]);
      if (spi === last && i !== 0) {
        if (length[frame] > LONG) runLong[runs - 1] = 1;
        continue;
      }
      last = spi;
      runStart[runs] = i;
      runLong[runs] = length[frame] > LONG ? 1 : 0;
      runSpi[runs++] = spi;
    }
    runStart[runs] = count;
    for (let run = 0; run < runs; run++) foreseen ^= sad.foreseeIndex(runSpi[run]);
    for (let run = 0; run < runs; run++) runSa[run] = sad.lookup(runSpi[run] >>> 0);
    for (let run = 0; run < runs; run++) {
      if (runSa[run] === NO_SA) continue;
      const slot = sad.offset(runSa[run]) >>> 2;
      foreseen ^= foresee(words, slot);
      if (runLong[run] !== 0) foreseen ^= foreseeKey(words, slot);
    }
    this.foreseen ^= foreseen;
  }

  /** Finds SAs, asks the replay windows and sets the batch up for decryption. @returns packets in it */
  private prepare(waiting: number): number {
    const { frames, view, words, batch, taken, runStart, runSa } = this;
    this.find(waiting);
    this.aead.begin(waiting);
    let count = 0;
    let run = 0;
    for (let i = 0; i < waiting; i++) {
      const frame = taken[i];
      if (i === runStart[run]) this.openSa(runSa[run++]);
      const esp = frames.offset[frame];
      const text = frames.length[frame] - OVERHEAD;
      if (text < 4 || (text & 3) !== 0) {
        this.drop(frame, COUNT["drop.too_short"]);
        continue;
      }
      if (this.reason !== 0) {
        if (this.reason === TOO_EARLY) this.hold(frame);
        else this.drop(frame, this.reason);
        continue;
      }
      const { offset } = this;
      const slot = offset >>> 2;
      const low = view.getUint32(esp + 4);
      const extended = this.flags & EXTENDED;
      const high = extended !== 0 ? infer(words, slot, low) : 0;
      if (high < 0) {
        this.drop(frame, COUNT["drop.too_old"]);
        continue;
      }
      const replay = check(words, slot, high, low);
      if (replay !== FRESH) {
        this.drop(frame, replay === SEEN ? COUNT["drop.replayed"] : COUNT["drop.too_old"]);
        continue;
      }
      frames.sa[frame] = this.sa;
      this.high[count] = high;
      this.aead.set(
        count,
        offset,
        this.keyLength,
        this.salt,
        view.getInt32(esp + 8),
        view.getInt32(esp + 12),
        view.getInt32(esp),
        extended,
        high,
        low,
        esp + HEADER,
        text,
      );
      batch[count++] = frame;
    }
    this.sa = NO_SA;
    return count;
  }

  /**
   * Takes packet `i` of the batch, which is decrypted, through the checks that need its content.
   * @returns bytes of the inner packet; 0 when it ended here
   */
  private finish(i: number, frame: number): number {
    const { frames, view, words } = this;
    if (!this.aead.authentic(i)) return this.drop(frame, COUNT["drop.bad_icv"]);

    const slot = this.offset >>> 2;
    const esp = frames.offset[frame];
    const low = view.getUint32(esp + 4);
    const high = this.high[i];
    // Again, because the same number may have come twice in this batch.
    const replay = accept(words, slot, high, low);
    if (replay !== FRESH)
      return this.drop(frame, replay === SEEN ? COUNT["drop.replayed"] : COUNT["drop.too_old"]);

    if ((this.flags & IN_UDP) !== 0) this.compareSource(frame, esp);

    const text = frames.length[frame] - OVERHEAD;
    const start = esp + HEADER;
    const end = start + text;
    const trailer = view.getUint16(end - 2);
    const pad = trailer >>> 8;
    const nextHeader = trailer & 0xff;
    const payload = text - 2 - pad;
    if (payload < 0 || !this.isPadding(end - 2, pad)) return this.drop(frame, COUNT["drop.bad_padding"]);
    if ((this.flags & TRANSPORT) !== 0) return this.finishTransport(frame, esp, start, payload, nextHeader);
    if (nextHeader !== NEXT_HEADER_IPV4 && nextHeader !== NEXT_HEADER_IPV6)
      return this.drop(
        frame,
        nextHeader === NEXT_HEADER_NONE ? COUNT.dummies : COUNT["drop.bad_next_header"],
      );

    const inner = this.inner;
    if (parse(inner, view, start, payload, nextHeader === NEXT_HEADER_IPV4) === MALFORMED)
      return this.drop(frame, COUNT["drop.bad_inner"]);
    if (!admit(words, slot, view, start, inner)) return this.drop(frame, COUNT["drop.selectors"]);
    if (
      (this.flags & (COPY_ECN | COPY_DSCP)) !== 0 &&
      adjust(view, start, inner.isIpv4, frames.outer[frame], this.flags) === CE_ON_NOT_ECT
    )
      return this.drop(frame, COUNT["drop.ecn"]);

    const { length } = inner;
    // Again, because the packets before this one in the batch may have reached the limit.
    if ((this.flags & VOLUME) !== 0 && !this.limits.take(length))
      return this.drop(frame, COUNT["drop.sa_expired"]);
    frames.offset[frame] = start;
    // Traffic flow confidentiality padding stands behind the inner packet's own length (RFC 4303 §2.7).
    frames.length[frame] = length;
    return length;
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
    if (!admit(this.words, this.offset >>> 2, view, ip, inner))
      return this.drop(frame, COUNT["drop.selectors"]);
    if ((this.flags & IN_UDP) !== 0) mend(view, ip, inner);
    frames.offset[frame] = ip;
    frames.length[frame] = inner.length;
    return inner.length;
  }

  /** Do the `pad` bytes before `end` count 1, 2, 3 … (RFC 4303 §2.4)? */
  private isPadding(end: number, pad: number): boolean {
    const view = this.view;
    for (let i = 1, at = end - pad; i <= pad; i++, at++) if (view.getUint8(at) !== i) return false;
    return true;
  }
}
