// Routes that the policies ask for: traffic of the gateway's own host that is to be protected goes to the TUN device. They
// live in tables of their own, looked up before the main one, so that nothing of the host's is changed and everything goes
// with one flush. In the order of evaluation:
//
//   rules  IKE (UDP from or to ports 500 and 4500): past all of this
//          to PEER, protocol, ports of a policy in transport mode: its table, which has a route for the peer
//          everything: the table of the tunnels
//
// In tunnel mode a route is enough: what lies behind a tunnel is protected or dropped. Where a tunnel covers its own far
// end (0.0.0.0/0, say) the far end is thrown back to the main table: ESP must not go into the tunnel. Nor must IKE, to
// whomever: a peer that has just moved is asked at its new address before any policy names that. In transport
// mode the peer itself is the destination, and only what a policy names may be diverted: the rules look at protocol and
// ports, so that all else leaves by the kernel as ever. ESP itself never meets these rules, or names its interface.
//
// A device that is bound to an interface id or a mark gets no routes: as with an xfrm interface, the operator lays them.

import { networkInterfaces } from "node:os";
import { messageOf } from "../config/refusal.js";
import { MODE_TRANSPORT } from "../ipsec/add-sa.js";
import { type Binding, Domains } from "../ipsec/binding.js";
import type { PolicyRequest, Selector } from "../ipsec/kernel.js";
import { PolicyDirection, PolicyType } from "../ipsec/spd-layout.js";
import { interfaceIndex } from "../native/libc.js";
import {
  compareAddresses,
  formatPrefix,
  type IpAddress,
  type Prefix,
  parseAddress,
  rangeToPrefixes,
} from "../net/address.js";
import { RouteSocket } from "../ports/route-socket.js";
import { createTun, deleteTun } from "../ports/tun.js";
import { ip } from "./commands.js";
import type { Logger } from "./log.js";

type Family = "-4" | "-6";
const families = ["-4", "-6"] as const;

/** A route or a rule. */
interface Wanted {
  /** What it is known by: several policies may want the same. */
  readonly key: string;
  readonly family: Family;
  readonly route?: Route;
  /** Arguments of `ip rule add` and `del`. */
  readonly rule?: readonly string[];
}

interface Route {
  readonly prefix: Prefix;
  readonly table: number;
  /** Back to the main table, not to the device. */
  readonly isThrow: boolean;
  /** Address that the host speaks from on it. */
  readonly source?: IpAddress | undefined;
}

/** Milliseconds for which the host's addresses are believed to stay. */
const ADDRESSES_STAY = 1000;

/** Routing tables for tunnels and for transport mode; the first one's number is the rules' priority too. */
interface Tables {
  table: number;
  transportTable: number;
}

export interface TunRoutesOptions extends Tables {
  device: string;
  mtu: number;
  /** Whether several workers have the device open. */
  isShared: boolean;
  /** What the device is bound to. */
  binding: Binding;
  /**
   * Policies of an earlier run are in force still: its rules and routes stay, and only then nothing leaves in the clear
   * while they are laid again.
   */
  keep: boolean;
  log: Logger;
}

export class TunRoutes {
  readonly #options: TunRoutesOptions;
  readonly #socket = new RouteSocket();
  /** What policies want, by key, and how many of them. */
  readonly #wanted = new Map<string, { readonly wanted: Wanted; count: number }>();
  readonly #isBound: boolean;
  #addresses: IpAddress[] = [];
  #addressesRead = Number.NEGATIVE_INFINITY;

