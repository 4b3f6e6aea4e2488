// Traffic selectors as swanctl.conf writes them: an address, a prefix or a range of addresses, and `[protocol/port]` behind it
// where it is for one protocol only: `10.0.0.0/8`, `10.0.0.5-10.0.0.9[udp]`, `::/0[tcp/1000-2000]`, `…[icmp/2048]`,
// `…[17/opaque]`. Protocols and ports have numbers, or their names in /etc/protocols and /etc/services.

import { readFileSync } from "node:fs";
import type { Selector } from "../ipsec/kernel.js";
import { compareAddresses, type IpAddress, maskAddress, parseAddress } from "../net/address.js";

/** From a name to its number; undefined for a name that is not known. */
export interface Names {
  protocol(name: string): number | undefined;
  port(name: string): number | undefined;
}

const FORM = /^([^[\]]+)(?:\[([^/[\]]*)(?:\/([^[\]]+))?\])?$/;
const ANY_PORT = { fromPort: 0, toPort: 0xffff };
const OPAQUE_PORT = { fromPort: 0xffff, toPort: 0 };
/** The few that are always known. */
const protocols: Record<string, number> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  "ipv6-icmp": 58,
  icmpv6: 58,
  ospf: 89,
  sctp: 132,
};

/** @returns undefined when the text is no selector */
export function parseSelector(text: string, names: Names = systemNames): Selector | undefined {
  const [, addresses, protocolText = "any", portText = "any"] = FORM.exec(text) ?? [];
  const range = addresses === undefined ? undefined : addressRange(addresses);
  const protocol = isAny(protocolText) ? 0 : number(protocolText, 0xff, names.protocol);
  const ports = portRange(portText, names);
  if (!range || protocol === undefined || !ports) return undefined;
  return { ...range, protocol, ...ports };
}

/** All addresses of a prefix, whatever they carry. Bits behind the prefix's length do not matter. */
export function prefixSelector(text: string): Selector | undefined {
  const range = addressRange(text);
  return range && { ...range, protocol: 0, ...ANY_PORT };
}

function addressRange(text: string): { from: IpAddress; to: IpAddress } | undefined {
  if (text.includes("-")) {
    const [from, to, ...more] = text.split("-").map(parseAddress);
    if (!from || !to || more.length > 0 || from.length !== to.length) return undefined;
    return compareAddresses(from, to) > 0 ? undefined : { from, to };
  }
  const [host, suffix, ...more] = text.split("/");
  const address = parseAddress(host);
  if (!address || more.length > 0) return undefined;
  const length = suffix === undefined ? 8 * address.length : number(suffix, 8 * address.length);
  if (length === undefined) return undefined;
  const from = maskAddress(address, length);
  return { from, to: from.map((byte, i) => byte | (0xff >>> Math.min(8, Math.max(0, length - 8 * i)))) };
}

function isAny(text: string): boolean {
  return text === "" || text === "any" || text === "%any";
}

function portRange(text: string, names: Names): { fromPort: number; toPort: number } | undefined {
  if (isAny(text)) return ANY_PORT;
  if (text === "opaque" || text === "%opaque") return OPAQUE_PORT;
  const whole = number(text, 0xffff, names.port);
  if (whole !== undefined) return { fromPort: whole, toPort: whole };
  const [fromPort, toPort, ...more] = text.split("-").map((port) => number(port, 0xffff));
  if (fromPort === undefined || toPort === undefined || more.length > 0) return undefined;
  return fromPort > toPort ? undefined : { fromPort, toPort };
}

function number(
  text: string,
  largest: number,
  named: (name: string) => number | undefined = () => undefined,
): number | undefined {
  if (!/^(\d{1,5}|0x[0-9a-f]{1,4})$/.test(text)) return named(text);
  return Number(text) <= largest ? Number(text) : undefined;
}

let known: { protocols: Map<string, number>; ports: Map<string, number> } | undefined;

/** Those of this machine. */
export const systemNames: Names = {
  protocol: (name) => protocols[name] ?? system().protocols.get(name),
  port: (name) => system().ports.get(name),
};

function system() {
  known ??= { protocols: namesIn("/etc/protocols"), ports: namesIn("/etc/services") };
  return known;
}

/** `name number[/protocol] alias …`, and comments behind `#`. */
function namesIn(path: string): Map<string, number> {
  const names = new Map<string, number>();
  let text = "";
  try {
    text = readFileSync(path, "latin1");
  } catch {
    // A machine without the file has no names.
  }
  for (const line of text.split("\n")) {
    const [name, value, ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
    const parsed = Number.parseInt(value ?? "", 10);
    if (Number.isNaN(parsed)) continue;
    for (const each of [name, ...aliases]) {
      const lower = each.toLowerCase();
      if (!names.has(lower)) names.set(lower, parsed);
    }
  }
  return names;
}
