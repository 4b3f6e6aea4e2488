// Crafted Ethernet frames for the tests of the XDP programs and the socket filters: right by default, and wrong in one
// place where a test asks for it.

import { parseAddress } from "../net/address.js";

/** The Ethernet address and the IP addresses of the host under test. */
export const MAC = [2, 0, 0, 0, 0, 1];
export const LOCAL4 = "192.0.2.1";
export const LOCAL6 = "2001:db8::1";

export const address = (text: string) => parseAddress(text) as Uint8Array;
const u16 = (value: number) => [value >>> 8, value & 0xff];

export function ethernet(type: number, payload: readonly number[], destination = MAC): Uint8Array {
  return Uint8Array.from([...destination, 2, 0, 0, 0, 0, 2, ...u16(type), ...payload]);
}

export interface Header4 {
  destination?: string;
  protocol?: number;
  ihl?: number;
  version?: number;
  fragment?: number;
  length?: number;
  mac?: number[];
}

export function ipv4(payload: readonly number[], h: Header4 = {}): Uint8Array {
  const ihl = h.ihl ?? 5;
  const options = new Array<number>(Math.max(0, ihl - 5) * 4).fill(1);
  return ethernet(
    0x0800,
    [
      ...[((h.version ?? 4) << 4) | ihl, 0, ...u16(h.length ?? 20 + options.length + payload.length)],
      ...[0, 1, ...u16(h.fragment ?? 0x4000), 64, h.protocol ?? 50, 0, 0],
      ...[198, 51, 100, 7, ...address(h.destination ?? LOCAL4)],
      ...options,
      ...payload,
    ],
    h.mac,
  );
}

export interface Header6 {
  destination?: string;
  next?: number;
  length?: number;
  version?: number;
  mac?: number[];
}

export function ipv6(payload: readonly number[], h: Header6 = {}): Uint8Array {
  return ethernet(
    0x86dd,
    [
      ...[(h.version ?? 6) << 4, 0, 0, 0, ...u16(h.length ?? payload.length), h.next ?? 50, 64],
      ...address("2001:db8:f::7"),
      ...address(h.destination ?? LOCAL6),
      ...payload,
    ],
    h.mac,
  );
}

/** IPv6 extension headers in front of a payload, each with its number and bytes of it; the first number goes into `next`. */
export function extended(
  headers: readonly [number, number][],
  protocol: number,
  payload: readonly number[],
): Uint8Array {
  const chain = headers.flatMap(([, length], i) => [
    headers[i + 1]?.[0] ?? protocol,
    length / 8 - 1,
    ...new Array<number>(length - 2).fill(0),
  ]);
  return ipv6([...chain, ...payload], { next: headers[0][0] });
}

/** Extension headers that stand in front of ESP, and as many as nobody looks through. */
const chains: [number, number][][] = [
  [[0, 8]],
  [[60, 24]],
  [[43, 1024]],
  [
    [0, 8],
    [60, 16],
    [43, 24],
  ],
];
const tooMany: [number, number][] = [
  [0, 8],
  [60, 8],
  [60, 8],
  [60, 8],
];

/** IPv6 packets with extension headers: whether they are ESP for Vita, and what they are. */
export function* extendedPackets(): Generator<{ packet: Uint8Array; isOurs: boolean; what: string }> {
  for (const headers of chains) {
    yield { packet: extended(headers, 50, esp), isOurs: true, what: `${headers}` };
    yield { packet: extended(headers, 17, udp(esp)), isOurs: true, what: `${headers}, in UDP` };
    yield { packet: extended(headers, 17, udp(marked)), isOurs: false, what: `${headers}, IKE` };
    yield { packet: extended(headers, 44, esp), isOurs: false, what: `${headers}, a fragment` };
    yield { packet: extended(headers, 6, esp), isOurs: false, what: `${headers}, TCP` };
  }
  yield { packet: extended(tooMany, 50, esp), isOurs: false, what: "too many" };
}

export const udp = (payload: readonly number[], { port = 4500, length = 8 + payload.length } = {}) => [
  ...[0x30, 0x39, ...u16(port), ...u16(length), 0, 0],
  ...payload,
];

export const esp = [0, 0, 0x10, 1, 0, 0, 0, 1, ...new Array<number>(16).fill(7)];
export const marked = [0, 0, 0, 0, ...new Array<number>(24).fill(7)];

/** Both families with the same transport payload. */
export const both = (protocol: number, payload: readonly number[]) => [
  ipv4(payload, { protocol }),
  ipv4(payload, { protocol, ihl: 15 }),
  ipv6(payload, { next: protocol }),
];
