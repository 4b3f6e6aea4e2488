// The outbound policy decision (RFC 4301 §5.1): IP packets from the private side meet the SPD and go to the
// encapsulating app with the SA that protects them, or leave in the clear where a policy says so, or end here. A packet
// whose policy has no SA that can be used waits for one (hold-queue.ts). A packet too long for the tunnel is cut where it
// may be, else its sender is told what fits.
//
// In transport mode only this host's own packets are protected, and they must be whole (RFC 4303 §3.3.4). The kernel hands
// over what it sends to an address, protocol and port that some policy wants protected; what matches no policy after all
// (another source address, another type of ICMP) leaves in the clear, as it would without Vita.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { innerMtu } from "../ipsec/encapsulate.js";
import { foreseeLong, foreseeOutbound, LONG_PACKET } from "../ipsec/foresight.js";
import { INNER_MALFORMED, type InnerPacket, parseInner } from "../ipsec/inner.js";
import type { Sad } from "../ipsec/sad.js";
import { SaFlag, saSlot } from "../ipsec/sad-layout.js";
import { transportPort } from "../ipsec/selector-check.js";
import type { SpdIndex } from "../ipsec/spd-index.js";
import { NARROWED, PolicyType } from "../ipsec/spd-layout.js";
import { type Frames, NONE } from "../memory/frames.js";
import { NO_MATCH } from "../net/lpm.js";
import type { Bindings } from "./bindings.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";
import type { Fragmenter } from "./fragment.js";
import { GONE, type HoldQueue, ENDED as NOT_WAITING } from "./hold-queue.js";
import type { IcmpErrors } from "./icmp-errors.js";
import type { SaRoutes } from "./sa-routes.js";

