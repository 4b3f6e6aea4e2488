// Where packets go: routes, and the Ethernet neighbours behind them. The kernel owns both tables; this is a copy that the
// data path can ask, kept up to date by a stream of changes (net/kernel-network.ts), or filled by hand where there is no
// kernel (benchmarks, pcap runs).
//
// A look-up goes in two steps: the longest matching route, then its next hop: the route's gateway, or the destination
// itself where the route is on the link. Next hops are entries of a fixed table, made when the first packet asks for
// them, resolved when the kernel knows the neighbour's Ethernet address.
//
// Every domain of ports (ipsec/binding.ts) has routes of its own: those that lead through its ports, from whatever table
// of the kernel has them, so that customers whose networks have the same addresses are kept apart. The domain of the ports
// without a binding, number 0, follows the kernel's main table.

import { type Counters, counterIndex } from "../engine/app.js";
import { type Binding, Domains } from "../ipsec/binding.js";
import { NONE } from "../memory/frames.js";
import { formatAddress, formatPrefix, type IpAddress, type Prefix } from "../net/address.js";
import {
  type LinkChange,
  type NetworkListener,
  type RouteChange,
  TABLE_LOCAL,
  TABLE_MAIN,
} from "../net/kernel-network.js";
import { Lpm, NO_MATCH } from "../net/lpm.js";
import { grow, isLinkLocal, neighbourKey, sameRoute } from "./fib-entries.js";

export const fibCounters = {
  next_hops: "next hops in the table now",
  "drop.next_hops_full": "the table of next hops is full",
} as const;
const COUNT = counterIndex(fibCounters);

/** A port as the FIB sees it. */
export interface FibPort {
  readonly name: string;
  readonly kind: "ethernet" | "ip";
  readonly side: "public" | "private";
  /** Does Vita itself look for the neighbours behind it? Otherwise the kernel does. */
  readonly owned?: boolean;
  /** What a private port is bound to; nothing when it is left out. */
  readonly binding?: Binding | undefined;
}

/** Results of a route look-up that are not routes. */
export const UNREACHABLE = NO_MATCH;
/** The destination is an address of this machine. */
export const LOCAL = 0;

interface Route {
  id: number;
  port: number;
  /** Next hop of a route with a gateway; NONE on the link. */
  gateway: IpAddress | undefined;
  gatewayHop: number;
}

/** The trie of each family, in one domain. */
interface Tries {
  readonly 4: Lpm;
  readonly 6: Lpm;
}

/** The routes of a prefix, and the domains that have one of them in their tries, as bits. */
interface Told {
  readonly prefix: Prefix;
  candidates: RouteChange[];
  domains: number;
}

interface Interface {
  name: string;
  mac: Uint8Array | undefined;
  mtu: number;
  port: number;
}

const MAX_PROBES = 16;

export class Fib implements NetworkListener {
  private readonly ports: readonly FibPort[];
  private readonly counters: Counters;
  private readonly interfaces = new Map<number, Interface>();
  private readonly portInterface: Int32Array;
  /** MTU by port, bytes of IP packet. */
  readonly mtu: Int32Array;
  readonly domains: Domains;
  /** By domain. */
  private readonly tries: readonly Tries[];
  private readonly main: Tries;
  /** All that the kernel told, by prefix, in its order: the one with the lowest metric is in the trie. */
  private readonly told = new Map<string, Told>();
  private readonly routes: (Route | undefined)[] = [];
  private readonly freeRoutes: number[] = [];
  /** Port of a route by its id; NONE for LOCAL. */
  private routePorts = new Int32Array(64).fill(NONE);
  private routeGateways = new Int32Array(64).fill(NONE);
  private readonly neighbours = new Map<string, Uint8Array>();
  private readonly addresses = new Map<string, { index: number; address: IpAddress; prefixLength: number }>();

