// The private side's first app: takes the Ethernet header off and checks the IP header as a router must (RFC 1812 §5.2,
// RFC 8200). Where Vita is the router between the private link and the tunnel it also counts the TTL down; what came
// through a TUN device was routed by the kernel already.
//
// IP packets, trimmed to the length in their header, are handed over one by one: what decides about them is called from
// here while their header is at hand.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { offHeapInt32 } from "../memory/off-heap.js";
import { decrementTtl, isChecksumRight, ttlCountedDown } from "../net/ipv4.js";
import { Ipv4Train, ipv4Length } from "../net/ipv4-train.js";
import type { IcmpErrors } from "./icmp-errors.js";

export const ipInputCounters = {
  packets: "packets received from the private side",
  bytes: "bytes of IP received from the private side",
  "drop.not_ip": "neither IPv4 nor IPv6",
  "drop.bad_header": "IP header is malformed, or its length exceeds the frame",
  "drop.bad_checksum": "IPv4 header checksum is wrong",
  "drop.ttl": "TTL or hop limit exhausted; the sender is told",
} as const;

const COUNT = counterIndex(ipInputCounters);
const COUNT_PACKETS = COUNT.packets;
const COUNT_BYTES = COUNT.bytes;
// Names of this module's own, which V8 compiles in.
const isRight = isChecksumRight;
const countDown = decrementTtl;
const countedDown = ttlCountedDown;
const lengthOf = ipv4Length;
const ETHERNET_HEADER = 14;
const ETHERTYPE_IPV4 = 0x0800;
/** The same as it lies in memory, read by this machine. */
const IPV4_IN_MEMORY = 0x0008;
const ETHERTYPE_IPV6 = 0x86dd;

/** Where IP packets go. */
export interface IpSink {
  /**
   * Takes the packet of `length` bytes that begins at `ip` and came in by a port. Owns the frame.
   * @returns a ticket for the packets that follow; 0 when this one does not speak for them
   */
  take(frame: number, ip: number, length: number, port: number): number;
  /**
   * The same for a packet whose header has the first two bytes, protocol and addresses of the one for which the sink returned
   * `ticket`, and which came in by the same port.
   */
  takeNext(frame: number, ip: number, length: number, port: number, ticket: number): number;
  /**
   * Is told of the packets that are going to be taken off a link, before the first one comes.
   * @param skip bytes of each in front of its IP header
   */
  foresee(link: Link, count: number, skip: number, port: number): void;
}

export class IpInput implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly errors: IcmpErrors;
  private readonly port: number;
  private readonly ethernet: boolean;
  private readonly train = new Ipv4Train();
  /** What the sink said to the first packet of the train. */
  private readonly ticket = offHeapInt32(1);

  /** @param port number of the port that the link comes from */
  constructor(
    context: AppContext,
    errors: IcmpErrors,
    port: number,
    kind: "ethernet" | "ip",
    readonly input: Link,
    private readonly sink: IpSink,
  ) {
    this.counters = context.counters("ip-input", ipInputCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.lanes = context.frames.lanes;
    this.errors = errors;
    this.port = port;
    this.ethernet = kind === "ethernet";
  }

  readonly push = (): void => {
    const { input } = this;
    const count = input.readable;
    let dropped = 0;
    let bytes = 0;
    this.sink.foresee(input, count, this.ethernet ? ETHERNET_HEADER : 0, this.port);
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const length = this.check(input.at(i));
      if (length === 0) dropped = (dropped + 1) | 0;
      bytes = (bytes + length) | 0;
    }
    input.advance(count);
    this.counters[COUNT_PACKETS] += count - dropped;
    this.counters[COUNT_BYTES] += bytes;
  };

  /** @returns 0, for those who would return the packet's length if it were not dropped */
  private drop(frame: number, reason: number): number {
    this.counters[reason]++;
    this.frames.free(frame);
    return 0;
  }

  /** @returns bytes of the IP packet; 0 when it is none */
  private check(frame: number): number {
    const { frames, ethernet, train } = this;
    let ip = frames.offset[frame] | 0;
    let length = frames.length[frame] | 0;
    if (ethernet) {
      ip = (ip + ETHERNET_HEADER) | 0;
      length = (length - ETHERNET_HEADER) | 0;
    }
    if ((ip & 3) !== 0) ip = this.align(frame);
    if (length < 20) return this.drop(frame, COUNT["drop.bad_header"]);
    // As they lie in memory.
    const { at0, at1, at2, at3, at4, at5 } = this.lanes;
    const word = ((ip >> 2) - 1) | 0;
    const first = at1[word];
    const third = at3[word];
    const total = lengthOf(first);
    if (
      train.continues(first, third, at4[word], at5[word]) &&
      total <= length &&
      total >= 20 &&
      (!ethernet || at0[word] >>> 16 === IPV4_IN_MEMORY)
    ) {
      if (!train.isChecksumRight(first, at2[word], third))
        return this.drop(frame, COUNT["drop.bad_checksum"]);
      // The first packet of the train had a TTL that can be counted down.
      if (ethernet) at3[word] = countedDown(third);
      this.ticket[0] = this.sink.takeNext(frame, ip, total, this.port, this.ticket[0]);
      return total;
    }
    return this.checkFirst(frame, ip, length);
  }

  /** Moves a packet whose IP header does not begin at a multiple of four. @returns where that begins now */
  private align(frame: number): number {
    const skip = this.ethernet ? ETHERNET_HEADER : 0;
    this.frames.align(frame, skip);
    return this.frames.offset[frame] + skip;
  }

  /** The same for a packet that is not like the one before. */
  private checkFirst(frame: number, ip: number, length: number): number {
    const { view, ethernet, train } = this;
    const first = view.getInt32(ip);
    const version = first >>> 28;
    train.end();
    if (ethernet) {
      const type = view.getUint16(ip - 2);
      if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return this.drop(frame, COUNT["drop.not_ip"]);
      if ((type === ETHERTYPE_IPV4) !== (version === 4)) return this.drop(frame, COUNT["drop.bad_header"]);
    }
    let total = 0;
    if (version === 4) {
      const header = (first >>> 22) & 0x3c;
      total = first & 0xffff;
      if (header < 20 || total < header || total > length) return this.drop(frame, COUNT["drop.bad_header"]);
      if (!isRight(view, ip, header)) return this.drop(frame, COUNT["drop.bad_checksum"]);
    } else if (version === 6) {
      total = 40 + view.getUint16(ip + 4);
      if (length < 40 || total > length) return this.drop(frame, COUNT["drop.bad_header"]);
    } else return this.drop(frame, COUNT["drop.not_ip"]);
    const third = view.getInt32(ip + 8, true);
    if (ethernet && !countDown(view, ip, version === 4)) this.expire(frame, ip, total);
    else {
      const source = view.getInt32(ip + 12, true);
      if (first >>> 24 === 0x45)
        train.begin(view.getInt32(ip, true), third, source, view.getInt32(ip + 16, true));
      this.ticket[0] = this.sink.take(frame, ip, total, this.port);
    }
    return total;
  }

  private expire(frame: number, ip: number, length: number): void {
    const { frames } = this;
    frames.offset[frame] = ip;
    frames.length[frame] = length;
    frames.port[frame] = this.port;
    this.counters[COUNT["drop.ttl"]]++;
    this.errors.timeExceeded(frame);
  }
}