  /** Makes the device, or takes over the one that an earlier run left, and the first rule. */
  constructor(options: TunRoutesOptions) {
    this.#options = options;
    this.#isBound = new Domains([options]).count > 1;
    this.#makeDevice();
    // A bound device has no routes, and one of an earlier run may have been none.
    if (!options.keep || this.#isBound) TunRoutes.clear(options);
    const table = String(options.table);
    for (const family of families) this.#addRule(family, ["pref", table, "lookup", table]);
  }

  /** A policy came or went. */
  change(request: PolicyRequest, present: boolean): void {
    const { id, type, reqid } = request;
    // While an SA moves to other addresses a policy that drops stands in for the one that protects: what the host sends
    // must go on meeting it, and not leave by another route, in the clear. Policies without a reqid are for all traffic
    // from here to there, of which the host's own is none that a route could tell.
    const standsForSa = type === PolicyType.ipsec || (type === PolicyType.drop && reqid !== 0);
    if (id.direction !== PolicyDirection.out || !standsForSa || this.#isBound) return;
    // What is for other ports than this one must not come in by it.
    if (id.interfaceId !== 0 || (id.mark.value & id.mark.mask) !== 0) return;
    const wanted = request.mode === MODE_TRANSPORT ? this.#forTransport(request) : this.#forTunnel(request);
    for (const each of present ? wanted : wanted.reverse())
      if (present) this.#want(each);
      else this.#unwant(each);
  }

  #want(wanted: Wanted): void {
    const known = this.#wanted.get(wanted.key);
    if (known) {
      known.count++;
      return;
    }
    this.#wanted.set(wanted.key, { wanted, count: 1 });
    if (wanted.route) this.#changeRoute(wanted.route, true);
    if (wanted.rule) this.#addRule(wanted.family, wanted.rule);
  }

  #unwant({ key }: Wanted): void {
    const known = this.#wanted.get(key);
    if (!known || --known.count > 0) return;
    this.#wanted.delete(key);
    const { family, route, rule } = known.wanted;
    if (route) this.#changeRoute(route, false);
    if (rule) quietly(family, "rule", "del", ...rule);
  }

  /** Makes the device again if it was deleted, and lays the routes that went with it, or when it was set down. */
  restore(): void {
    this.#makeDevice();
    for (const { wanted } of this.#wanted.values())
      if (wanted.route && !wanted.route.isThrow) this.#changeRoute(wanted.route, true);
  }

  #makeDevice(): void {
    createTun(this.#options.device, this.#options.mtu, this.#options.isShared);
    ip("link", "set", this.#options.device, "up");
  }

  #addRule(family: Family, words: readonly string[]): void {
    try {
      ip(family, "rule", "add", ...words);
    } catch (error) {
      if (messageOf(error).includes("File exists")) return;
      this.#options.log.warn(`ip ${family} rule add ${words.join(" ")}: ${messageOf(error)}`);
    }
  }

  #changeRoute({ prefix, table, isThrow, source }: Route, present: boolean): void {
    try {
      const index = isThrow ? undefined : interfaceIndex(this.#options.device);
      this.#socket.change({ prefix, table, interfaceIndex: index, source }, present);
    } catch (error) {
      // A route that is not there any more went with its interface.
      if (present) this.#options.log.warn(messageOf(error));
    }
  }

  #route(family: Family, route: Route): Wanted {
    const { prefix, table, isThrow } = route;
    return { key: `route ${isThrow ? "throw " : ""}${formatPrefix(prefix)} ${table}`, family, route };
  }

  #forTunnel({ id, dst }: PolicyRequest): Wanted[] {
    const { from, to } = id.dstSelector;
    const { table } = this.#options;
    const family = familyOf(from);
    const source = this.#localAddressIn(id.srcSelector.from, id.srcSelector.to);
    const wanted = this.#pastForIke(family);
    for (const prefix of rangeToPrefixes(from, to))
      wanted.push(this.#route(family, { prefix, table, isThrow: false, source }));
    const far = dst.address;
    if (far.length === from.length && compareAddresses(far, from) >= 0 && compareAddresses(far, to) <= 0) {
      const prefix = { address: far, length: far.length * 8 };
      wanted.push(this.#route(family, { prefix, table, isThrow: true }));
    }
    return wanted;
  }

  #rule(family: Family, priority: number, ...words: string[]): Wanted {
    const rule = ["pref", String(priority), ...words];
    return { key: `${family} ${rule.join(" ")}`, family, rule };
  }

