// The outbound policy decision (RFC 4301 §5.1): IP packets from the private side, or out of another tunnel (hub.ts), meet the
// SPD and go to the encapsulating app with the SA that protects them, or leave in the clear where a policy says so, or end
// here. What came out of a tunnel never leaves in the clear. A packet whose policy has no SA that can be used waits for one
// (hold-queue.ts). A packet too long for the tunnel is cut where it may be, else its sender is told what fits.
//
// In transport mode only this host's own packets are protected, and they must be whole (RFC 4303 §3.3.4). The kernel hands
// over what it sends to an address, protocol and port that some policy wants protected; what matches no policy after all
// (another source address, another type of ICMP) leaves in the clear, as it would without Vita.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Encapsulate } from "../ipsec/encapsulate.js";
import { innerMtu } from "../ipsec/esp-format.js";
import { INNER_MALFORMED, type InnerPacket, parseInner } from "../ipsec/inner.js";
import type { Sad } from "../ipsec/sad.js";
import { SaFlag, saSlot } from "../ipsec/sad-layout.js";
import { transportPort } from "../ipsec/selector-check.js";
import type { SpdIndex } from "../ipsec/spd-index.js";
import { NARROWED, PolicyType } from "../ipsec/spd-layout.js";
import { type Frames, NONE } from "../memory/frames.js";
import { offHeapInt32 } from "../memory/off-heap.js";
import { NO_MATCH } from "../net/lpm.js";
import type { Bindings } from "./bindings.js";
import type { Entrances } from "./entrances.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";
import type { Fragmenter } from "./fragment.js";
import { GONE, type HoldQueue, ENDED as NOT_WAITING } from "./hold-queue.js";
import type { IcmpErrors } from "./icmp-errors.js";
import type { IpSink } from "./ip-input.js";
import { OutboundForesight } from "./outbound-foresight.js";
import type { SaRoutes } from "./sa-routes.js";

export const protectCounters = {
  bypassed: "packets that a pass policy let out in the clear",
  unprotected: "packets of this host to a peer in transport mode that match no policy: sent in the clear",
  "drop.no_policy": "no policy matches: what is not allowed is discarded (RFC 4301 §5.1)",
  "drop.policy": "a drop policy matches",
  "drop.public":
    "no private port and no policy to protect it: what came out of a tunnel does not go back in the clear",
  "drop.no_sa": "the policy asks for protection, but there is no SA, and nobody to ask for one",
  "drop.narrowed":
    "a trap matches, but its SA does not cover the packet: the peer has narrowed the selectors",
  "drop.no_route": "no route to the tunnel's far end, or to the destination of a bypassed packet",
  "drop.interface": "the policy is bound to an interface, and the way leads out by another",
  "drop.too_big": "longer than the tunnel carries, and must not be fragmented; the sender is told",
  "drop.malformed": "extension headers run beyond the packet",
  "drop.not_host": "transport mode protects packets of this host itself, not those of its networks",
} as const;

const COUNT = counterIndex(protectCounters);
const NOWHERE = NONE;
/** In place of an MTU: the way leads out by another interface than the policy's. */
const ASTRAY = -2;
const NO_ENTRY = NO_MATCH;
const MALFORMED = INNER_MALFORMED;
const parse = parseInner;
const { ipsec: PROTECT, pass: PASS } = PolicyType;
const NARROW = NARROWED;
const portOf = transportPort;
const FLAGS = saSlot.at.flags >>> 2;
const EXPIRED = SaFlag.expired;
const { transport: TRANSPORT_MODE } = SaFlag;
const DF = 0x4000;
const MIN_IPV6_MTU = 1280;

// What becomes of a packet: it has ended here or gone its own way, goes to the encapsulating app, or waits for an SA.
const ENDED = 0;
const GOES_ON = 1;
const WAITS = 2;
const ON_ITS_WAY = GONE;
const NO_MORE = NOT_WAITING;

// For which packets the last one speaks.
const TICKET = 0;
const LIMIT = 1;
const LIKENESS = 2;
const ADDRESSES = 0;
const FLOW = 1;
const NOBODY = -1;

