// Traffic selectors as swanctl.conf writes them: an address, a prefix or a range of addresses, and `[protocol/port]` behind it
// where it is for one protocol only: `10.0.0.0/8`, `10.0.0.5-10.0.0.9[udp]`, `::/0[tcp/1000-2000]`, `…[icmp/2048]`,
// `…[17/opaque]`. Protocols and ports have numbers, or names, which somebody else knows.

import { compareAddresses, type IpAddress, maskAddress, parseAddress } from "./address.js";

export interface IpSelector {
  /** First and last address, of one family. They need not be the bounds of a prefix. */
  from: IpAddress;
  to: IpAddress;
  /** IP protocol number, 0 for any. */
  protocol: number;
  /** 0 to 65535 for any; from > to is "opaque" (RFC 7296). For ICMP, type × 256 + code. */
  fromPort: number;
  toPort: number;
}

/** From a name to its number; undefined for a name that is not known. */
export interface Names {
  protocol(name: string): number | undefined;
  port(name: string): number | undefined;
}

const FORM = /^([^[\]]+)(?:\[([^/[\]]*)(?:\/([^[\]]+))?\])?$/;
const ANY_PORT = { fromPort: 0, toPort: 0xffff };
const OPAQUE_PORT = { fromPort: 0xffff, toPort: 0 };

/** @returns undefined when the text is no selector */
export function parseSelector(text: string, names: Names): IpSelector | undefined {
  const [, addresses, protocolText = "any", portText = "any"] = FORM.exec(text) ?? [];
  const range = addresses === undefined ? undefined : addressRange(addresses);
  const protocol = isAny(protocolText) ? 0 : number(protocolText, 0xff, names.protocol);
  const ports = portRange(portText, names);
  if (!range || protocol === undefined || !ports) return undefined;
  return { ...range, protocol, ...ports };
}

/** All addresses of a prefix, whatever they carry. Bits behind the prefix's length do not matter. */
export function prefixSelector(text: string): IpSelector | undefined {
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

/** Every pair, one of each, that a packet can match. */
export function selectorPairs(
  a: readonly IpSelector[],
  b: readonly IpSelector[],
): [IpSelector, IpSelector][] {
  return a.flatMap((one) =>
    b
      .filter(
        (other) =>
          one.from.length === other.from.length &&
          (one.protocol === 0 || other.protocol === 0 || one.protocol === other.protocol),
      )
      .map((other): [IpSelector, IpSelector] => [one, other]),
  );
}
