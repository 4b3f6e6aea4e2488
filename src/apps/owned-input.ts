// What arrives on a link that Vita owns and is not ESP: ARP and neighbour discovery, echo requests, IKE for charon, and,
// if so configured, everything else for the interface's addresses, which goes to the kernel.
//
//   classify → owned-input → arp, neighbour-discovery, icmp-echo → the same port
//                          → punt → the kernel
//
// `classify` has seen to it that IP headers are valid and lie within the frame.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from "../net/ethernet.js";
import { ECHO_REQUEST4, ECHO_REQUEST6 } from "../net/icmp-echo.js";
import { ND_ADVERTISEMENT, ND_SOLICITATION } from "../net/icmpv6-nd.js";
import { DESTINATION_PORT, isErrorAboutIke, isIke } from "../net/ike-packets.js";
import { ICMPV6, IPV6_HEADER } from "../net/ipv6.js";
import { MLD_QUERY } from "../net/mld.js";
import type { Arp } from "./arp.js";
import type { ClearText } from "./clear-text.js";
import type { IcmpEcho } from "./icmp-echo.js";
import type { NeighbourDiscovery } from "./neighbour-discovery.js";
import type { Punt } from "./punt.js";
import type { Station } from "./station.js";

export const ownedInputCounters = {
  groups: "broadcasts and multicasts that nobody here listens to",
  link: "ICMPv6 about the link that is not for us: router advertisements, redirects, reports",
  "drop.foreign": "Ethernet frames for another station",
  "drop.not_ip": "neither IPv4 nor IPv6 nor ARP",
  "drop.not_ours": "IP packets for an address that this interface does not have",
  "drop.source": "IP packets from an address of our own, or from one that nobody has",
  "drop.fragment": "fragments of something that does not go to the kernel: ESP above all",
  "drop.protected": "in the clear, though a policy wants it protected, or dropped",
  "drop.not_punted": "for an address of this interface, but neither ESP nor IKE nor an echo request",
} as const;

const COUNT = counterIndex(ownedInputCounters);

const ICMP = 1;
const ESP = 50;
const FRAGMENT = 44;
const HOP_BY_HOP = 0;

export interface OwnedInputParts {
  readonly station: Station;
  readonly arp: Arp;
  readonly discovery: NeighbourDiscovery;
  readonly echo: IcmpEcho;
  readonly punt: Punt;
  readonly clearText: ClearText;
  /** Does the kernel get more than IKE? */
  readonly puntAll: boolean;
}