  /** Next hops: a hash table by port and address. */
  private readonly hopMask: number;
  readonly hopPort: Int32Array;
  readonly hopResolved: Uint8Array;
  private readonly hopAddress: Uint32Array;
  private readonly hopFamily: Uint8Array;
  /** Destination and source Ethernet address as the words of memory that they are: three an entry, from 4 × hop on. */
  readonly hopHeader: Int32Array;
  /** Set by the data path when a hop carried a packet; cleared by `refreshUsed`. */
  readonly hopUsed: Uint8Array;
  private hops = 0;
  private readonly unresolved = new Uint32Array(256);
  private unresolvedCount = 0;

  /** Counts changes after which what was looked up before may be wrong. */
  generation = 0;
  /** Told when an address that is this machine's own in a domain, or its subnet's broadcast, comes or goes. */
  onLocal: ((address: IpAddress, present: boolean, domain: number) => void) | undefined;
  /** Told about the interface behind a port: its Ethernet address, or undefined when the interface is gone. */
  onPort: ((port: number, mac: Uint8Array | undefined) => void) | undefined;

  /** @param capacity next hops, a power of two */
  constructor(ports: readonly FibPort[], counters: Counters, capacity = 16384) {
    this.ports = ports;
    this.counters = counters;
    this.domains = new Domains(ports);
    this.tries = this.domains.bindings.map(() => ({ 4: new Lpm(), 6: new Lpm() }));
    this.main = this.tries[0];
    this.portInterface = new Int32Array(ports.length).fill(NONE);
    this.mtu = new Int32Array(ports.length).fill(1500);
    this.hopMask = capacity - 1;
    this.hopPort = new Int32Array(capacity).fill(NONE);
    this.hopResolved = new Uint8Array(capacity);
    this.hopUsed = new Uint8Array(capacity);
    this.hopFamily = new Uint8Array(capacity);
    this.hopAddress = new Uint32Array(4 * capacity);
    this.hopHeader = new Int32Array(4 * capacity);
    this.routes[LOCAL] = { id: LOCAL, port: NONE, gateway: undefined, gatewayHop: NONE };
  }

  // ---- data path ---------------------------------------------------------------------------------------------------

  /** Route id for an IPv4 address by the main table, LOCAL or UNREACHABLE. */
  route4(address: number): number {
    return this.main[4].lookup4(address);
  }

  /** Route id for the IPv6 address at `offset`, LOCAL or UNREACHABLE. */
  route6(view: DataView, offset: number): number {
    return this.main[6].lookup6(view, offset);
  }

  /** Route id for the destination of the IP packet at `offset` in a domain, LOCAL or UNREACHABLE. */
  routeIn(domain: number, view: DataView, offset: number, isIpv4: boolean): number {
    const tries = this.tries[domain];
    return isIpv4 ? tries[4].lookup4(view.getInt32(offset + 16)) : tries[6].lookup6(view, offset + 24);
  }

  /** Port that a route leaves by. */
  routePort(route: number): number {
    return this.routePorts[route];
  }

  /** Does the route have a gateway? Otherwise it is on the link. */
  isGateway(route: number): boolean {
    return this.routeGateways[route] !== NONE;
  }

  /** Next hop on `route` towards an IPv4 address, or NONE when the table is full. */
  hop4(route: number, address: number): number {
    const gateway = this.routeGateways[route];
    return gateway !== NONE ? gateway : this.hop(this.routePorts[route], 4, address, 0, 0, 0);
  }

  /** Next hop on `route` towards the IPv6 address at `offset`, or NONE when the table is full. */
  hop6(route: number, view: DataView, offset: number): number {
    const gateway = this.routeGateways[route];
    if (gateway !== NONE) return gateway;
    return this.hop(
      this.routePorts[route],
      6,
      view.getUint32(offset),
      view.getUint32(offset + 4),
      view.getUint32(offset + 8),
      view.getUint32(offset + 12),
    );
  }