export class Protect implements App, IpSink {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly index: SpdIndex;
  private readonly sad: Sad;
  private readonly routes: SaRoutes;
  private readonly fib: Fib;
  private readonly fragmenter: Fragmenter;
  private readonly entrances: Entrances;
  private readonly errors: IcmpErrors;
  private readonly farErrors: IcmpErrors;
  private readonly bindings: Bindings;
  private readonly queue: HoldQueue;
  private readonly foresight: OutboundForesight;
  private readonly encapsulate: Encapsulate;
  private readonly largest: number;
  private readonly fragments: Link;
  private readonly bypass: Link;
  /** Changes of the index when waiting packets had their last look. */
  private seen = 0;
  private readonly packet: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };
  /** By number of a port or an entrance: its domain, and 1 where packets of this host itself come in, or ESP goes. */
  private readonly domainOf: Uint8Array;
  private readonly isHost: Uint8Array;
  private readonly isPublic: Uint8Array;

  // The entry that the last packet matched: its verdict, its SA and how long a packet that carries; NONE for none.
  private entry = NO_ENTRY;
  private type = 0;
  private sa = NOWHERE;
  private mtu = NOWHERE;
  /** How long a packet the way carries, where the configuration wants shorter ones. */
  private room = NOWHERE;
  /** In transport mode packets are not cut before they are protected. */
  private isWhole = false;

  /**
   * A number for the last packet, NOBODY if it speaks for nobody else; how long a packet it speaks for; whether for all IPv4
   * packets with its addresses that come in by its port, or only for those that have its protocol and its ports, too.
   */
  private readonly speaks = offHeapInt32(3).fill(-1);
  private nextTicket = 0;
  private ports = 0;

  constructor(
    context: AppContext,
    parts: {
      index: SpdIndex;
      sad: Sad;
      routes: SaRoutes;
      fib: Fib;
      fragmenter: Fragmenter;
      entrances: Entrances;
      /** For senders on the private side, and for those behind a tunnel. */
      errors: IcmpErrors;
      farErrors: IcmpErrors;
      bindings: Bindings;
      queue: HoldQueue;
      encapsulate: Encapsulate;
      /** Bytes of the largest IP packet that is put into a tunnel, if ways could carry larger ones. */
      largest?: number | undefined;
    },
    ports: readonly { kind: "ethernet" | "ip"; side: "public" | "private" }[],
    links: {
      /** For fragments of packets that are cut. */
      fragments: Link;
      /** To the transmitting app, in the clear. */
      bypass: Link;
    },
  ) {
    this.counters = context.counters("protect", protectCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.index = parts.index;
    this.sad = parts.sad;
    this.routes = parts.routes;
    this.fib = parts.fib;
    this.fragmenter = parts.fragmenter;
    this.entrances = parts.entrances;
    this.errors = parts.errors;
    this.farErrors = parts.farErrors;
    this.domainOf = parts.entrances.domainOf;
    this.isHost = new Uint8Array(this.domainOf.length);
    ports.forEach(({ kind, side }, port) => {
      if (kind === "ip" && side === "private") this.isHost[port] = 1;
    });
    this.isPublic = Uint8Array.from(ports, ({ side }) => (side === "public" ? 1 : 0));
    this.largest = parts.largest ?? Number.MAX_SAFE_INTEGER;
    this.bindings = parts.bindings;
    this.queue = parts.queue;
    this.foresight = new OutboundForesight(context.frames, parts);
    this.encapsulate = parts.encapsulate;
    this.fragments = links.fragments;
    this.bypass = links.bypass;
  }

  /** See IpSink. */
  take(frame: number, ip: number, length: number, port: number): number {
    const { frames } = this;
    frames.offset[frame] = ip;
    frames.length[frame] = length;
    frames.port[frame] = port;
    if (this.index.changes !== this.seen) this.catchUp();
    const verdict = this.protect(frame);
    if (verdict !== GOES_ON) {
      // It speaks for nobody: those that follow are told from the last packet that the encapsulating app has seen.
      if (verdict === WAITS) this.wait(frame);
      return 0;
    }
    this.encapsulate.take(frame, this.sa, this.mtu);
    const ticket = this.speaks[TICKET];
    return ticket === NOBODY ? 0 : ticket;
  }

  /** See IpSink. */
  takeNext(frame: number, ip: number, length: number, port: number, ticket: number): number {
    // The ticket is right only as long as no other packet came, and nothing that decides about it has changed.
    const { speaks } = this;
    if (
      ticket !== speaks[TICKET] ||
      length > speaks[LIMIT] ||
      (speaks[LIKENESS] !== ADDRESSES && !this.isFlow(ip, length))
    )
      return this.take(frame, ip, length, port);
    this.encapsulate.takeNext(frame, ip, length, this.sa, this.mtu);
    return ticket;
  }

  readonly push = (): void => {
    if (this.index.changes !== this.seen) this.catchUp();
    // Policies, routes and end points may have changed until the next time.
    this.entry = NO_ENTRY;
    this.speaks[TICKET] = NOBODY;
    this.foresight.endBreath();
  };

  /** See IpSink. */
  foresee(link: Link, count: number, skip: number, port: number): void {
    if (this.foresight.isWorthwhile) this.foresight.look(link, count, skip, this.domainOf[port]);
  }

  /** Policies have changed: what waits for an SA goes before what comes now. */
  private catchUp(): void {
    this.seen = this.index.changes;
    this.queue.release(this.lookAgain);
  }

  /** Is the beginning of the packet's transport header there, right behind an IPv4 header without options? */
  private isWholeHeader(ip: number, length: number): boolean {
    const { view } = this;
    return length >= 24 && view.getUint8(ip) === 0x45 && (view.getUint16(ip + 6) & 0x1fff) === 0;
  }

  /** Has the packet, whose addresses and protocol are those of the one before, also its ports? */
  private isFlow(ip: number, length: number): boolean {
    return this.isWholeHeader(ip, length) && this.view.getInt32(ip + 20) === this.ports;
  }

  /** Notes that the packet, which may go on, speaks for those that are like it. */
  private remember(frame: number, ip: number): void {
    const { speaks } = this;
    if (this.index.byAddress) speaks[LIKENESS] = ADDRESSES;
    else if (this.isWholeHeader(ip, this.frames.length[frame])) {
      speaks[LIKENESS] = FLOW;
      this.ports = this.view.getInt32(ip + 20);
    } else return;
    speaks[LIMIT] = this.mtu;
    speaks[TICKET] = this.nextTicket;
  }

  /** For packets that wait. @returns the entry for whose SA this one still waits, or what became of it */
  private readonly lookAgain = (frame: number): number => {
    const verdict = this.protect(frame);
    if (verdict === WAITS) return this.entry;
    if (verdict === ENDED) return NO_MORE;
    this.encapsulate.take(frame, this.sa, this.mtu);
    return ON_ITS_WAY;
  };

  /** Has the packet, which `protect` has just looked at, wait for an SA. */
  private wait(frame: number): void {
    const { view, packet } = this;
    const end = this.frames.offset[frame] + packet.length;
    const src = portOf(view, packet, 0, end);
    const dst = portOf(view, packet, 2, end);
    this.queue.hold(frame, this.entry, packet.protocol, src, dst);
  }

  /** @returns ENDED, for those who would return what becomes of the packet */
  private drop(frame: number, reason: number): number {
    this.counters[reason]++;
    this.frames.free(frame);
    return ENDED;
  }

  private protect(frame: number): number {
    const { frames, view, packet, index } = this;
    const ip = frames.offset[frame];
    const length = frames.length[frame];
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    this.speaks[TICKET] = NOBODY;
    this.nextTicket = (this.nextTicket + 1) & 0x3fffffff || 1;
    if (parse(packet, view, ip, length, isIpv4) === MALFORMED)
      return this.drop(frame, COUNT["drop.malformed"]);
    const domain = this.domainOf[frames.port[frame]];
    const entry = index.lookup(view, ip, packet, domain);
    if (entry === NO_ENTRY) return this.withoutPolicy(frame, ip, isIpv4, domain);
    if (entry !== this.entry) this.openEntry(entry);
    const { type, sa, mtu } = this;
    if (type !== PROTECT) {
      if (type === PASS && this.isFromTunnel(frame)) return this.drop(frame, COUNT["drop.public"]);
      if (type === PASS) return this.letPass(frame, ip, isIpv4, domain, entry, COUNT.bypassed);
      return this.drop(frame, COUNT["drop.policy"]);
    }
    if (sa < 0) return this.missSa(frame, sa);
    if (mtu < 0) return this.drop(frame, mtu === ASTRAY ? COUNT["drop.interface"] : COUNT["drop.no_route"]);
    if (this.isWhole && this.isHost[frames.port[frame]] === 0)
      return this.drop(frame, COUNT["drop.not_host"]);
    if (isIpv4 && !this.isWhole) this.remember(frame, ip);
    return length <= mtu ? GOES_ON : this.shorten(frame, ip, mtu, isIpv4);
  }

  /** There is no SA for a packet that asks for one. */
  private missSa(frame: number, sa: number): number {
    if (this.index.reqid(this.entry) === 0) return this.drop(frame, COUNT["drop.no_sa"]);
    if (sa !== NARROW) return WAITS;
    // Waiting is of no use, but asking may be: once in a long while, for which the supervisor cares.
    const { view, packet } = this;
    const end = this.frames.offset[frame] + packet.length;
    const src = portOf(view, packet, 0, end);
    this.queue.ask(frame, this.entry, packet.protocol, src, portOf(view, packet, 2, end));
    return this.drop(frame, COUNT["drop.narrowed"]);
  }

  /** Finds out what the next packets, which match this entry, meet. */
  private openEntry(entry: number): void {
    const sa = this.index.sa(entry);
    this.foresight.countRun();
    this.entry = entry;
    this.type = this.index.type(entry);
    this.sa = sa;
    this.mtu = NOWHERE;
    this.isWhole = false;
    if (this.type !== PROTECT || sa < 0) return;
    const { words } = this.sad;
    const slot = this.sad.offset(sa) >>> 2;
    const flags = words[slot + FLAGS];
    if ((flags & EXPIRED) !== 0) {
      this.sa = NOWHERE;
      return;
    }
    const port = this.routes.port(sa);
    if (port === NOWHERE) return;
    if (this.index.isBound(entry) && !this.bindings.allows(entry, port)) this.mtu = ASTRAY;
    else this.mtu = innerMtu(this.fib.mtu[port], words, slot);
    this.isWhole = (flags & TRANSPORT_MODE) !== 0;
    this.room = this.mtu;
    if (!this.isWhole && this.mtu > this.largest) this.mtu = this.largest;
  }

  private withoutPolicy(frame: number, ip: number, isIpv4: boolean, domain: number): number {
    if (this.isFromTunnel(frame)) return this.drop(frame, COUNT["drop.public"]);
    const isHost = this.isHost[this.frames.port[frame]] !== 0;
    if (isHost && this.index.wantsTransport(this.view, ip, isIpv4, domain))
      return this.letPass(frame, ip, isIpv4, domain, NO_ENTRY, COUNT.unprotected);
    return this.drop(frame, COUNT["drop.no_policy"]);
  }

  /** Cuts a packet that is too long for its tunnel, or tells its sender. @returns whether it goes on as it is, or has ended here */
  private shorten(frame: number, ip: number, mtu: number, isIpv4: boolean): number {
    // IPv6 has no smaller MTU than this (RFC 8200 §5), whatever is configured.
    const { room } = this;
    if (!isIpv4 && this.frames.length[frame] <= (room < MIN_IPV6_MTU ? room : MIN_IPV6_MTU)) return GOES_ON;
    if (isIpv4 && !this.isWhole && (this.view.getUint16(ip + 6) & DF) === 0) this.cut(frame, mtu);
    else {
      this.counters[COUNT["drop.too_big"]]++;
      const errors = this.isFromTunnel(frame) ? this.farErrors : this.errors;
      errors.tooBig(frame, isIpv4 || mtu >= MIN_IPV6_MTU ? mtu : MIN_IPV6_MTU);
    }
    return ENDED;
  }

  private isFromTunnel(frame: number): boolean {
    return this.frames.port[frame] >= this.entrances.first;
  }

  private cut(frame: number, mtu: number): void {
    const { fragments, encapsulate, sa } = this;
    encapsulate.encrypt();
    this.fragmenter.fragment(frame, mtu, fragments);
    for (let n = fragments.readable; n > 0; n--) encapsulate.take(fragments.receive(), sa, mtu);
  }

  /** Sends a packet in the clear: by the routes of its domain, or else by a public port, which is there for all. */
  private letPass(
    frame: number,
    ip: number,
    isIpv4: boolean,
    domain: number,
    entry: number,
    counter: number,
  ): number {
    const fib = this.fib;
    const view = this.view;
    let route = fib.routeIn(domain, view, ip, isIpv4);
    if (domain !== 0 && route === UNREACHABLE) {
      route = fib.routeIn(0, view, ip, isIpv4);
      if (route !== UNREACHABLE && route !== LOCAL && this.isPublic[fib.routePort(route)] === 0)
        route = UNREACHABLE;
    }
    if (route === UNREACHABLE || route === LOCAL) return this.drop(frame, COUNT["drop.no_route"]);
    const hop = isIpv4 ? fib.hop4(route, view.getInt32(ip + 16)) : fib.hop6(route, view, ip + 24);
    if (hop === NONE) return this.drop(frame, COUNT["drop.no_route"]);
    if (entry !== NO_ENTRY && !this.bindings.allows(entry, fib.hops.port[hop]))
      return this.drop(frame, COUNT["drop.interface"]);
    this.frames.nextHop[frame] = hop;
    this.counters[counter]++;
    this.bypass.transmit(frame);
    return ENDED;
  }
}
