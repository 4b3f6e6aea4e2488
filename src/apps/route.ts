// Routes IP packets on the private side: what came out of tunnels, and errors for senders there. Packets for this machine
// itself go to the TUN device, if the gateway has one; packets to be forwarded have their TTL counted down.
//
// The decapsulating app calls this one packet by packet; errors come by a link.
//
// A packet goes to ports of a domain that its SA is for (sa-domains.ts), by the routes of that domain; an error goes back
// into the domain that it is about. Where an SA is for several domains, the first one that has a route is taken.
//
// What no private port leads to goes on to the policies of its domain (hub.ts), which may have another tunnel for it.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Outlet } from "../ipsec/decapsulate.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { decrementTtl, ttlCountedDown } from "../net/ipv4.js";
import type { Entrances } from "./entrances.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";
import type { Fragmenter } from "./fragment.js";
import type { IcmpErrors } from "./icmp-errors.js";
import type { SaDomains } from "./sa-domains.js";
import type { Transmit } from "./transmit.js";

export const routeCounters = {
  packets: "packets routed, to the private side or onward",
  onward: "packets to destinations behind no private port: they go on to the policies, for another tunnel",
  "drop.no_domain":
    "the SA has an interface id or a mark that no private interface is bound to, or its mark is not known yet",
  "drop.no_route": "the table of next hops is full",
  "drop.local": "for this machine itself, and there is no TUN device to hand it over",
  "drop.ttl": "TTL or hop limit exhausted; the sender is told",
  "drop.too_big": "longer than the link carries, and must not be fragmented; the sender is told",
} as const;

const COUNT = counterIndex(routeCounters);
const COUNT_PACKETS = COUNT.packets;
// Names of this module's own, which V8 compiles in.
const countDown = decrementTtl;
const countedDown = ttlCountedDown;
const NOWHERE = NONE;
const TO_HOST = LOCAL;
const NO_ROUTE = UNREACHABLE;
const DF = 0x4000;
/** In place of a reason to drop. */
const ONWARD = -1;

export class Route implements App, Outlet {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly fib: Fib;
  private readonly fragmenter: Fragmenter;
  private readonly errors: IcmpErrors;
  /** By port number: 1 for private, 1 for Ethernet. */
  private readonly isPrivate: Uint8Array;
  private readonly isEthernet: Uint8Array;
  private readonly saDomains: SaDomains;
  private readonly entrances: Entrances;
  private readonly transmit: Transmit;
  private readonly domainOf: Uint8Array;
  /** By domain: port of the TUN device, or NONE; 1 where there is no other private port. */
  private readonly hosts: Int32Array;
  private readonly hostOnly: Uint8Array;

  // The SA of the last packet, and the domains that it is for; and where the packet under way goes: to a private port, or
  // onward by an entrance, and then nothing fits `mtu`.
  private sa = NOWHERE;
  private domains = 0;
  private port = NOWHERE;
  private hop = NOWHERE;
  private mtu = 0;
  private countsDown = 0;
  private packets = 0;
  /** 1 when what was found for the last packet holds for those of its SA to the same IPv4 destination; to which one. */
  private isKnown = 0;
  private destination = 0;
  /** `mtu` when the last packet has gone to the transmitting app, which knows its next hop; else less than any length. */
  private nextMtu = NOWHERE;

