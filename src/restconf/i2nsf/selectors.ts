// Traffic selectors: RFC 9061's form, and that of a security policy in the model, `10.0.0.0/8[6/443]`. A security policy has
// two of them, one for each side.

import type { SecurityPolicy } from "../../config/configuration.js";
import { parseAddress } from "../../net/address.js";
import { canonicalPrefix } from "./decode.js";
import type { Ports, TrafficSelector } from "./entries.js";

const numbers: Record<string, number> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  gre: 47,
  "ipv6-icmp": 58,
  icmpv6: 58,
  sctp: 132,
};
/** Type and code of ICMP stand where ports do, and each of the two forms has them in a way of its own. */
const withoutPorts = [1, 58];

interface Side {
  prefix: string;
  protocol: number | "any";
  ports?: Ports[];
}

/** @returns undefined for what has no form in RFC 9061: ranges of addresses, `dynamic`, names of ports */
export function selectorOf(policy: SecurityPolicy): TrafficSelector | undefined {
  const [local, remote] = [policy["local-ts"], policy["remote-ts"]].map((texts) =>
    texts.length === 1 ? sideOf(texts[0] as string) : undefined,
  );
  if (!local || !remote || familyOf(local.prefix) !== familyOf(remote.prefix)) return undefined;
  const protocol = local.protocol === "any" ? remote.protocol : local.protocol;
  if (remote.protocol !== "any" && remote.protocol !== protocol) return undefined;
  const selector: TrafficSelector = {
    "local-prefix": local.prefix,
    "remote-prefix": remote.prefix,
    "inner-protocol": protocol,
    ...(local.ports && { "local-ports": local.ports }),
    ...(remote.ports && { "remote-ports": remote.ports }),
  };
  return whyNoPorts(selector) === undefined ? selector : undefined;
}

/** Why a selector's ports cannot be had; undefined when they can, or when there are none. */
export function whyNoPorts(selector: TrafficSelector): string | undefined {
  const { "local-ports": local = [], "remote-ports": remote = [], "inner-protocol": protocol } = selector;
  const ports = [...local, ...remote];
  if (ports.length === 0) return undefined;
  if (protocol === "any" || withoutPorts.includes(protocol)) return "are for protocols with ports alone";
  if (local.length > 1 || remote.length > 1) return "can be one range alone";
  if (ports.some(({ start, end }) => start > end)) return "end before they start";
  return ports.some(({ start }) => start === 0) ? "start at 0: leave them out for any port" : undefined;
}

/** The two selectors of the model. */
export function textsOf(selector: TrafficSelector): [local: string, remote: string] {
  const text = (prefix: string, ports: Ports | undefined) => {
    const protocol = selector["inner-protocol"];
    if (protocol === "any") return prefix;
    const range = ports && (ports.start === ports.end ? `/${ports.start}` : `/${ports.start}-${ports.end}`);
    return `${prefix}[${protocol}${range ?? ""}]`;
  };
  return [
    text(selector["local-prefix"], selector["local-ports"]?.[0]),
    text(selector["remote-prefix"], selector["remote-ports"]?.[0]),
  ];
}

function sideOf(text: string): Side | undefined {
  const [, addresses = "", name, first, last] =
    /^([0-9a-fA-F:./]+)(?:\[(\w[\w-]*)(?:\/(\d{1,5})(?:-(\d{1,5}))?)?\])?$/.exec(text) ?? [];
  const length = addresses.includes(":") ? 128 : 32;
  const prefix = canonicalPrefix(addresses.includes("/") ? addresses : `${addresses}/${length}`);
  const protocol = protocolOf(name);
  if (prefix === undefined || protocol === undefined) return undefined;
  if (first === undefined) return { prefix, protocol };
  const [start, end] = [Number(first), Number(last ?? first)];
  if (start > 0xffff || end > 0xffff) return undefined;
  return { prefix, protocol, ports: [{ start, end }] };
}

/** 0 is any protocol for the data path, and so it is here. */
function protocolOf(name: string | undefined): number | "any" | undefined {
  if (name === undefined || name === "any" || name === "0") return "any";
  if (/^\d{1,3}$/.test(name)) return Number(name) <= 0xff ? Number(name) : undefined;
  return numbers[name];
}

export const familyOf = (text: string): 4 | 6 => (text.includes(":") ? 6 : 4);

/** A selector as ranges of texts that compare as the numbers do, so that thousands can be compared. */
export interface Reach {
  protocol: number | "any";
  /** First and last remote address, remote port, local address, local port: what tells most tunnels apart comes first. */
  ends: readonly string[];
}

export function reachOf(selector: TrafficSelector): Reach {
  return {
    protocol: selector["inner-protocol"],
    ends: (["remote", "local"] as const).flatMap((side) => [
      ...addressRange(selector[`${side}-prefix`]),
      ...portRange(selector[`${side}-ports`]?.[0]),
    ]),
  };
}

/** Could one packet match both? */
export function overlap(a: Reach, b: Reach): boolean {
  if (a.protocol !== b.protocol && a.protocol !== "any" && b.protocol !== "any") return false;
  for (let i = 0; i < a.ends.length; i += 2) {
    if ((a.ends[i] as string) > (b.ends[i + 1] as string)) return false;
    if ((b.ends[i] as string) > (a.ends[i + 1] as string)) return false;
  }
  return true;
}

function addressRange(prefix: string): [string, string] {
  const [host = "", digits = "0"] = prefix.split("/");
  const address = parseAddress(host) ?? new Uint8Array(4);
  const last = address.map((byte, i) => byte | (0xff >>> Math.min(8, Math.max(0, Number(digits) - 8 * i))));
  // Texts of the two families never lie in one range.
  const text = (bytes: Uint8Array) =>
    `${bytes.length === 4 ? "4" : "6"}${Buffer.from(bytes).toString("hex")}`;
  return [text(address), text(last)];
}

function portRange(ports: Ports | undefined): [string, string] {
  const text = (port: number) => port.toString(16).padStart(4, "0");
  return [text(ports?.start ?? 0), text(ports?.end ?? 0xffff)];
}

const lengthOf = (prefix: string) => Number(prefix.split("/")[1]);

/** The lower, the earlier the node evaluates it, among those of one class: narrow before wide (docs/policies.md). */
export function rankOf(selector: TrafficSelector): number {
  const bits = (side: "local" | "remote") =>
    lengthOf(selector[`${side}-prefix`]) * 512 + portBits(selector[`${side}-ports`]?.[0]) * 4;
  return -(bits("local") + bits("remote") + (selector["inner-protocol"] === "any" ? 0 : 256));
}

function portBits(ports: Ports | undefined): number {
  return ports ? Math.clz32(ports.start ^ ports.end) - 16 : 0;
}
