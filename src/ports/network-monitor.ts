// Watches the kernel's network over a NETLINK_ROUTE socket and tells a listener what changes: links, addresses, routes
// (tables main and local, or all) and neighbours of both IP families.
//
// The monitor knows what it has told. When tables have to be read again (messages were lost, or something happened that
// the kernel does not tell in full) it tells the differences alone, so that no packet meets an empty table. The kernel
// does not tell, for example, that IPv4 routes vanish with their interface or with their preferred source address.
//
// It never blocks: the kernel answers a dump inside of the call that reads it.

import {
  AF_NETLINK,
  bind,
  close,
  errno,
  errorName,
  MSG_DONTWAIT,
  recv,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  SystemError,
  sendto,
  setsockopt,
  socket,
} from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import type { LinkChange, NetworkListener } from "../net/kernel-network.js";
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  dumpRequest,
  groups,
  type NetlinkMessage,
  neighbourRequest,
  parseNetlink,
  setNeighbour,
  type Table,
} from "../net/rtnetlink.js";

const NETLINK_ROUTE = 0;
const SO_RCVBUFFORCE = 33;
const RECEIVE_BUFFER = 4 << 20;
/** The kernel fills at most 32 KiB at once. */
const DATAGRAM = 64 << 10;
/** Datagrams that one `poll` reads at most. */
const BATCH = 16;

interface Dump {
  readonly table: Table;
  readonly family: number;
}

const everything: readonly Dump[] = [
  { table: "link", family: AF_UNSPEC },
  ...(["address", "route", "neighbour"] as const).flatMap((table) =>
    [AF_INET, AF_INET6].map((family) => ({ table, family })),
  ),
];

/** The multicast group that tells of changes. */
function groupOf(table: Table, family: number): number {
  if (table === "link" || table === "neighbour") return groups[table];
  return groups[`${table}${family === AF_INET ? 4 : 6}`];
}

/** Something that the listener knows of, and the last reading of its table that had it. */
interface Known {
  reading: number;
  readonly family: number;
  /** What makes it differ from another state of the same thing. */
  readonly state: string;
  /** Tells the listener that it is gone. */
  readonly remove: () => void;
  /** Routes: there may be others behind it. */
  several?: boolean;
}