  constructor(
    context: AppContext,
    parts: {
      fib: Fib;
      fragmenter: Fragmenter;
      errors: IcmpErrors;
      saDomains: SaDomains;
      entrances: Entrances;
      transmit: Transmit;
    },
    ports: readonly { kind: "ethernet" | "ip"; side: "public" | "private" }[],
    readonly input: Link,
    /** For fragments of packets that are cut. */
    private readonly fragments: Link,
    /** To the policies. */
    private readonly onward: Link,
  ) {
    this.counters = context.counters("route", routeCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.lanes = context.frames.lanes;
    this.fib = parts.fib;
    this.fragmenter = parts.fragmenter;
    this.errors = parts.errors;
    this.isPrivate = Uint8Array.from(ports, ({ side }) => (side === "private" ? 1 : 0));
    this.isEthernet = Uint8Array.from(ports, ({ kind }) => (kind === "ethernet" ? 1 : 0));
    this.saDomains = parts.saDomains;
    this.entrances = parts.entrances;
    this.transmit = parts.transmit;
    const { count, ofPort } = parts.fib.domains;
    this.domainOf = ofPort;
    this.hosts = new Int32Array(count).fill(NONE);
    this.hostOnly = new Uint8Array(count).fill(1);
    ports.forEach(({ kind, side }, port) => {
      if (side !== "private") return;
      if (kind === "ip") this.hosts[ofPort[port]] = port;
      else this.hostOnly[ofPort[port]] = 0;
    });
    this.hosts.forEach((host, domain) => {
      if (host === NONE) this.hostOnly[domain] = 0;
    });
  }

  readonly push = (): void => {
    const { input, frames, view } = this;
    for (let n = input.readable; n > 0; n--) {
      const frame = input.receive();
      const ip = frames.offset[frame];
      this.take(frame, ip, frames.length[frame], view.getUint8(ip) >>> 4 === 4);
    }
    this.counters[COUNT_PACKETS] += this.packets;
    this.packets = 0;
    // What is known of an SA, and the routes, may have changed until the next time.
    this.sa = NOWHERE;
    this.isKnown = 0;
    this.nextMtu = NOWHERE;
  };

  take(frame: number, ip: number, length: number, isIpv4: boolean): void {
    const { view, frames } = this;
    const isLike =
      this.isKnown !== 0 &&
      isIpv4 &&
      frames.sa[frame] === this.sa &&
      view.getInt32(ip + 16) === this.destination;
    this.nextMtu = NOWHERE;
    if (!isLike) {
      const reason = this.look(frame, ip, isIpv4);
      if (reason !== 0) {
        this.counters[reason]++;
        frames.free(frame);
        return;
      }
    }
    this.packets = (this.packets + 1) | 0;
    if (this.countsDown !== 0 && !countDown(view, ip, isIpv4)) this.expire(frame, ip, length);
    else if (length > this.mtu) this.shorten(frame, ip, length, isIpv4);
    else {
      this.transmit.openHop(this.hop);
      this.transmit.send(frame, ip, length, isIpv4);
      this.nextMtu = this.mtu;
    }
  }

  /** See Outlet. */
  takeNext(frame: number, ip: number, length: number): void {
    // The packet before this one may have ended here.
    const { at6 } = this.lanes;
    const word = ((ip >> 2) - 4) | 0;
    const third = at6[word];
    if (length > this.nextMtu || (third & 0xfe) === 0) {
      this.frames.sa[frame] = this.sa;
      this.take(frame, ip, length, true);
      return;
    }
    if (this.countsDown !== 0) at6[word] = countedDown(third);
    this.packets = (this.packets + 1) | 0;
    this.transmit.send(frame, ip, length, true);
  }

  /** Notes of a packet that does not go on as it is what others need to know of it. */
  private keep(frame: number, ip: number, length: number): void {
    const { frames } = this;
    frames.offset[frame] = ip;
    frames.length[frame] = length;
    frames.nextHop[frame] = this.hop;
    // Errors speak from the private side: only its addresses lie in the tunnel's selectors. An entrance speaks from there, too.
    frames.port[frame] = this.port;
  }

  private expire(frame: number, ip: number, length: number): void {
    this.keep(frame, ip, length);
    this.counters[COUNT["drop.ttl"]]++;
    this.errors.timeExceeded(frame);
  }

  /** Finds port and next hop for a packet. @returns 0, or the counter of the reason why there are none */
  private look(frame: number, ip: number, isIpv4: boolean): number {
    const { frames } = this;
    const sa = frames.sa[frame];
    let domains = 0;
    this.isKnown = 0;
    if (sa === NOWHERE) domains = 1 << this.domainOf[frames.port[frame]];
    else {
      if (sa !== this.sa) {
        this.sa = sa;
        this.domains = this.saDomains.of(sa);
      }
      domains = this.domains;
    }
    if (domains === 0) return COUNT["drop.no_domain"];
    let reason = 0;
    let entrance = NOWHERE;
    do {
      const domain = 31 - Math.clz32(domains & -domains);
      reason = this.find(domain, ip, isIpv4);
      if (reason === ONWARD && entrance === NOWHERE) entrance = this.entrances.of(domain);
      domains &= domains - 1;
    } while (reason !== 0 && domains !== 0);
    if (reason === 0) {
      this.mtu = this.fib.mtu[this.port];
      this.countsDown = this.isEthernet[this.port];
    } else if (entrance !== NOWHERE) {
      this.port = entrance;
      this.mtu = 0;
      this.countsDown = 1;
    } else return reason;
    if (isIpv4 && sa !== NOWHERE) {
      this.isKnown = 1;
      this.destination = this.view.getInt32(ip + 16);
    }
    return 0;
  }

  /**
   * Looks for a way to the packet's destination through a private port of a domain.
   * @returns 0; ONWARD when none leads there; or the counter of the reason why there is none
   */
  private find(domain: number, ip: number, isIpv4: boolean): number {
    const { fib, view } = this;
    const host = this.hosts[domain];
    this.port = host;
    this.hop = NOWHERE;
    if (this.hostOnly[domain] === 0) {
      const route = fib.routeIn(domain, view, ip, isIpv4);
      if (route === NO_ROUTE) return ONWARD;
      if (route === TO_HOST) {
        if (host === NOWHERE) return COUNT["drop.local"];
      } else {
        this.port = fib.routePort(route);
        if (this.isPrivate[this.port] === 0) return ONWARD;
        this.hop = isIpv4 ? fib.hop4(route, view.getInt32(ip + 16)) : fib.hop6(route, view, ip + 24);
        if (this.hop === NOWHERE) return COUNT["drop.no_route"];
      }
    }
    if (this.hop === NOWHERE) this.hop = fib.hops.device(this.port);
    return 0;
  }

  /** The fragments go at once, before what follows: the order of packets stays. */
  private cut(frame: number): void {
    const { frames, fragments, transmit } = this;
    this.fragmenter.fragment(frame, this.mtu, fragments);
    transmit.openHop(this.hop);
    for (let n = fragments.readable; n > 0; n--) {
      const piece = fragments.receive();
      transmit.send(piece, frames.offset[piece], frames.length[piece], true);
    }
  }

  private goOnward(frame: number): void {
    this.counters[COUNT.onward]++;
    this.onward.transmit(frame);
  }

  /** Cuts a packet that is too long for the link, or tells its sender; or it goes on, and the policies know what fits. */
  private shorten(frame: number, ip: number, length: number, isIpv4: boolean): void {
    this.keep(frame, ip, length);
    if (this.port >= this.entrances.first) this.goOnward(frame);
    else if (isIpv4 && (this.view.getUint16(ip + 6) & DF) === 0) this.cut(frame);
    else {
      this.counters[COUNT["drop.too_big"]]++;
      this.errors.tooBig(frame, this.mtu);
    }
  }
}
