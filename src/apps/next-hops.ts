// The Ethernet neighbours, and the devices, to which packets go: entries of a fixed table, made when the first packet asks
// for one, resolved while the neighbour's Ethernet address is known. The neighbours of a port are the kernel's to look for,
// or Vita's own where it owns the interface.

import { type Counters, counterIndex } from "../engine/app.js";
import { NONE } from "../memory/frames.js";
import { formatAddress, type IpAddress } from "../net/address.js";

export const nextHopCounters = {
  next_hops: "next hops in the table now",
  "drop.next_hops_full": "the table of next hops is full",
} as const;
const COUNT = counterIndex(nextHopCounters);

/** A port as its neighbours see it. */
export interface NeighbourPort {
  readonly kind: "ethernet" | "ip";
  /** Does Vita itself look for the neighbours behind it? Otherwise the kernel does. */
  readonly owned?: boolean;
}

const MAX_PROBES = 16;

export class NextHops {
  private readonly ports: readonly NeighbourPort[];
  private readonly counters: Counters;
  /** Interface index of the kernel, and own Ethernet address, by port. */
  private readonly interfaces: Int32Array;
  private readonly macs: (Uint8Array | undefined)[];
  /** Ethernet addresses by interface and IP address. */
  private readonly neighbours = new Map<string, Uint8Array>();

  // A hash table by port and address.
  private readonly mask: number;
  /** Port by hop; NONE for entries that are free. */
  readonly port: Int32Array;
  /** 1 while the hop's header is right. */
  readonly resolved: Uint8Array;
  private readonly address: Uint32Array;
  private readonly family: Uint8Array;
  /** Destination and source Ethernet address as the words of memory that they are: three an entry, from 4 × hop on. */
  readonly header: Int32Array;
  /** Set by the data path when a hop carried a packet; cleared by `refreshUsed`. */
  readonly used: Uint8Array;
  private count = 0;
  private readonly unresolved = new Uint32Array(256);
  private unresolvedCount = 0;

  /** @param capacity a power of two */
  constructor(ports: readonly NeighbourPort[], counters: Counters, capacity: number) {
    this.ports = ports;
    this.counters = counters;
    this.interfaces = new Int32Array(ports.length).fill(NONE);
    this.macs = ports.map(() => undefined);
    this.mask = capacity - 1;
    this.port = new Int32Array(capacity).fill(NONE);
    this.resolved = new Uint8Array(capacity);
    this.used = new Uint8Array(capacity);
    this.family = new Uint8Array(capacity);
    this.address = new Uint32Array(4 * capacity);
    this.header = new Int32Array(4 * capacity);
  }

  // ---- data path ---------------------------------------------------------------------------------------------------

  /** Next hop behind a port, or NONE when the table is full. The address is four words; IPv4 has it in the first one. */
  find(port: number, family: number, a: number, b: number, c: number, d: number): number {
    const addresses = this.address;
    let hash = Math.imul(
      a ^ Math.imul(b ^ Math.imul(c ^ Math.imul(d, 0x85ebca6b), 0xc2b2ae35), 0x27d4eb2f),
      0x9e3779b1,
    );
    hash ^= hash >>> 15;
    for (let i = 0; i < MAX_PROBES; i++) {
      const hop = (hash + i) & this.mask;
      if (this.port[hop] === NONE) return this.create(hop, port, family, a, b, c, d);
      const at = 4 * hop;
      if (
        this.port[hop] === port &&
        addresses[at] === a >>> 0 &&
        addresses[at + 1] === b >>> 0 &&
        addresses[at + 2] === c >>> 0 &&
        addresses[at + 3] === d >>> 0 &&
        this.family[hop] === family
      )
        return hop;
    }
    this.counters[COUNT["drop.next_hops_full"]]++;
    return NONE;
  }

  /** The one next hop of a port without Ethernet: the device itself. */
  device(port: number): number {
    return this.find(port, 0, 0, 0, 0, 0);
  }

  /** Notes that packets wait for this hop's Ethernet address. `takeUnresolved` hands it to whoever asks the kernel. */
  want(hop: number): void {
    if (this.ports[this.port[hop]].owned) return;
    for (let i = 0; i < this.unresolvedCount; i++) if (this.unresolved[i] === hop) return;
    if (this.unresolvedCount < this.unresolved.length) this.unresolved[this.unresolvedCount++] = hop;
  }