export class NetworkMonitor {
  /** To wait on for POLLIN. */
  readonly fd: number;
  readonly #listener: NetworkListener;
  readonly #known: Readonly<Record<Table, Map<string, Known>>> = {
    link: new Map(),
    address: new Map(),
    route: new Map(),
    neighbour: new Map(),
  };
  readonly #buffer = new Uint8Array(DATAGRAM);
  readonly #ask4 = neighbourRequest(AF_INET);
  readonly #ask6 = neighbourRequest(AF_INET6);
  /** Tables to read, the one that is being read first. */
  readonly #dumps: Dump[] = [];
  #reading = false;
  #sequence = 0;
  /** Readings of tables so far: the mark of what the current one has seen. */
  #readings = 0;
  /** Routes of one table, destination and metric over different interfaces: their keys, the one in use first. */
  readonly #alternatives = new Map<string, string[]>();
  readonly #allTables: boolean;
  /** What is watched. */
  readonly #everything: readonly Dump[];

  /**
   * Tells the listener everything there is before it returns.
   * @param allTables with the routes of all tables; else those of main and local
   * @param only these kinds of things; all, if left out
   * @throws SystemError
   */
  constructor(listener: NetworkListener, allTables = false, only?: readonly Table[]) {
    this.#everything = everything.filter(({ table }) => only?.includes(table) ?? true);
    this.#listener = listener;
    this.#allTables = allTables;
    this.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, "route netlink socket");
    try {
      try {
        const size = new Uint8Array(Uint32Array.of(RECEIVE_BUFFER).buffer);
        setsockopt(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, size);
      } catch {
        // Without the privilege a flood of changes is read as a whole table instead.
      }
      const address = new Uint8Array(12);
      const view = new DataView(address.buffer);
      view.setUint16(0, AF_NETLINK, true);
      view.setUint32(
        8,
        this.#everything.reduce((all, { table, family }) => all | groupOf(table, family), 0),
        true,
      );
      bind(this.fd, address, "route netlink socket");
      listener.reset();
      this.#readAgain(this.#everything);
      while (this.#dumps.length > 0) {
        if (!this.poll()) throw new Error("the kernel did not answer with its network tables");
      }
    } catch (error) {
      close(this.fd);
      throw error;
    }
  }

  /**
   * Handles what has arrived, a bounded amount of it.
   * @returns whether there was anything
   * @throws SystemError when the socket is broken
   */
  poll(): boolean {
    this.#nextDump();
    let count = 0;
    for (; count < BATCH; count++) {
      const length = recv(this.fd, this.#buffer, DATAGRAM, MSG_DONTWAIT);
      if (length < 0) {
        const code = errorName(errno());
        if (code === "EAGAIN") break;
        if (code === "EINTR") continue;
        if (code !== "ENOBUFS") throw new SystemError("reading from the route netlink socket", errno());
        this.#readAgain(this.#everything);
        continue;
      }
      for (const message of parseNetlink(this.#buffer.subarray(0, length), this.#allTables))
        this.#handle(message);
    }
    return count > 0;
  }

  /**
   * Makes the kernel resolve a neighbour, or find out whether one that it has not heard of for a while is still there.
   * The answer comes to the listener. Does not allocate.
   */
  use(index: number, address: IpAddress): void {
    const request = address.length === 4 ? this.#ask4 : this.#ask6;
    setNeighbour(request, index, address);
    // Failure means that the interface is gone or the kernel is short of memory: there is nothing to do about it.
    sendto(this.fd, request, request.length, MSG_DONTWAIT, null, 0);
  }

  close(): void {
    close(this.fd);
  }

  #readAgain(dumps: readonly Dump[]): void {
    // A table that is being read is read once more behind it.
    const running = this.#reading ? 1 : 0;
    for (const dump of dumps) {
      const queued = this.#dumps.findIndex(
        ({ table, family }) => table === dump.table && family === dump.family,
      );
      if (queued < running) this.#dumps.push(dump);
    }
    this.#nextDump();
  }

  #routesAgain(): void {
    this.#readAgain(this.#everything.filter(({ table }) => table === "route"));
  }

  #nextDump(): void {
    if (this.#reading || this.#dumps.length === 0) return;
    const { table, family } = this.#dumps[0];
    const request = dumpRequest(table, family, ++this.#sequence);
    if (sendto(this.fd, request, request.length, MSG_DONTWAIT, null, 0) < 0) return; // With the next poll.
    this.#reading = true;
    this.#readings++;
  }

  #endDump(complete: boolean): void {
    const [dump] = this.#dumps;
    this.#reading = false;
    if (complete) {
      this.#dumps.shift();
      const known = this.#known[dump.table];
      for (const [key, thing] of known) {
        if (thing.family !== dump.family || thing.reading === this.#readings) continue;
        known.delete(key);
        thing.remove();
      }
    }
    this.#nextDump();
  }

  #failDump(number: number): void {
    const code = errorName(number);
    if (code === "EBUSY" || code === "EINTR" || code === "EAGAIN") {
      this.#endDump(false);
      return;
    }
    const [{ table }] = this.#dumps.splice(0, 1);
    this.#reading = false;
    throw new SystemError(`reading the kernel's ${table} table`, number);
  }

  #handle(message: NetlinkMessage): void {
    switch (message.kind) {
      case "link":
        this.#link(message.change, message.present);
        break;
      case "address":
        this.#address(message);
        break;
      case "route":
        this.#route(message);
        break;
      case "neighbour":
        this.#neighbour(message);
        break;
      case "done":
        if (this.#reading && message.sequence === this.#sequence) this.#endDump(!message.interrupted);
        break;
      case "error":
        if (this.#reading && message.sequence === this.#sequence) this.#failDump(message.errno);
        break;
      case "overrun":
        this.#readAgain(this.#everything);
        break;
    }
  }

  /** Remembers a thing. @returns whether the listener has to be told: it is new, or not as it was */
  #learn(table: Table, key: string, thing: Omit<Known, "reading">): boolean {
    const known = this.#known[table];
    const before = known.get(key);
    if (before?.state === thing.state) {
      before.reading = this.#readings;
      return false;
    }
    known.set(key, { ...thing, reading: this.#readings });
    return true;
  }

  #forget(table: Table, key: string): void {
    const thing = this.#known[table].get(key);
    if (!thing) return;
    this.#known[table].delete(key);
    thing.remove();
  }

  #link(change: LinkChange, present: boolean): void {
    const key = String(change.index);
    const mac = change.mac ? hex(change.mac) : "";
    const state = `${change.name} ${mac} ${change.mtu} ${change.up}`;
    const wasUp = this.#known.link.get(key)?.state.endsWith("true");
    const remove = () => this.#listener.link(change, false);
    if (!present) this.#forget("link", key);
    else if (this.#learn("link", key, { family: AF_UNSPEC, state, remove }))
      this.#listener.link(change, true);
    if (wasUp && (!present || !change.up)) this.#routesAgain();
  }

  #address(message: NetlinkMessage & { kind: "address" }): void {
    const { index, address, prefixLength, present } = message;
    const key = `${index} ${hex(address)}/${prefixLength}`;
    const remove = () => this.#listener.address(index, address, prefixLength, false);
    if (!present) {
      this.#forget("address", key);
      if (address.length === 4) this.#routesAgain();
    } else if (this.#learn("address", key, { family: familyOf(address), state: "", remove })) {
      this.#listener.address(index, address, prefixLength, true);
    }
  }

  /**
   * Routes of one destination and metric in one table may lead over several interfaces: two customers' networks with the
   * same addresses do. Each is told; those that were there before have precedence, and are told as such. Of several over
   * one interface the first one is told.
   */
  #route(message: NetlinkMessage & { kind: "route" }): void {
    const { table, present } = message;
    const { prefix, gateway, index, type, metric } = message.change;
    const name = `${table} ${hex(prefix.address)}/${prefix.length} ${metric}`;
    const key = `${name} ${index}`;
    const keys = this.#alternatives.get(name) ?? [];
    const before = this.#known.route.get(key);
    if (!present) {
      // A next hop of several may go without its route: what is left has to be looked up.
      if (keys.some((other) => this.#known.route.get(other)?.several)) this.#routesAgain();
      else this.#forget("route", key);
      return;
    }
    const state = `${gateway ? hex(gateway) : ""} ${type}`;
    // The first one of several over an interface is the one that counts. In a dump that is the one which this reading has
    // met already; an append says so itself.
    const behind = message.appended || (message.listed && before?.reading === this.#readings);
    if (before && before.state !== state && behind) {
      before.several = true;
      return;
    }
    if (message.replaced && keys.length > 0 && keys[0] !== key) {
      this.#forget("route", keys[0]);
      if (keys.length > 0) this.#routesAgain();
    }
    const met = (other: string) => this.#known.route.get(other)?.reading === this.#readings;
    const isLater = message.listed && keys.some((other) => other !== key && met(other));
    const change = { ...message.change, behind: behind || isLater };
    const remove = () => {
      this.#listener.route(change, false);
      const at = keys.indexOf(key);
      if (at >= 0) keys.splice(at, 1);
      if (keys.length === 0) this.#alternatives.delete(name);
    };
    const thing = { family: familyOf(prefix.address), state, remove, several: message.several };
    if (this.#learn("route", key, thing)) {
      before?.remove();
      if (change.behind) keys.push(key);
      else keys.unshift(key);
      this.#alternatives.set(name, keys);
      this.#listener.route(change, true);
    } else if (before && message.several) {
      before.several = true;
    }
  }

  #neighbour(message: NetlinkMessage & { kind: "neighbour" }): void {
    const { index, address, mac } = message;
    const key = `${index} ${hex(address)}`;
    const remove = () => this.#listener.neighbour(index, address, undefined);
    if (!mac) this.#forget("neighbour", key);
    else if (this.#learn("neighbour", key, { family: familyOf(address), state: hex(mac), remove }))
      this.#listener.neighbour(index, address, mac);
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

function familyOf(address: IpAddress): number {
  return address.length === 4 ? AF_INET : AF_INET6;
}
