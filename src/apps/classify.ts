// The public side's first app: takes the Ethernet header off, checks the outer IP header, and finds the ESP packet, bare
// (protocol 50) or in UDP (RFC 3948). Everything else that comes this way is dropped and counted: the port hands over
// only what Vita asked for, the kernel has the rest. On a link that Vita owns there is nobody else, and all that is well
// formed and not ESP goes on to `rest`, Ethernet header and all.
//
// ESP packets are handed over one by one: the decapsulating app, called from here, sets each of them up for decryption while
// its header is at hand.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { EspSink } from "../ipsec/decapsulate.js";
import type { Frames } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { isChecksumRight } from "../net/ipv4.js";
import { Ipv4Train, ipv4Length } from "../net/ipv4-train.js";

export const classifyCounters = {
  packets: "ESP packets received, bare or in UDP",
  keepalives: "NAT keepalives (RFC 3948 §2.3), which end here by design",
  "drop.not_ip": "neither IPv4 nor IPv6",
  "drop.bad_header": "outer IP header is malformed, or its length exceeds the frame",
  "drop.bad_checksum": "outer IPv4 header checksum is wrong",
  "drop.fragment": "a fragment: ESP is reassembled by the kernel, which has none",
  "drop.not_esp": "neither ESP nor ESP in UDP on port 4500",
  "drop.ike": "IKE (non-ESP marker) came to the data path instead of to charon",
} as const;

const COUNT = counterIndex(classifyCounters);
// Names of this module's own, which V8 compiles in.
const isRight = isChecksumRight;
const lengthOf = ipv4Length;
const COUNT_PACKETS = COUNT.packets;
// As they lie in memory, read by this machine.
const ETHERTYPE_IPV4 = 0x0008;
const ETHERTYPE_IPV6 = 0xdd86;
/** Fragment offset and "more fragments" in the second word of an IPv4 header. */
const FRAGMENT = 0xff3f_0000;
const ETHERNET_HEADER = 14;
const ESP = 50;
const UDP = 17;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const DESTINATION_OPTIONS = 60;
const NAT_T_PORT = 4500;
const KEEPALIVE = 0xff;

