// Routes that the policies ask for: traffic of the gateway's own host to what lies behind the tunnels goes to the TUN
// device. They live in a table of their own, looked up before the main one, so that nothing of the host's is changed and
// everything goes with one flush.
//
// IKE and ESP must not go into the tunnels. What charon sends from its ports goes past the table, to whomever: a peer that
// has just moved is asked at its new address before any policy names that. Where a tunnel covers its own far end
// (0.0.0.0/0, say) the far end is thrown back to the main table besides, for the kernel's ESP on the slow path.

import { execFileSync } from "node:child_process";
import type { PolicyRequest } from "../ipsec/kernel.js";
import { PolicyDirection, PolicyType } from "../ipsec/spd-layout.js";
import {
  compareAddresses,
  formatAddress,
  formatPrefix,
  type IpAddress,
  parseAddress,
  rangeToPrefixes,
} from "../net/address.js";
import { createTun, deleteTun } from "../ports/tun.js";
import { type Logger, messageOf } from "./log.js";

const IKE_PORTS = ["500", "4500"];

interface Wanted {
  /** Arguments of `ip route replace`. */
  readonly words: readonly string[];
  readonly family: "-4" | "-6";
  count: number;
}

export class TunRoutes {
  readonly #device: string;
  /** Number of the table, which is the preference of its rules as well. */
  readonly #table: string;
  /** Preference of the rule behind them, which does nothing but to be gone to. */
  readonly #past: string;
  readonly #log: Logger;
  readonly #wanted = new Map<string, Wanted>();

  /** Makes the device, or takes over the one that an earlier run left, and the rules; the table begins empty. */
  constructor(device: string, mtu: number, table: number, log: Logger) {
    this.#device = device;
    this.#table = String(table);
    this.#past = String(table + 1);
    this.#log = log;
    createTun(device, mtu);
    ip("link", "set", device, "up");
    for (const family of ["-4", "-6"]) {
      for (const rule of this.#rules()) this.#quietly(family, "rule", "del", ...rule);
      for (const rule of this.#rules()) ip(family, "rule", "add", ...rule);
      this.#quietly(family, "route", "flush", "table", this.#table);
    }
  }

  /** Among rules of one preference the first one that was added comes first. */
  #rules(): string[][] {
    return [
      ["pref", this.#past, "nop"],
      ...IKE_PORTS.map((port) => ["pref", this.#table, "ipproto", "udp", "sport", port, "goto", this.#past]),
      ["pref", this.#table, "lookup", this.#table],
    ];
  }

  /** A policy came or went. */
  change(request: PolicyRequest, present: boolean): void {
    if (present) this.#add(request);
    else this.#remove(request);
  }

  #add(request: PolicyRequest): void {
    for (const { key, words, family } of this.#routesFor(request)) {
      const wanted = this.#wanted.get(key);
      if (wanted) {
        wanted.count++;
        continue;
      }
      this.#wanted.set(key, { words, family, count: 1 });
      try {
        ip(family, "route", "replace", ...words, "table", this.#table);
      } catch (error) {
        this.#log.warn(`route ${words.join(" ")}: ${messageOf(error)}`);
      }
    }
  }

  #remove(request: PolicyRequest): void {
    for (const { key } of this.#routesFor(request)) {
      const wanted = this.#wanted.get(key);
      if (!wanted || --wanted.count > 0) continue;
      this.#wanted.delete(key);
      this.#quietly(wanted.family, "route", "del", ...wanted.words, "table", this.#table);
    }
  }

  #routesFor({
    id,
    type,
    reqid,
    dst,
  }: PolicyRequest): { key: string; words: string[]; family: "-4" | "-6" }[] {
    // While an SA moves to other addresses a policy that drops stands in for the one that protects: what the host sends
    // must go on meeting it, and not leave by another route, in the clear. Policies without a reqid are for all traffic
    // from here to there, of which the host's own is none that a route could tell.
    const standsForSa = type === PolicyType.ipsec || (type === PolicyType.drop && reqid !== 0);
    if (id.direction !== PolicyDirection.out || !standsForSa) return [];
    const { from, to } = id.dstSelector;
    const family = from.length === 4 ? "-4" : "-6";
    const source = this.#localAddressIn(id.srcSelector.from, id.srcSelector.to);
    const routes: string[][] = rangeToPrefixes(from, to).map((prefix) => [
      formatPrefix(prefix),
      "dev",
      this.#device,
      ...(source ? ["src", source] : []),
    ]);
    const far = dst.address;
    if (far.length === from.length && compareAddresses(far, from) >= 0 && compareAddresses(far, to) <= 0)
      routes.push(["throw", `${formatAddress(far)}/${far.length * 8}`]);
    return routes.map((words) => ({
      key: words.slice(0, words[0] === "throw" ? 2 : 1).join(" "),
      words,
      family,
    }));
  }

  /** An address of this host that may speak into the tunnel. */
  #localAddressIn(from: IpAddress, to: IpAddress): string | undefined {
    const family = from.length === 4 ? "-4" : "-6";
    const interfaces = JSON.parse(ip("-j", family, "addr", "show", "scope", "global") || "[]") as {
      addr_info?: { local?: string }[];
    }[];
    for (const { addr_info } of interfaces)
      for (const { local } of addr_info ?? []) {
        const address = local === undefined ? undefined : parseAddress(local);
        if (address && compareAddresses(address, from) >= 0 && compareAddresses(address, to) <= 0)
          return local;
      }
    return undefined;
  }

  #quietly(...args: string[]): void {
    try {
      ip(...args);
    } catch {
      // It was not there: the interface went and took its routes along, or this is the first run.
    }
  }

  /** Removes rules, routes and device. */
  close(): void {
    for (const family of ["-4", "-6"]) {
      for (const rule of this.#rules().reverse()) this.#quietly(family, "rule", "del", ...rule);
      this.#quietly(family, "route", "flush", "table", this.#table);
    }
    try {
      deleteTun(this.#device);
    } catch (error) {
      this.#log.warn(messageOf(error));
    }
  }
}

function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