export class OwnedInput implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;

  constructor(
    context: AppContext,
    private readonly parts: OwnedInputParts,
    readonly input: Link,
  ) {
    this.counters = context.counters("owned-input", ownedInputCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.bytes = context.frames.bytes;
  }

  readonly push = (): void => {
    const { input } = this;
    for (let n = input.readable; n > 0; n--) this.handle(input.receive());
  };

  private end(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private handle(frame: number): void {
    const { bytes, view } = this;
    const ethernet = this.frames.offset[frame];
    const isGroup = (bytes[ethernet] & 1) !== 0;
    if (!isGroup && !this.parts.station.isMac(bytes, ethernet)) return this.end(frame, COUNT["drop.foreign"]);
    const type = view.getUint16(ethernet + 12);
    if (type === ETHERTYPE_ARP) return this.parts.arp.handle(frame);
    const ip = ethernet + ETHERNET_HEADER;
    // What is neither of these two has not passed classify's checks.
    if (type === ETHERTYPE_IPV4) return this.ipv4(frame, ip, isGroup);
    if (type === 0x86dd) return this.ipv6(frame, ip, isGroup);
    this.end(frame, COUNT["drop.not_ip"]);
  }

  private ipv4(frame: number, ip: number, isGroup: boolean): void {
    const { view, parts } = this;
    if (!parts.station.has4(view, ip + 16)) {
      const many = isGroup || view.getUint8(ip + 16) >= 224;
      return this.end(frame, many ? COUNT.groups : COUNT["drop.not_ours"]);
    }
    const source = view.getUint8(ip + 12);
    if (isGroup || source === 0 || source === 127 || source >= 224 || parts.station.has4(view, ip + 12))
      return this.end(frame, COUNT["drop.source"]);
    const header = (view.getUint8(ip) & 15) << 2;
    const end = ip + view.getUint16(ip + 2);
    const protocol = view.getUint8(ip + 9);
    const isFragment = (view.getUint16(ip + 6) & 0x3fff) !== 0;
    if (
      protocol === ICMP &&
      header === 20 &&
      !isFragment &&
      ip + 28 <= end &&
      view.getUint16(ip + 20) === ECHO_REQUEST4 << 8
    )
      return this.answer(frame, ip, end, true);
    this.punt(frame, ip, end, true, isFragment, protocol);
  }

  private ipv6(frame: number, ip: number, isGroup: boolean): void {
    const { view, bytes, parts } = this;
    const { station } = parts;
    const end = ip + IPV6_HEADER + view.getUint16(ip + 4);
    const next = view.getUint8(ip + 6);
    const icmp = ip + IPV6_HEADER;
    const type = next === ICMPV6 && icmp + 8 <= end ? view.getUint8(icmp) : 0;
    if (type === ND_SOLICITATION || type === ND_ADVERTISEMENT) return parts.discovery.handle(frame, end);
    if (view.getUint8(ip + 24) === 0xff) {
      if (this.isListenerQuery(ip, end)) parts.discovery.report();
      return this.end(frame, COUNT.groups);
    }
    if (!station.has6(view, bytes, ip + 24)) return this.end(frame, COUNT["drop.not_ours"]);
    if (isGroup || !isUnicast6(view, ip + 8) || station.has6(view, bytes, ip + 8))
      return this.end(frame, COUNT["drop.source"]);
    if (type === ECHO_REQUEST6 && view.getUint8(icmp + 1) === 0) return this.answer(frame, ip, end, false);
    if (type >= MLD_QUERY) return this.end(frame, COUNT.link);
    this.punt(frame, ip, end, false, next === FRAGMENT, next);
  }

  private answer(frame: number, ip: number, end: number, isIpv4: boolean): void {
    if (!this.mayEnter(ip, end, isIpv4)) return this.end(frame, COUNT["drop.protected"]);
    this.parts.echo.answer(frame, isIpv4, end);
  }

  private mayEnter(ip: number, end: number, isIpv4: boolean): boolean {
    return this.parts.clearText.enters(this.view, this.bytes, ip, end - ip, isIpv4);
  }

  /** RFC 3810 §5.1: behind a router alert. Directly behind the header a query is invalid. */
  private isListenerQuery(ip: number, end: number): boolean {
    const { view } = this;
    const options = ip + IPV6_HEADER;
    if (view.getUint8(ip + 6) !== HOP_BY_HOP || options + 8 + 24 > end || view.getUint8(ip + 7) !== 1)
      return false;
    return (
      view.getUint8(options) === ICMPV6 &&
      view.getUint8(options + 1) === 0 &&
      view.getUint8(options + 8) === MLD_QUERY
    );
  }

  private punt(
    frame: number,
    ip: number,
    end: number,
    isIpv4: boolean,
    isFragment: boolean,
    protocol: number,
  ): void {
    const { view, parts } = this;
    const isForCharon =
      isIke(view, ip, end, isIpv4, DESTINATION_PORT) ||
      (!isFragment && isErrorAboutIke(view, ip, end, isIpv4));
    // The kernel has no ESP. It would answer that it has not, in place of Vita, which has.
    const isEsp =
      protocol === ESP || (protocol === FRAGMENT && ip + 48 <= end && view.getUint8(ip + 40) === ESP);
    if (!isForCharon && (!parts.puntAll || isEsp))
      return this.end(frame, isFragment ? COUNT["drop.fragment"] : COUNT["drop.not_punted"]);
    if (!isForCharon && !this.mayEnter(ip, end, isIpv4)) return this.end(frame, COUNT["drop.protected"]);
    parts.punt.toKernel(frame, ip, end, isForCharon);
  }
}

/** Neither `::` and `::1` nor a group. */
function isUnicast6(view: DataView, at: number): boolean {
  if (view.getUint8(at) === 0xff) return false;
  return (
    (view.getUint32(at) | view.getUint32(at + 4) | view.getUint32(at + 8)) !== 0 ||
    view.getUint32(at + 12) > 1
  );
}
