// The way between charon and an interface that Vita owns: a TUN device which has the interface's addresses, for the
// kernel and its programs. What the kernel sends from these addresses leaves by it, wherever it goes:
//
//   pref T      from ADDRESS   lookup main, but for its default route    the private networks, say
//   pref T      from ADDRESS   lookup T
//   pref 32768 + T             lookup T     behind main and default: for programs that have no address yet
//   table T     the link's prefixes, and a default route where there is a gateway
//
// T is the configured routing table. The device outlives workers, and a supervisor that is killed: the next one takes it
// over as it is, and changes only what differs, so that charon does not see its addresses go.

import type { OwnedSettings } from "../config/owned-settings.js";
import { messageOf } from "../config/refusal.js";
import { formatAddress, formatPrefix, maskAddress } from "../net/address.js";
import type { InterfaceAddress } from "../net/interface-address.js";
import { createTun, deleteTun, TUN_LARGEST } from "../ports/tun.js";
import { ip as runIp, saidBy } from "./commands.js";
import type { Logger } from "./log.js";

const BEHIND_DEFAULT = 32_768;
const MAIN = "254";

type Family = "-4" | "-6";
const FAMILIES: readonly Family[] = ["-4", "-6"];

interface LinkReport {
  mtu: number;
  addr_info?: { local?: string; prefixlen?: number; scope?: string }[];
}

interface RuleReport {
  priority: number;
  src?: string;
  table?: string;
  suppress_prefixlen?: number;
}

/** What is to be, or what is: a rule as the words of `ip rule add`. */
type Words = readonly string[];

export class PuntDevice {
  readonly #settings: OwnedSettings;
  readonly #device: string;
  readonly #table: string;
  readonly #log: Logger;
  readonly #mtu: number;

