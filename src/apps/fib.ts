// Where packets go: routes, and the Ethernet neighbours behind them. The kernel owns both tables; this is a copy that the
// data path can ask, kept up to date by a stream of changes (net/kernel-network.ts), or filled by hand where there is no
// kernel (benchmarks, pcap runs).
//
// A look-up goes in two steps: the longest matching route, then its next hop (next-hops.ts): the route's gateway, or the
// destination itself where the route is on the link.
//
// Every domain of ports (ipsec/binding.ts) has routes of its own: those that lead through its ports, from whatever table
// of the kernel has them, so that customers whose networks have the same addresses are kept apart. The domain of the ports
// without a binding, number 0, follows the kernel's main table.

import type { Counters } from "../engine/app.js";
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
import { grow, isLinkLocal, sameRoute } from "./fib-entries.js";
import { type NeighbourPort, NextHops } from "./next-hops.js";

/** A port as the FIB sees it. */
export interface FibPort extends NeighbourPort {
  readonly name: string;
  readonly side: "public" | "private";
  /** What a private port is bound to; nothing when it is left out. */
  readonly binding?: Binding | undefined;
}

/** Results of a route look-up that are not routes. */
export const UNREACHABLE = NO_MATCH;
/** The destination is an address of this machine. */
export const LOCAL = 0;

/** In place of a gateway's next hop: the table of next hops was full when the route came. */
const NO_HOP = -2;

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

export class Fib implements NetworkListener {
  private readonly ports: readonly FibPort[];
  readonly hops: NextHops;
  /** Ports by interface index; NONE for interfaces that are no ports. */
  private readonly interfaces = new Map<number, number>();
  /** MTU by port, bytes of IP packet. */
  readonly mtu: Int32Array;
  readonly domains: Domains;
  /** By domain. */
  private readonly tries: readonly Tries[];
  private readonly main: Tries;
  /** All that the kernel told, by prefix, in its order: the one with the lowest metric is in the trie. */
  private readonly told = new Map<string, Told>();
  private readonly freeRoutes: number[] = [];
  /** Ids from this one on were never used; the first one is LOCAL's. */
  private unusedRoute = LOCAL + 1;
  /** Port of a route by its id, NONE for LOCAL; and next hop of one with a gateway, NONE on the link. */
  private routePorts = new Int32Array(64).fill(NONE);
  private routeGateways = new Int32Array(64).fill(NONE);
  private readonly addresses = new Map<string, { index: number; address: IpAddress; prefixLength: number }>();

  /** Counts changes after which what was looked up before may be wrong. */
  generation = 0;
  /** Told when an address that is this machine's own in a domain, or its subnet's broadcast, comes or goes. */
  onLocal: ((address: IpAddress, present: boolean, domain: number) => void) | undefined;
  /** Told about the interface behind a port: its Ethernet address, or undefined when the interface is gone. */
  onPort: ((port: number, mac: Uint8Array | undefined) => void) | undefined;

  /** @param capacity next hops, a power of two */
  constructor(ports: readonly FibPort[], counters: Counters, capacity = 16384) {
    this.ports = ports;
    this.hops = new NextHops(ports, counters, capacity);
    this.domains = new Domains(ports);
    this.tries = this.domains.bindings.map(() => ({ 4: new Lpm(), 6: new Lpm() }));
    this.main = this.tries[0];
    this.mtu = new Int32Array(ports.length).fill(1500);
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
    if (gateway !== NONE) return gateway === NO_HOP ? NONE : gateway;
    return this.hops.find(this.routePorts[route], 4, address, 0, 0, 0);
  }

  /** Next hop on `route` towards the IPv6 address at `offset`, or NONE when the table is full. */
  hop6(route: number, view: DataView, offset: number): number {
    const gateway = this.routeGateways[route];
    if (gateway !== NONE) return gateway === NO_HOP ? NONE : gateway;
    return this.hops.find(
      this.routePorts[route],
      6,
      view.getInt32(offset),
      view.getInt32(offset + 4),
      view.getInt32(offset + 8),
      view.getInt32(offset + 12),
    );
  }

  // ---- slow path ---------------------------------------------------------------------------------------------------

  /** An address of this machine to speak from on a port: of that port if it has one, else of another of its domain. */
  localAddress(port: number, family: 4 | 6): IpAddress | undefined {
    let fallback: IpAddress | undefined;
    for (const { index, address } of this.addresses.values()) {
      if (address.length !== (family === 4 ? 4 : 16) || isLinkLocal(address)) continue;
      if (index === this.hops.interfaceOf(port)) return address;
      const other = this.interfaces.get(index) ?? NONE;
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
    const port = this.interfaces.get(index) ?? NONE;
    return port === NONE ? 0 : this.domains.ofPort[port];
  }

  // ---- NetworkListener ---------------------------------------------------------------------------------------------

  reset(): void {
    for (const told of this.told.values()) this.remove(told);
    this.told.clear();
    for (const { index, address } of this.addresses.values())
      this.onLocal?.(address, false, this.domainOf(index));
    this.addresses.clear();
    this.interfaces.clear();
    this.hops.reset();
    this.generation++;
  }

  link(change: LinkChange, present: boolean): void {
    const port = this.ports.findIndex(({ name }) => name === change.name);
    if (present) this.interfaces.set(change.index, port);
    else this.interfaces.delete(change.index);
    if (port === NONE) return;
    if (present) this.mtu[port] = change.mtu;
    this.hops.setInterface(port, present ? change.index : NONE, present ? change.mac : undefined);
    this.onPort?.(port, present ? change.mac : undefined);
    for (const told of this.told.values()) this.select(told);
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
      .map((change) => ({ change, port: this.interfaces.get(change.index) ?? NONE }))
      .filter(({ port }) => port !== NONE)
      .sort((a, b) => a.change.metric - b.change.metric);
    if (usable.length === 0) return;
    const { change, port } = usable[0];
    const id = this.freeRoutes.pop() ?? this.unusedRoute++;
    if (id >= this.routePorts.length) {
      this.routePorts = grow(this.routePorts);
      this.routeGateways = grow(this.routeGateways);
    }
    this.routePorts[id] = port;
    const hop = change.gateway ? this.hops.to(port, change.gateway) : NONE;
    this.routeGateways[id] = change.gateway && hop === NONE ? NO_HOP : hop;
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
    this.routePorts[id] = NONE;
    this.routeGateways[id] = NONE;
    this.freeRoutes.push(id);
  }

  neighbour(index: number, address: IpAddress, mac: Uint8Array | undefined): void {
    this.hops.neighbour(index, address, mac);
  }
}