  /** The exceptions for IKE: they must stand before the rules and routes that would divert it. */
  #pastForIke(family: Family): Wanted[] {
    const { table } = this.#options;
    const wanted = [this.#rule(family, table + 1, "nop")];
    for (const side of ["sport", "dport"])
      for (const port of ["500", "4500"])
        wanted.push(this.#rule(family, table - 1, "ipproto", "udp", side, port, "goto", String(table + 1)));
    return wanted;
  }

  #forTransport({ id }: PolicyRequest): Wanted[] {
    const { srcSelector, dstSelector } = id;
    const family = familyOf(dstSelector.from);
    const source = this.#localAddressIn(srcSelector.from, srcSelector.to);
    const { table, transportTable } = this.#options;
    const wanted = this.#pastForIke(family);
    for (const prefix of rangeToPrefixes(dstSelector.from, dstSelector.to)) {
      const text = formatPrefix(prefix);
      wanted.push(this.#route(family, { prefix, table: transportTable, isThrow: false, source }));
      const match = transportMatch(srcSelector, dstSelector);
      wanted.push(this.#rule(family, table, "to", text, ...match, "lookup", String(transportTable)));
    }
    return wanted;
  }

  /** An address of this host that may speak into the tunnel. */
  #localAddressIn(from: IpAddress, to: IpAddress): IpAddress | undefined {
    if (performance.now() - this.#addressesRead > ADDRESSES_STAY) {
      this.#addresses = localAddresses();
      this.#addressesRead = performance.now();
    }
    return this.#addresses.find(
      (address) =>
        address.length === from.length &&
        compareAddresses(address, from) >= 0 &&
        compareAddresses(address, to) <= 0,
    );
  }

  /**
   * Removes rules and routes, those of an earlier run too.
   * @param used tables that somebody else has in use by now: they keep their routes, and the rules that lead to them
   */
  static clear({ table, transportTable }: Tables, used: ReadonlySet<number> = new Set()): void {
    const isFree = (number: string | undefined) => !used.has(table) || !used.has(Number(number));
    for (const family of families) {
      // As numbers: an administrator may have given the tables names.
      for (const rule of JSON.parse(ip("-N", "-j", family, "rule", "show") || "[]") as Rule[]) {
        const isAll = rule.src === undefined || rule.src === "all";
        const leadsToOurs = [String(table), String(transportTable)].includes(rule.table ?? "");
        const mine =
          (rule.priority === table && isAll && leadsToOurs && isFree(rule.table)) ||
          (rule.priority === table - 1 && rule.goto === table + 1 && !used.has(table)) ||
          (rule.priority === table + 1 && "nop" in rule && !used.has(table));
        if (mine) quietly(family, "rule", "del", "pref", String(rule.priority), ...ownWords(rule));
      }
      for (const each of [table, transportTable])
        if (!used.has(each)) quietly(family, "route", "flush", "table", String(each));
    }
  }

  /** Removes a device, if it is there. */
  static removeDevice(device: string, log: Logger): void {
    try {
      deleteTun(device);
    } catch (error) {
      log.warn(messageOf(error));
    }
  }

  /** Leaves everything as it is. */
  release(): void {
    this.#socket.close();
  }

  /** Removes rules, routes and device. */
  close(): void {
    this.#socket.close();
    TunRoutes.clear(this.#options);
    TunRoutes.removeDevice(this.#options.device, this.#options.log);
  }
}

/** Addresses of this host that are good beyond their link. */
function localAddresses(): IpAddress[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, scopeid }) => !internal && !scopeid)
    .map(({ address }) => parseAddress(address))
    .filter((address) => address !== undefined);
}

/** A rule as `ip -j rule` tells it. */
interface Rule {
  priority: number;
  src?: string;
  table?: string;
  goto?: number;
  nop?: null;
}

/** What tells a rule of ours from others with the same priority. */
function ownWords(rule: Rule): string[] {
  if (rule.table !== undefined) return ["lookup", rule.table];
  return rule.goto === undefined ? ["nop"] : ["goto", String(rule.goto)];
}

function familyOf(address: IpAddress): Family {
  return address.length === 4 ? "-4" : "-6";
}

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const DCCP = 33;
const UDP_LITE = 136;

/** Protocol and ports of a policy in the words of `ip rule`. Types of ICMP, and OPAQUE, it has no words for. */
function transportMatch(src: Selector, dst: Selector): string[] {
  const protocol = src.protocol || dst.protocol;
  if (protocol === 0) return [];
  const words = ["ipproto", String(protocol)];
  if (![TCP, UDP, SCTP, DCCP, UDP_LITE].includes(protocol)) return words;
  for (const [name, { fromPort, toPort }] of [
    ["sport", src],
    ["dport", dst],
  ] as const) {
    if (fromPort > toPort || (fromPort === 0 && toPort === 0xffff)) continue;
    // The kernel has no port 0.
    const first = Math.max(1, fromPort);
    words.push(name, first === toPort ? String(first) : `${first}-${toPort}`);
  }
  return words;
}

/** For what may be gone: the interface went and took its routes along, or this is the first run. */
function quietly(...args: string[]): void {
  try {
    ip(...args);
  } catch {
    // It was not there.
  }
}
