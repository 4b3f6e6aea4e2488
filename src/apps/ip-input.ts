// The private side's first app: takes the Ethernet header off and checks the IP header as a router must (RFC 1812 §5.2,
// RFC 8200). Where Vita is the router between the private link and the tunnel it also counts the TTL down; what came
// through a TUN device was routed by the kernel already.
//
// Out go IP packets, trimmed to the length in their header.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { sum16, update16 } from "../net/checksum.js";
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
const ETHERNET_HEADER = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;

export class IpInput implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly errors: IcmpErrors;
  private readonly port: number;
  private readonly ethernet: boolean;

  /** @param port number of the port that the link comes from */
  constructor(
    context: AppContext,
    errors: IcmpErrors,
    port: number,
    kind: "ethernet" | "ip",
    readonly input: Link,
    readonly output: Link,
  ) {
    this.counters = context.counters("ip-input", ipInputCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.errors = errors;
    this.port = port;
    this.ethernet = kind === "ethernet";
  }

  readonly push = (): void => {
    const { input } = this;
    for (let n = input.readable; n > 0; n--) this.check(input.receive());
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private check(frame: number): void {
    const frames = this.frames;
    const view = this.view;
    let ip = frames.offset[frame];
    let length = frames.length[frame];
    if (this.ethernet) {
      ip += ETHERNET_HEADER;
      length -= ETHERNET_HEADER;
    }
    if (length < 20) return this.drop(frame, COUNT["drop.bad_header"]);
    const first = view.getUint8(ip);
    const version = first >>> 4;
    if (this.ethernet) {
      const type = view.getUint16(ip - 2);
      if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return this.drop(frame, COUNT["drop.not_ip"]);
      if ((type === ETHERTYPE_IPV4) !== (version === 4)) return this.drop(frame, COUNT["drop.bad_header"]);
    }
    frames.offset[frame] = ip;
    frames.port[frame] = this.port;
    if (version === 4) {
      const header = (first & 15) << 2;
      const total = view.getUint16(ip + 2);
      if (header < 20 || total < header || total > length) return this.drop(frame, COUNT["drop.bad_header"]);
      let sum = header === 20 ? headerSum(view, ip) : sum16(view, ip, header, 0);
      sum = (sum & 0xffff) + (sum >>> 16);
      if ((sum & 0xffff) + (sum >>> 16) !== 0xffff) return this.drop(frame, COUNT["drop.bad_checksum"]);
      frames.length[frame] = total;
    } else if (version === 6) {
      const total = 40 + view.getUint16(ip + 4);
      if (length < 40 || total > length) return this.drop(frame, COUNT["drop.bad_header"]);
      frames.length[frame] = total;
    } else return this.drop(frame, COUNT["drop.not_ip"]);
    this.counters[COUNT.packets]++;
    this.counters[COUNT.bytes] += frames.length[frame];
    if (this.ethernet && !decrementTtl(view, ip, version === 4)) {
      this.counters[COUNT["drop.ttl"]]++;
      return this.errors.timeExceeded(frame);
    }
    this.output.transmit(frame);
  }
}

function headerSum(view: DataView, ip: number): number {
  const a = view.getUint32(ip);
  const b = view.getUint32(ip + 4);
  const c = view.getUint32(ip + 8);
  const d = view.getUint32(ip + 12);
  const e = view.getUint32(ip + 16);
  return (
    (a >>> 16) +
    (a & 0xffff) +
    (b >>> 16) +
    (b & 0xffff) +
    (c >>> 16) +
    (c & 0xffff) +
    (d >>> 16) +
    (d & 0xffff) +
    (e >>> 16) +
    (e & 0xffff)
  );
}

/** Counts TTL or hop limit down by one. @returns false, and changes nothing, when it is used up. */
export function decrementTtl(view: DataView, ip: number, isIpv4: boolean): boolean {
  if (isIpv4) {
    const before = view.getUint16(ip + 8);
    if (before < 0x0200) return false;
    view.setUint16(ip + 8, before - 0x0100);
    view.setUint16(ip + 10, update16(view.getUint16(ip + 10), before, before - 0x0100));
    return true;
  }
  const limit = view.getUint8(ip + 7);
  if (limit < 2) return false;
  view.setUint8(ip + 7, limit - 1);
  return true;
}