export const protectCounters = {
  bypassed: "packets that a pass policy let out in the clear",
  unprotected: "packets of this host to a peer in transport mode that match no policy: sent in the clear",
  "drop.no_policy": "no policy matches: what is not allowed is discarded (RFC 4301 §5.1)",
  "drop.policy": "a drop policy matches",
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
const foresee = foreseeOutbound;
const foreseeKey = foreseeLong;
const LONG = LONG_PACKET;
const MAX_BATCH = 128;
const { ipsec: PROTECT, pass: PASS } = PolicyType;
const NARROW = NARROWED;
const portOf = transportPort;
const FLAGS = saSlot.at.flags >>> 2;
const OUTER_LENGTH = saSlot.at.outerLength >>> 2;
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

export class Protect implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly index: SpdIndex;
  private readonly sad: Sad;
  private readonly routes: SaRoutes;
  private readonly fib: Fib;
  private readonly fragmenter: Fragmenter;
  private readonly errors: IcmpErrors;
  private readonly bindings: Bindings;
  private readonly queue: HoldQueue;
  /** Changes of the index when waiting packets had their last look. */
  private seen = 0;
  private readonly packet: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };
  /** By port number: its domain, and 1 where packets of this host itself come in, or ESP goes. */
  private readonly domainOf: Uint8Array;
  private readonly isHost: Uint8Array;
  private readonly isPublic: Uint8Array;

  private readonly taken = new Int32Array(MAX_BATCH);
  /** Of packets with unlike destinations: their domains; list of candidates, then the entry, then its SA. */
  private readonly domains = new Uint8Array(MAX_BATCH);
  private readonly guesses = new Int32Array(MAX_BATCH);
  private readonly isLong = new Uint8Array(MAX_BATCH);
  private foreseen = 0;

  // The entry that the last packet matched: its verdict, its SA and how long a packet that carries; NONE for none.
  private entry = NO_ENTRY;
  private type = 0;
  private sa = NOWHERE;
  private mtu = NOWHERE;
  /** In transport mode packets are not cut before they are protected. */
  private isWhole = false;

  constructor(
    context: AppContext,
    parts: {
      index: SpdIndex;
      sad: Sad;
      routes: SaRoutes;
      fib: Fib;
      fragmenter: Fragmenter;
      errors: IcmpErrors;
      bindings: Bindings;
      queue: HoldQueue;
    },
    ports: readonly { kind: "ethernet" | "ip"; side: "public" | "private" }[],
    readonly input: Link,
    /** To the encapsulating app. */
    readonly output: Link,
    /** To the transmitting app, in the clear. */
    readonly bypass: Link,
  ) {
    this.counters = context.counters("protect", protectCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.index = parts.index;
    this.sad = parts.sad;
    this.routes = parts.routes;
    this.fib = parts.fib;
    this.fragmenter = parts.fragmenter;
    this.errors = parts.errors;
    this.domainOf = parts.fib.domains.ofPort;
    this.isHost = Uint8Array.from(ports, ({ kind, side }) => (kind === "ip" && side === "private" ? 1 : 0));
    this.isPublic = Uint8Array.from(ports, ({ side }) => (side === "public" ? 1 : 0));
    this.bindings = parts.bindings;
    this.queue = parts.queue;
  }

  readonly push = (): void => {
    const { input, output, index, taken } = this;
    // Policies, routes and end points may have changed since the last time.
    this.entry = NO_ENTRY;
    if (index.changes !== this.seen) {
      this.seen = index.changes;
      this.queue.release(this.lookAgain);
    }
    let waiting = input.readable;
    while (waiting > 0) {
      const count = waiting > MAX_BATCH ? MAX_BATCH : waiting;
      waiting -= count;
      this.foresee(count);
      for (let i = 0; i < count; i++) {
        const frame = taken[i];
        const verdict = this.protect(frame);
        if (verdict === GOES_ON) output.transmit(frame);
        else if (verdict === WAITS) this.wait(frame);
      }
    }
  };

  /**
   * Takes packets off the link, and reads ahead what they need. One step leads to the next (destination, list, entry, SA),
   * but those of many packets do not wait for each other: so each step is taken for all packets before the next one.
   */
  private foresee(count: number): void {
    const { input, taken, guesses, domains, isLong, view, index, sad, routes, domainOf } = this;
    const { offset, length, port } = this.frames;
    const { words } = sad;
    let last = 0;
    let found = 0;
    let foreseen = 0;
    for (let i = 0; i < count; i++) {
      const frame = input.receive();
      taken[i] = frame;
      const ip = offset[frame];
      // IPv4's destination, or IPv6's end of the source: packets that follow each other often have it in common.
      const key = view.getInt32(ip + 16);
      if (key === last) {
        if (found > 0 && length[frame] > LONG) isLong[found - 1] = 1;
        continue;
      }
      last = key;
      const domain = domainOf[port[frame]];
      isLong[found] = length[frame] > LONG ? 1 : 0;
      domains[found] = domain;
      guesses[found++] = index.candidates(view, ip, domain);
    }
    for (let i = 0; i < found; i++) guesses[i] = index.guess(guesses[i], domains[i]);
    for (let i = 0; i < found; i++) if (guesses[i] !== NO_ENTRY) guesses[i] = index.sa(guesses[i]);
    for (let i = 0; i < found; i++) {
      const sa = guesses[i];
      if (sa < 0) continue;
      const slot = sad.offset(sa) >>> 2;
      foreseen ^= foresee(words, slot) ^ routes.foresee(sa);
      if (isLong[i] !== 0) foreseen ^= foreseeKey(words, slot);
    }
    this.foreseen ^= foreseen;
  }

  /** For packets that wait. @returns the entry for whose SA this one still waits, or what became of it */
  private readonly lookAgain = (frame: number): number => {
    const verdict = this.protect(frame);
    if (verdict === WAITS) return this.entry;
    if (verdict === ENDED) return NO_MORE;
    this.output.transmit(frame);
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
    if (parse(packet, view, ip, length, isIpv4) === MALFORMED)
      return this.drop(frame, COUNT["drop.malformed"]);
    const domain = this.domainOf[frames.port[frame]];
    const entry = index.lookup(view, ip, packet, domain);
    if (entry === NO_ENTRY) return this.withoutPolicy(frame, ip, isIpv4, domain);
    if (entry !== this.entry) this.openEntry(entry);
    const { type, sa, mtu } = this;
    if (type !== PROTECT) {
      if (type === PASS) return this.letPass(frame, ip, isIpv4, domain, entry, COUNT.bypassed);
      return this.drop(frame, COUNT["drop.policy"]);
    }
    if (sa < 0) return this.missSa(frame, sa);
    if (mtu < 0) return this.drop(frame, mtu === ASTRAY ? COUNT["drop.interface"] : COUNT["drop.no_route"]);
    if (this.isWhole && this.isHost[frames.port[frame]] === 0)
      return this.drop(frame, COUNT["drop.not_host"]);
    frames.sa[frame] = sa;
    frames.limit[frame] = mtu;
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
    else this.mtu = innerMtu(this.fib.mtu[port], words[slot + OUTER_LENGTH]);
    this.isWhole = (flags & TRANSPORT_MODE) !== 0;
  }

  private withoutPolicy(frame: number, ip: number, isIpv4: boolean, domain: number): number {
    const isHost = this.isHost[this.frames.port[frame]] !== 0;
    if (isHost && this.index.wantsTransport(this.view, ip, isIpv4, domain))
      return this.letPass(frame, ip, isIpv4, domain, NO_ENTRY, COUNT.unprotected);
    return this.drop(frame, COUNT["drop.no_policy"]);
  }

  /** Cuts a packet that is too long for its tunnel, or tells its sender. @returns ENDED: it does not go on as it is */
  private shorten(frame: number, ip: number, mtu: number, isIpv4: boolean): number {
    if (isIpv4 && !this.isWhole && (this.view.getUint16(ip + 6) & DF) === 0)
      this.fragmenter.fragment(frame, mtu, this.output);
    else {
      this.counters[COUNT["drop.too_big"]]++;
      this.errors.tooBig(frame, isIpv4 || mtu >= MIN_IPV6_MTU ? mtu : MIN_IPV6_MTU);
    }
    return ENDED;
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
    const hop = isIpv4 ? fib.hop4(route, view.getUint32(ip + 16)) : fib.hop6(route, view, ip + 24);
    if (hop === NONE) return this.drop(frame, COUNT["drop.no_route"]);
    if (entry !== NO_ENTRY && !this.bindings.allows(entry, fib.hops.port[hop]))
      return this.drop(frame, COUNT["drop.interface"]);
    this.frames.nextHop[frame] = hop;
    this.counters[counter]++;
    this.bypass.transmit(frame);
    return ENDED;
  }
}