  /**
   * Makes the device with all that belongs to it, or takes over the one that an earlier run left.
   * @param at where the interface stands in the configuration
   * @throws Error when the kernel has an address on the owned interface, or refuses the device
   */
  constructor(settings: OwnedSettings, at: string, log: Logger) {
    this.#settings = settings;
    this.#device = settings.punt.device;
    this.#table = String(settings.punt.routeTable);
    this.#log = log;
    this.#mtu = Math.min(refuseAddresses(settings.name, at), TUN_LARGEST);
    try {
      this.restore();
      // Nobody else has a reason to do so: the system has nothing to configure there.
      ip("link", "set", settings.name, "up");
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get name(): string {
    return this.#device;
  }

  /** Makes what is not there: all of it, when the device was deleted; routes, when it was set down. */
  restore(): void {
    createTun(this.#device, this.#mtu, false);
    // Link-local addresses would make the kernel speak of itself, to nobody.
    quietly("link", "set", this.#device, "addrgenmode", "none");
    ip("link", "set", this.#device, "up");
    this.#addresses();
    for (const family of FAMILIES) {
      changeRules(family, this.#table, this.#wantedRules(family));
      this.#routes(family);
    }
  }

  #ofFamily(family: Family): InterfaceAddress[] {
    return this.#settings.addresses.filter(({ address }) => (address.length === 4) === (family === "-4"));
  }

  #addresses(): void {
    const wanted = new Set(this.#settings.addresses.map(({ address }) => hostPrefix(address)));
    for (const { local, prefixlen, scope } of showAddresses(this.#device)?.addr_info ?? []) {
      const has = `${local}/${prefixlen}`;
      if (scope !== "link" && !wanted.has(has)) quietly("address", "del", has, "dev", this.#device);
    }
    for (const { address } of this.#settings.addresses) {
      const nodad = address.length === 16 ? ["nodad"] : [];
      ip("address", "replace", hostPrefix(address), "dev", this.#device, ...nodad);
    }
  }

  #wantedRules(family: Family): Words[] {
    const table = this.#table;
    const pref = ["pref", table];
    const own = this.#ofFamily(family);
    if (own.length === 0) return [];
    const rules: Words[] = own.flatMap(({ address }) => {
      const from = ["from", formatAddress(address)];
      return [
        [...pref, ...from, "lookup", MAIN, "suppress_prefixlength", "0"],
        [...pref, ...from, "lookup", table],
      ];
    });
    return [...rules, ["pref", String(BEHIND_DEFAULT + Number(table)), "lookup", table]];
  }

  #routes(family: Family): void {
    const own = this.#ofFamily(family);
    const prefixes = new Map<string, string>();
    for (const { address, prefixLength } of own) {
      const prefix = formatPrefix({ address: maskAddress(address, prefixLength), length: prefixLength });
      if (!prefixes.has(prefix)) prefixes.set(prefix, formatAddress(address));
    }
    const hasGateway = this.#settings.gateways.some((gateway) => gateway.length === own[0]?.address.length);
    if (hasGateway) prefixes.set("default", formatAddress(own[0].address));
    const there = ip("-j", family, "route", "show", "table", this.#table, { orElse: "[]" });
    for (const { dst } of JSON.parse(there || "[]") as { dst: string }[]) {
      const prefix = dst === "default" || dst.includes("/") ? dst : `${dst}/${family === "-4" ? 32 : 128}`;
      if (!prefixes.has(prefix)) quietly(family, "route", "del", dst, "table", this.#table);
    }
    for (const [prefix, source] of prefixes) {
      const way = ["dev", this.#device, "src", source, "table", this.#table];
      ip(family, "route", "replace", prefix, ...way);
    }
  }

  /** Removes device, routes and rules. The workers must have let go of the device. */
  close(): void {
    const { punt } = this.#settings;
    PuntDevice.removeRules(punt);
    PuntDevice.removeDevice(punt, this.#log);
  }

  /** Removes rules and routes of a table. */
  static removeRules({ routeTable }: OwnedSettings["punt"]): void {
    const table = String(routeTable);
    for (const family of FAMILIES) {
      changeRules(family, table, []);
      quietly(family, "route", "flush", "table", table);
    }
  }

  /** Removes a device, if it is there. */
  static removeDevice({ device }: OwnedSettings["punt"], log: Logger): void {
    try {
      deleteTun(device);
    } catch (error) {
      log.warn(messageOf(error));
    }
  }
}

/** Makes the rules that are wanted and are not there, and removes others of ours. */
function changeRules(family: Family, table: string, wanted: readonly Words[]): void {
  const there = presentRules(family, table).map((words) => words.join(" "));
  const keys = wanted.map((words) => words.join(" "));
  for (const words of there) if (!keys.includes(words)) quietly(family, "rule", "del", ...words.split(" "));
  for (const words of wanted) if (!there.includes(words.join(" "))) ip(family, "rule", "add", ...words);
}

function presentRules(family: Family, table: string): Words[] {
  const last = BEHIND_DEFAULT + Number(table);
  // As numbers: an administrator may have given the tables names.
  const report = ip("-N", "-j", family, "rule", "show", { orElse: "[]" });
  return (JSON.parse(report || "[]") as RuleReport[]).flatMap((rule) => {
    const from = rule.src && rule.src !== "all" ? ["from", rule.src] : [];
    if (rule.priority === last && rule.table === table) return [["pref", String(last), "lookup", table]];
    if (rule.priority !== Number(table) || from.length === 0) return [];
    if (rule.table === table) return [["pref", table, ...from, "lookup", table]];
    if (rule.table !== MAIN || rule.suppress_prefixlen !== 0) return [];
    return [["pref", table, ...from, "lookup", MAIN, "suppress_prefixlength", "0"]];
  });
}

function hostPrefix(address: Uint8Array): string {
  return `${formatAddress(address)}/${8 * address.length}`;
}

function showAddresses(device: string): LinkReport | undefined {
  return (JSON.parse(ip("-j", "address", "show", "dev", device) || "[]") as LinkReport[])[0];
}

/**
 * The kernel must have no address on an interface that Vita owns: it would hear nothing there, and send by itself.
 * @returns the interface's MTU
 * @throws Error that says how to take the addresses away
 */
function refuseAddresses(device: string, at: string): number {
  let report: LinkReport | undefined;
  try {
    report = showAddresses(device);
  } catch {
    // Told below.
  }
  if (!report) throw new Error(`${at}: there is no network device "${device}" in this network namespace`);
  const found = (report.addr_info ?? [])
    .filter(({ scope }) => scope !== "link")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  if (found.length > 0)
    throw new Error(
      `${at}/mode: "owned" needs ${device} without addresses in the kernel, and it has ${found.join(" and ")}: ` +
        `remove them from the system's network configuration, and now with ` +
        found.map((address) => `"ip address del ${address} dev ${device}"`).join(" and "),
    );
  return report.mtu;
}

/** Runs iproute2. @throws Error with its words */
function ip(...words: (string | { orElse: string })[]): string {
  const last = words.at(-1);
  const args = words.filter((word): word is string => typeof word === "string");
  try {
    return runIp(...args);
  } catch (error) {
    if (typeof last === "object") return last.orElse;
    throw new Error(`ip ${args.join(" ")}: ${saidBy(error) || messageOf(error)}`, { cause: error });
  }
}

function quietly(...words: string[]): void {
  ip(...words, { orElse: "" });
}