  /** The one next hop of a port without Ethernet: the device itself. */
  deviceHop(port: number): number {
    return this.hop(port, 0, 0, 0, 0, 0);
  }

  private hop(port: number, family: number, a: number, b: number, c: number, d: number): number {
    const addresses = this.hopAddress;
    let hash = Math.imul(
      a ^ Math.imul(b ^ Math.imul(c ^ Math.imul(d, 0x85ebca6b), 0xc2b2ae35), 0x27d4eb2f),
      0x9e3779b1,
    );
    hash ^= hash >>> 15;
    for (let i = 0; i < MAX_PROBES; i++) {
      const hop = (hash + i) & this.hopMask;
      if (this.hopPort[hop] === NONE) return this.createHop(hop, port, family, a, b, c, d);
      const at = 4 * hop;
      if (
        this.hopPort[hop] === port &&
        addresses[at] === a >>> 0 &&
        addresses[at + 1] === b >>> 0 &&
        addresses[at + 2] === c >>> 0 &&
        addresses[at + 3] === d >>> 0 &&
        this.hopFamily[hop] === family
      )
        return hop;
    }
    this.counters[COUNT["drop.next_hops_full"]]++;
    return NONE;
  }

  /** Notes that packets wait for this hop's Ethernet address. `takeUnresolved` hands it to whoever asks the kernel. */
  wantHop(hop: number): void {
    if (this.ports[this.hopPort[hop]].owned) return;
    for (let i = 0; i < this.unresolvedCount; i++) if (this.unresolved[i] === hop) return;
    if (this.unresolvedCount < this.unresolved.length) this.unresolved[this.unresolvedCount++] = hop;
  }

  // ---- slow path ---------------------------------------------------------------------------------------------------

  /** First packet to a next hop: takes the entry into use. */
  private createHop(
    hop: number,
    port: number,
    family: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): number {
    this.hopPort[hop] = port;
    this.hopFamily[hop] = family;
    this.hopAddress.set([a, b, c, d], 4 * hop);
    this.hops++;
    this.counters[COUNT.next_hops] = this.hops;
    this.resolve(hop);
    return hop;
  }

  /** Next hop to a neighbour behind a port, or NONE when the table is full. */
  hopTo(port: number, neighbour: IpAddress): number {
    const view = new DataView(neighbour.buffer, neighbour.byteOffset, neighbour.byteLength);
    const word = (i: number) => (4 * i < view.byteLength ? view.getUint32(4 * i) : 0);
    return this.hop(port, neighbour.length === 4 ? 4 : 6, word(0), word(1), word(2), word(3));
  }

  /** Whether more than half of the table of next hops is free: then strangers may have entries too. */
  get roomy(): boolean {
    return 2 * this.hops <= this.hopMask;
  }