  // ---- slow path ---------------------------------------------------------------------------------------------------

  /** First packet to a next hop: takes the entry into use. */
  private create(
    hop: number,
    port: number,
    family: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): number {
    this.port[hop] = port;
    this.family[hop] = family;
    this.address.set([a, b, c, d], 4 * hop);
    this.count++;
    this.counters[COUNT.next_hops] = this.count;
    this.resolve(hop);
    return hop;
  }

  /** Next hop to a neighbour behind a port, or NONE when the table is full. */
  to(port: number, neighbour: IpAddress): number {
    const view = new DataView(neighbour.buffer, neighbour.byteOffset, neighbour.byteLength);
    const word = (i: number) => (4 * i < view.byteLength ? view.getUint32(4 * i) : 0);
    return this.find(port, neighbour.length === 4 ? 4 : 6, word(0), word(1), word(2), word(3));
  }

  /** Whether more than half of the table is free: then strangers may have entries too. */
  get roomy(): boolean {
    return 2 * this.count <= this.mask;
  }

  addressOf(hop: number): IpAddress {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 4; i++) view.setUint32(4 * i, this.address[4 * hop + i]);
    return this.family[hop] === 4 ? bytes.slice(0, 4) : bytes;
  }

  private resolve(hop: number): void {
    const port = this.port[hop];
    this.resolved[hop] = 0;
    if (this.ports[port].kind === "ip") {
      this.resolved[hop] = 1;
      return;
    }
    const mac = this.neighbours.get(neighbourKey(this.interfaces[port], this.addressOf(hop)));
    const own = this.macs[port];
    if (!mac || !own) return;
    const header = new Uint8Array(this.header.buffer, 16 * hop, 12);
    header.set(mac, 0);
    header.set(own, 6);
    this.resolved[hop] = 1;
  }

  private resolveAll(matches: (hop: number) => boolean): void {
    for (let hop = 0; hop <= this.mask; hop++) if (this.port[hop] !== NONE && matches(hop)) this.resolve(hop);
  }

  /** Calls `ask` for each hop that a packet waited for since the last call. */
  takeUnresolved(ask: (index: number, address: IpAddress) => void): void {
    for (let i = 0; i < this.unresolvedCount; i++) {
      const hop = this.unresolved[i];
      if (this.resolved[hop] === 0) ask(this.interfaces[this.port[hop]], this.addressOf(hop));
    }
    this.unresolvedCount = 0;
  }

  /**
   * Calls `ask` for each Ethernet hop that carried packets since the last call: whoever keeps the neighbour shall see
   * that it is in use.
   * @param owned whether for the hops whose neighbours Vita itself looks for, or for the kernel's
   */
  refreshUsed(owned: boolean, ask: (port: number, address: IpAddress) => void): void {
    for (let hop = 0; hop <= this.mask; hop++) {
      if (this.used[hop] === 0) continue;
      const port = this.port[hop];
      if ((this.ports[port].owned ?? false) !== owned) continue;
      this.used[hop] = 0;
      if (this.ports[port].kind === "ethernet") ask(port, this.addressOf(hop));
    }
  }

  // ---- what is told ------------------------------------------------------------------------------------------------

  /** Interface index of the kernel for a port; NONE before it is known. */
  interfaceOf(port: number): number {
    return this.interfaces[port];
  }

  /** The interface behind a port has come, changed or gone: then `index` is NONE and there is no Ethernet address. */
  setInterface(port: number, index: number, mac: Uint8Array | undefined): void {
    this.interfaces[port] = index;
    this.macs[port] = mac;
    this.resolveAll((hop) => this.port[hop] === port);
  }

  /** A neighbour's Ethernet address, undefined when it is not known any more. */
  neighbour(index: number, address: IpAddress, mac: Uint8Array | undefined): void {
    const key = neighbourKey(index, address);
    if (mac) this.neighbours.set(key, mac);
    else this.neighbours.delete(key);
    const text = formatAddress(address);
    this.resolveAll(
      (hop) => this.interfaces[this.port[hop]] === index && formatAddress(this.addressOf(hop)) === text,
    );
  }

  /** Everything is going to be told anew. What is resolved stays so until it is. */
  reset(): void {
    this.neighbours.clear();
    this.interfaces.fill(NONE);
    this.macs.fill(undefined);
  }
}

function neighbourKey(index: number, address: IpAddress): string {
  return `${index} ${formatAddress(address)}`;
}