export class Classify implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly train = new Ipv4Train();
  /** What `walk` found: the protocol behind the extension headers, and bytes of header up to it. */
  private protocol = 0;
  private header = 0;

  constructor(
    context: AppContext,
    readonly input: Link,
    private readonly sink: EspSink,
    /** Where the rest goes; nowhere when the kernel has it. */
    readonly rest?: Link,
  ) {
    this.counters = context.counters("classify", classifyCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.lanes = context.frames.lanes;
  }

  readonly push = (): void => {
    const { input } = this;
    const count = input.readable;
    let packets = 0;
    this.sink.resume(this.train.first);
    this.sink.foresee(input, count);
    for (let i = 0; i < count; i++) packets += this.classify(input.at(i));
    input.advance(count);
    this.counters[COUNT_PACKETS] += packets;
  };

  /** @returns 0, for those who would return whether the packet goes on */
  private drop(frame: number, reason: number): 0 {
    this.counters[reason]++;
    this.frames.free(frame);
    return 0;
  }

  /** Moves a packet whose IP header does not begin at a multiple of four. @returns where that begins now */
  private align(frame: number): number {
    this.frames.align(frame, ETHERNET_HEADER);
    return this.frames.offset[frame] + ETHERNET_HEADER;
  }

  /** Well formed, but not ESP. */
  private refuse(frame: number, reason: number): 0 {
    if (!this.rest) return this.drop(frame, reason);
    this.rest.transmit(frame);
    return 0;
  }

  /** Walks the IPv6 headers that may stand in front of ESP; what runs beyond the packet is not ESP. */
  private walk(ip: number, end: number): void {
    const { view } = this;
    let next = view.getUint8(ip + 6);
    let at = ip + 40;
    while (next === HOP_BY_HOP || next === ROUTING || next === DESTINATION_OPTIONS) {
      const after = at + 8 <= end ? at + ((view.getUint8(at + 1) + 1) << 3) : end + 1;
      if (after > end) break;
      next = view.getUint8(at);
      at = after;
    }
    this.protocol = next;
    this.header = at - ip;
  }

  /** @returns 1 if this is an ESP packet; the others have ended here, or gone to `rest` */
  private classify(frame: number): number {
    const { frames, train } = this;
    const length = (frames.length[frame] - ETHERNET_HEADER) | 0;
    let ip = (frames.offset[frame] + ETHERNET_HEADER) | 0;
    if ((ip & 3) !== 0) ip = this.align(frame);
    if (length < 20) return this.drop(frame, COUNT["drop.bad_header"]);
    // As they lie in memory.
    const { at0, at1, at2, at3, at4, at5 } = this.lanes;
    const word = ((ip >> 2) - 1) | 0;
    const first = at1[word];
    const third = at3[word];
    const total = lengthOf(first);
    // A train's packets are all of one protocol, and only ESP makes one.
    if (
      train.continues(first, third, at4[word], at5[word]) &&
      total <= length &&
      total >= 20 &&
      at0[word] >>> 16 === ETHERTYPE_IPV4
    ) {
      const second = at2[word];
      if (!train.isChecksumRight(first, second, third)) return this.drop(frame, COUNT["drop.bad_checksum"]);
      if ((second & FRAGMENT) !== 0) return this.refuse(frame, COUNT["drop.fragment"]);
      this.sink.takeNext(frame, ip, (ip + 20) | 0, word, (total - 20) | 0);
      return 1;
    }
    return this.classifyFirst(frame, ip, length);
  }

  /** The same for a packet that is not like the one before. */
  private classifyFirst(frame: number, ip: number, length: number): number {
    const { view, train } = this;
    const { at0, at1, at2, at3, at4, at5 } = this.lanes;
    const word = ((ip >> 2) - 1) | 0;
    const type = at0[word] >>> 16;
    const first = at1[word];
    const third = at3[word];
    let header = 20;
    let total = lengthOf(first);
    let protocol = (third >>> 8) & 0xff;
    train.end();
    if (type === ETHERTYPE_IPV4) {
      header = (first & 0x0f) << 2;
      if ((first & 0xf0) !== 0x40 || header < 20 || total < header || total > length)
        return this.drop(frame, COUNT["drop.bad_header"]);
      if (!isRight(view, ip, header)) return this.drop(frame, COUNT["drop.bad_checksum"]);
      if ((at2[word] & FRAGMENT) !== 0) return this.refuse(frame, COUNT["drop.fragment"]);
      if (header === 20 && protocol === ESP) train.begin(first, third, at4[word], at5[word]);
    } else if (type === ETHERTYPE_IPV6) {
      header = 40;
      total = 40 + view.getUint16(ip + 4);
      if (length < 40 || view.getUint8(ip) >>> 4 !== 6 || total > length)
        return this.drop(frame, COUNT["drop.bad_header"]);
      protocol = view.getUint8(ip + 6);
      if (protocol !== ESP && protocol !== UDP) {
        // In transport mode the sender's own extension headers stand in front of ESP (RFC 4303 §3.1.1).
        this.walk(ip, ip + total);
        protocol = this.protocol;
        header = this.header;
      }
    } else return this.refuse(frame, COUNT["drop.not_ip"]);

    let esp = (ip + header) | 0;
    let espLength = (total - header) | 0;
    if (protocol === UDP) {
      if (espLength < 8) return this.drop(frame, COUNT["drop.bad_header"]);
      const udpLength = view.getUint16(esp + 4);
      if (udpLength < 8 || udpLength > espLength) return this.drop(frame, COUNT["drop.bad_header"]);
      if (view.getUint16(esp + 2) !== NAT_T_PORT) return this.refuse(frame, COUNT["drop.not_esp"]);
      esp += 8;
      espLength = udpLength - 8;
      if (espLength === 1 && view.getUint8(esp) === KEEPALIVE) return this.drop(frame, COUNT.keepalives);
      if (espLength < 8) return this.refuse(frame, COUNT["drop.not_esp"]);
      if (view.getUint32(esp) === 0) return this.refuse(frame, COUNT["drop.ike"]);
    } else if (protocol !== ESP) return this.refuse(frame, COUNT["drop.not_esp"]);
    this.sink.take(frame, ip, esp, ((esp >> 2) - 6) | 0, espLength, first);
    return 1;
  }
}
