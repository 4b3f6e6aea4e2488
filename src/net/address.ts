// IP addresses as raw bytes, 4 or 16 of them in network order, the way every wire format and every lookup table
// of this program wants them. Text forms exist only at the edges (configuration, logs, state output).

import { isIPv4, isIPv6 } from "node:net";

/** 4 bytes (IPv4) or 16 bytes (IPv6), network order. */
export type IpAddress = Uint8Array;

export interface Prefix {
  readonly address: IpAddress;
  /** Bits, 0 to 32 or 0 to 128. */
  readonly length: number;
}

/** Text to bytes; `undefined` when the text is neither an IPv4 nor an IPv6 address (zone ids are refused). */
export function parseAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split(".").map(Number));
  if (!isIPv6(text) || text.includes("%")) return undefined;
  let hextets = text;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted) {
    const [, head, a, b, c, d] = dotted;
    hextets = `${head}${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}`;
  }
  const [left = "", right] = hextets.split("::");
  const before = left === "" ? [] : left.split(":");
  const after = right === undefined || right === "" ? [] : right.split(":");
  const zeros = new Array<string>(8 - before.length - after.length).fill("0");
  const address = new Uint8Array(16);
  [...before, ...zeros, ...after].forEach((hextet, i) => {
    const value = Number.parseInt(hextet, 16);
    address[2 * i] = value >>> 8;
    address[2 * i + 1] = value & 0xff;
  });
  return address;
}

/** Bytes to text; IPv6 in the canonical form of RFC 5952. */
export function formatAddress(address: IpAddress): string {
  if (address.length === 4) return address.join(".");
  const hextets: number[] = [];
  for (let i = 0; i < 16; i += 2) hextets.push((address[i] << 8) | address[i + 1]);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && hextets[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
    if (j > i) i = j;
  }
  const text = hextets.map((hextet) => hextet.toString(16));
  if (best < 0) return text.join(":");
  return `${text.slice(0, best).join(":")}::${text.slice(best + bestLength).join(":")}`;
}

/** `10.0.0.0/8` or `2001:db8::/32`; a bare address is a host prefix. Bits behind the length must be zero. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!address) return undefined;
  const bits = address.length * 8;
  if (slash < 0) return { address, length: bits };
  const suffix = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(suffix) || Number(suffix) > bits) return undefined;
  const length = Number(suffix);
  if (compareAddresses(maskAddress(address, length), address) !== 0) return undefined;
  return { address, length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`;
}

/** The address with all bits behind `length` set to zero. */
export function maskAddress(address: IpAddress, length: number): IpAddress {
  return address.map((byte, i) => byte & (0xff00 >>> Math.min(8, Math.max(0, length - 8 * i))));
}

/** Byte order comparison of two addresses of one family: negative, zero or positive. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** The fewest prefixes that cover exactly the addresses `from` to `to` (inclusive, of one family). */
export function rangeToPrefixes(from: IpAddress, to: IpAddress): Prefix[] {
  const whole = wholePrefix(from, to);
  if (whole >= 0) return [{ address: from.slice(), length: whole }];
  const bits = from.length * 8;
  const toNumber = (address: IpAddress) => address.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const toAddress = (value: bigint) =>
    Uint8Array.from({ length: from.length }, (_, i) => Number((value >> BigInt(bits - 8 - 8 * i)) & 0xffn));
  const prefixes: Prefix[] = [];
  let start = toNumber(from);
  const end = toNumber(to);
  while (start <= end) {
    let hostBits = 0n;
    while (hostBits < BigInt(bits)) {
      const size = 1n << (hostBits + 1n);
      if (start % size !== 0n || start + size - 1n > end) break;
      hostBits++;
    }
    prefixes.push({ address: toAddress(start), length: bits - Number(hostBits) });
    start += 1n << hostBits;
  }
  return prefixes;
}

/** Length of the prefix that the range is, or -1 when it is none. */
function wholePrefix(from: IpAddress, to: IpAddress): number {
  let i = 0;
  while (i < from.length && from[i] === to[i]) i++;
  if (i === from.length) return 8 * i;
  const hostBits = 32 - Math.clz32(from[i] ^ to[i]);
  const mask = (1 << hostBits) - 1;
  if ((from[i] & mask) !== 0 || (to[i] & mask) !== mask) return -1;
  for (let j = i + 1; j < from.length; j++) if (from[j] !== 0 || to[j] !== 0xff) return -1;
  return 8 * i + 8 - hostBits;
}