  hopAddressOf(hop: number): IpAddress {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 4; i++) view.setUint32(4 * i, this.hopAddress[4 * hop + i]);
    return this.hopFamily[hop] === 4 ? bytes.slice(0, 4) : bytes;
  }

  /** Interface index of the kernel for a port; NONE before it is known. */
  interfaceOf(port: number): number {
    return this.portInterface[port];
  }

  private resolve(hop: number): void {
    const port = this.hopPort[hop];
    this.hopResolved[hop] = 0;
    if (this.ports[port].kind === "ip") {
      this.hopResolved[hop] = 1;
      return;
    }
    const index = this.portInterface[port];
    const mac = this.neighbours.get(neighbourKey(index, this.hopAddressOf(hop)));
    const own = this.interfaces.get(index)?.mac;
    if (!mac || !own) return;
    const header = new Uint8Array(this.hopHeader.buffer, 16 * hop, 12);
    header.set(mac, 0);
    header.set(own, 6);
    this.hopResolved[hop] = 1;
  }

  private resolveAll(matches: (hop: number) => boolean): void {
    for (let hop = 0; hop <= this.hopMask; hop++)
      if (this.hopPort[hop] !== NONE && matches(hop)) this.resolve(hop);
  }

  /** Calls `ask` for each hop that a packet waited for since the last call. */
  takeUnresolved(ask: (index: number, address: IpAddress) => void): void {
    for (let i = 0; i < this.unresolvedCount; i++) {
      const hop = this.unresolved[i];
      if (this.hopResolved[hop] === 0) ask(this.portInterface[this.hopPort[hop]], this.hopAddressOf(hop));
    }
    this.unresolvedCount = 0;
  }

  /**
   * Calls `ask` for each Ethernet hop that carried packets since the last call: whoever keeps the neighbour shall see
   * that it is in use.
   * @param owned whether for the hops whose neighbours Vita itself looks for, or for the kernel's
   */
  refreshUsed(owned: boolean, ask: (port: number, address: IpAddress) => void): void {
    for (let hop = 0; hop <= this.hopMask; hop++) {
      if (this.hopUsed[hop] === 0) continue;
      const port = this.hopPort[hop];
      if ((this.ports[port].owned ?? false) !== owned) continue;
      this.hopUsed[hop] = 0;
      if (this.ports[port].kind === "ethernet") ask(port, this.hopAddressOf(hop));
    }
  }

  /** An address of this machine to speak from on a port: of that port if it has one, else of another of its domain. */
  localAddress(port: number, family: 4 | 6): IpAddress | undefined {
    let fallback: IpAddress | undefined;
    for (const { index, address } of this.addresses.values()) {
      if (address.length !== (family === 4 ? 4 : 16) || isLinkLocal(address)) continue;
      if (index === this.portInterface[port]) return address;
      const other = this.interfaces.get(index)?.port ?? NONE;
      if (other !== NONE && this.domains.ofPort[other] === this.domains.ofPort[port]) fallback ??= address;
    }
    return fallback;
  }

  /** Is this an address of an interface of the domain? */
  private isLocal(address: IpAddress, domain: number): boolean {
    for (const known of this.addresses.values())
      if (this.domainOf(known.index) === domain && formatAddress(known.address) === formatAddress(address))
        return true;
    return false;
  }

  /** Domain of an interface; those that are no ports are in domain 0. */
  private domainOf(index: number): number {
    const port = this.interfaces.get(index)?.port ?? NONE;
    return port === NONE ? 0 : this.domains.ofPort[port];
  }

  // ---- NetworkListener ---------------------------------------------------------------------------------------------

  reset(): void {
    for (const told of this.told.values()) this.remove(told);
    this.told.clear();
    this.neighbours.clear();
    for (const { index, address } of this.addresses.values())
      this.onLocal?.(address, false, this.domainOf(index));
    this.addresses.clear();
    this.interfaces.clear();
    this.portInterface.fill(NONE);
    this.generation++;
  }

  link(change: LinkChange, present: boolean): void {
    const port = this.ports.findIndex(({ name }) => name === change.name);
    if (present) {
      this.interfaces.set(change.index, { name: change.name, mac: change.mac, mtu: change.mtu, port });
      if (port !== NONE) {
        this.portInterface[port] = change.index;
        this.mtu[port] = change.mtu;
      }
    } else {
      this.interfaces.delete(change.index);
      if (port !== NONE) this.portInterface[port] = NONE;
    }
    if (port === NONE) return;
    this.onPort?.(port, present ? change.mac : undefined);
    for (const told of this.told.values()) this.select(told);
    this.resolveAll((hop) => this.hopPort[hop] === port);
    this.generation++;
  }

  address(index: number, address: IpAddress, prefixLength: number, present: boolean): void {
    const key = `${index} ${formatAddress(address)}`;
    if (present) this.addresses.set(key, { index, address, prefixLength });
    else this.addresses.delete(key);
    const domain = this.domainOf(index);
    this.onLocal?.(address, present || this.isLocal(address, domain), domain);
    this.generation++;
  }

  route(change: RouteChange, present: boolean): void {
    if (change.type === "broadcast")
      this.onLocal?.(change.prefix.address, present, this.domainOf(change.index));
    const key = formatPrefix(change.prefix);
    const entry = this.told.get(key) ?? { prefix: change.prefix, candidates: [], domains: 0 };
    entry.candidates = entry.candidates.filter((other) => !sameRoute(other, change));
    if (present && change.behind) entry.candidates.push(change);
    else if (present) entry.candidates.unshift(change);
    if (entry.candidates.length > 0) this.told.set(key, entry);
    else this.told.delete(key);
    this.select(entry);
    this.generation++;
  }

  /** Puts the best route of a prefix into each domain's trie: of its own addresses first, then by metric. */
  private select(told: Told): void {
    this.remove(told);
    for (const change of told.candidates) {
      const domain = this.domainOf(change.index);
      const bit = 1 << domain;
      if ((told.domains & bit) !== 0 || !this.belongs(change, domain)) continue;
      told.domains |= bit;
      const candidates = told.candidates.filter((other) => this.belongs(other, domain));
      this.selectIn(domain, told.prefix, candidates);
    }
  }

  /** Is a route one of the domain's? It leads through its ports; and domain 0 does not look beyond the main table. */
  private belongs({ index, table }: RouteChange, domain: number): boolean {
    if (this.domainOf(index) !== domain) return false;
    return domain !== 0 || table === undefined || table === TABLE_MAIN || table === TABLE_LOCAL;
  }

  private selectIn(domain: number, prefix: Prefix, candidates: readonly RouteChange[]): void {
    const trie = this.trie(domain, prefix);
    if (candidates.some(({ type }) => type === "local")) {
      trie.set(prefix, LOCAL);
      return;
    }
    const usable = candidates
      .filter(({ type }) => type === "unicast")
      .map((change) => ({ change, port: this.interfaces.get(change.index)?.port ?? NONE }))
      .filter(({ port }) => port !== NONE)
      .sort((a, b) => a.change.metric - b.change.metric);
    if (usable.length === 0) return;
    const { change, port } = usable[0];
    const id = this.freeRoutes.pop() ?? this.routes.length;
    const route: Route = { id, port, gateway: change.gateway, gatewayHop: NONE };
    this.routes[id] = route;
    if (id >= this.routePorts.length) {
      this.routePorts = grow(this.routePorts);
      this.routeGateways = grow(this.routeGateways);
    }
    this.routePorts[id] = port;
    if (change.gateway) route.gatewayHop = this.hopTo(port, change.gateway);
    this.routeGateways[id] = route.gatewayHop;
    trie.set(prefix, id);
  }

  private trie(domain: number, prefix: Prefix): Lpm {
    return this.tries[domain][prefix.address.length === 4 ? 4 : 6];
  }

  private remove(told: Told): void {
    for (let domains = told.domains; domains !== 0; domains &= domains - 1)
      this.removeIn(31 - Math.clz32(domains & -domains), told.prefix);
    told.domains = 0;
  }

  private removeIn(domain: number, prefix: Prefix): void {
    const trie = this.trie(domain, prefix);
    const id = trie.get(prefix);
    if (id === NO_MATCH) return;
    trie.delete(prefix);
    if (id === LOCAL) return;
    this.routes[id] = undefined;
    this.routePorts[id] = NONE;
    this.routeGateways[id] = NONE;
    this.freeRoutes.push(id);
  }

  neighbour(index: number, address: IpAddress, mac: Uint8Array | undefined): void {
    const key = neighbourKey(index, address);
    if (mac) this.neighbours.set(key, mac);
    else this.neighbours.delete(key);
    const text = formatAddress(address);
    this.resolveAll(
      (hop) =>
        this.portInterface[this.hopPort[hop]] === index && formatAddress(this.hopAddressOf(hop)) === text,
    );
  }
}
