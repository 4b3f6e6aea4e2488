// ESP decapsulation in tunnel mode (RFC 4303 §3.4, RFC 4301 §5.2): ESP packets come in (`offset` at the ESP header,
// `frames.outer` at the outer IP header), the IP packets inside go out with the SA that carried them.
//
//   SA by SPI → sequence number in the window? → decrypt the batch → ICV → window again, and mark
//   → padding and next header → inner header → selectors of this very SA → ECN
//
// A packet that fails leaves the SA's window, counters and time of last use as they were.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { type AeadBatch, MAX_BATCH } from "./aead.js";
import { type Clock, ESP_HEADER, ICV_BYTES, IV_BYTES } from "./encapsulate.js";
import { adjustInner, INNER_CE_ON_NOT_ECT, INNER_MALFORMED, type InnerPacket, parseInner } from "./inner.js";
import { checkReplay, inferHigh, markReplay, REPLAY_OK, REPLAY_SEEN } from "./replay.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot } from "./sad-layout.js";
import { admits } from "./selector-check.js";

export const decapsulateCounters = {
  packets: "packets decapsulated",
  bytes: "bytes of inner packets decapsulated",
  dummies: "dummy packets (next header 59), which end here by design (RFC 4303 §2.6)",
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
const at = saSlot.at;
const STATE = at.state >>> 2;
const FLAGS = at.flags >>> 2;
const KEY_LENGTH = at.keyLength >>> 2;
const SALT = at.salt >>> 2;
const LAST_USE = at.lastUse >>> 2;
const PACKETS = at.packets >>> 3;
const BYTES = at.bytes >>> 3;

const OVERHEAD = ESP_HEADER + IV_BYTES + ICV_BYTES;
const NEXT_HEADER_IPV4 = 4;
const NEXT_HEADER_IPV6 = 41;
const NEXT_HEADER_NONE = 59;

export class Decapsulate implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly sad: Sad;
  private readonly words: Uint32Array;
  private readonly totals: Float64Array;
  private readonly aead: AeadBatch;
  private readonly clock: Clock;
  private readonly worker: number;
  private readonly batch = new Int32Array(MAX_BATCH);
  private readonly high = new Uint32Array(MAX_BATCH);
  private readonly inner: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };

  constructor(
    context: AppContext,
    sad: Sad,
    aead: AeadBatch,
    clock: Clock,
    worker: number,
    readonly input: Link,
    readonly output: Link,
  ) {
    this.counters = context.counters("decapsulate", decapsulateCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.sad = sad;
    this.words = sad.words;
    this.totals = new Float64Array(sad.words.buffer as ArrayBuffer);
    this.aead = aead;
    this.clock = clock;
    this.worker = worker;
  }

  readonly push = (): void => {
    let waiting = this.input.readable;
    while (waiting > 0) {
      const taken = waiting > MAX_BATCH ? MAX_BATCH : waiting;
      const count = this.prepare(taken);
      if (count > 0) {
        this.aead.run(count);
        for (let i = 0; i < count; i++) this.finish(i);
      }
      waiting -= taken;
    }
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  /** Finds SAs, asks the replay windows and sets the batch up for decryption. */
  private prepare(taken: number): number {
    const { input } = this;
    const frames = this.frames;
    const view = this.view;
    const words = this.words;
    this.aead.begin(taken);
    let count = 0;
    for (let i = 0; i < taken; i++) {
      const frame = input.receive();
      const esp = frames.offset[frame];
      const text = frames.length[frame] - OVERHEAD;
      if (text < 4 || (text & 3) !== 0) {
        this.drop(frame, COUNT["drop.too_short"]);
        continue;
      }
      const spi = view.getUint32(esp);
      const sa = this.sad.lookup(spi);
      if (sa < 0) {
        this.drop(frame, COUNT["drop.no_sa"]);
        continue;
      }
      const offset = this.sad.offset(sa);
      const slot = offset >>> 2;
      const flags = words[slot + FLAGS];
      if (words[slot + STATE] !== SaState.active || (flags & SaFlag.inbound) === 0) {
        this.drop(frame, COUNT["drop.no_sa"]);
        continue;
      }
      if ((flags & SaFlag.expired) !== 0) {
        this.drop(frame, COUNT["drop.sa_expired"]);
        continue;
      }
      const low = view.getUint32(esp + 4);
      const extended = flags & SaFlag.extendedSequenceNumbers;
      const high = extended !== 0 ? inferHigh(words, slot, low) : 0;
      if (high < 0) {
        this.drop(frame, COUNT["drop.too_old"]);
        continue;
      }
      const replay = checkReplay(words, slot, high, low);
      if (replay !== REPLAY_OK) {
        this.drop(frame, replay === REPLAY_SEEN ? COUNT["drop.replayed"] : COUNT["drop.too_old"]);
        continue;
      }
      frames.sa[frame] = sa;
      this.high[count] = high;
      this.aead.set(
        count,
        offset,
        words[slot + KEY_LENGTH],
        words[slot + SALT],
        view.getUint32(esp + 8),
        view.getUint32(esp + 12),
        spi,
        extended,
        high,
        low,
        esp + ESP_HEADER + IV_BYTES,
        text,
      );
      this.batch[count++] = frame;
    }
    return count;
  }

  /** Takes packet `i` of the batch, which is decrypted, through the checks that need its content. */
  private finish(i: number): void {
    const frames = this.frames;
    const view = this.view;
    const words = this.words;
    const frame = this.batch[i];
    if (!this.aead.authentic(i)) return this.drop(frame, COUNT["drop.bad_icv"]);

    const offset = this.sad.offset(frames.sa[frame]);
    const slot = offset >>> 2;
    const esp = frames.offset[frame];
    const low = view.getUint32(esp + 4);
    const high = this.high[i];
    // Again, because the same number may have come twice in this batch.
    const replay = checkReplay(words, slot, high, low);
    if (replay !== REPLAY_OK)
      return this.drop(frame, replay === REPLAY_SEEN ? COUNT["drop.replayed"] : COUNT["drop.too_old"]);
    markReplay(words, slot, high, low);

    const text = frames.length[frame] - OVERHEAD;
    const start = esp + ESP_HEADER + IV_BYTES;
    const end = start + text;
    const pad = view.getUint8(end - 2);
    const nextHeader = view.getUint8(end - 1);
    const payload = text - 2 - pad;
    if (payload < 0) return this.drop(frame, COUNT["drop.bad_padding"]);
    for (let p = 0, q = start + payload; p < pad; p++)
      if (view.getUint8(q + p) !== ((p + 1) & 0xff)) return this.drop(frame, COUNT["drop.bad_padding"]);
    if (nextHeader !== NEXT_HEADER_IPV4 && nextHeader !== NEXT_HEADER_IPV6)
      return this.drop(
        frame,
        nextHeader === NEXT_HEADER_NONE ? COUNT.dummies : COUNT["drop.bad_next_header"],
      );

    const inner = this.inner;
    if (parseInner(inner, view, start, payload, nextHeader === NEXT_HEADER_IPV4) === INNER_MALFORMED)
      return this.drop(frame, COUNT["drop.bad_inner"]);
    if (!admits(words, slot, view, start, inner)) return this.drop(frame, COUNT["drop.selectors"]);
    if (
      adjustInner(view, start, inner.isIpv4, frames.outer[frame], words[slot + FLAGS]) === INNER_CE_ON_NOT_ECT
    )
      return this.drop(frame, COUNT["drop.ecn"]);

    const lane = (offset >>> 3) + this.worker;
    this.totals[lane + PACKETS]++;
    this.totals[lane + BYTES] += inner.length;
    words[slot + LAST_USE] = this.clock.seconds;
    this.counters[COUNT.packets]++;
    this.counters[COUNT.bytes] += inner.length;
    frames.offset[frame] = start;
    // Traffic flow confidentiality padding stands behind the inner packet's own length (RFC 4303 §2.7).
    frames.length[frame] = inner.length;
    this.output.transmit(frame);
  }
}
