// IPv6 headers (RFC 8200 §3) and the addresses of a link (RFC 4291).

import type { IpAddress } from "./address.js";

export const IPV6_HEADER = 40;
export const ICMPV6 = 58;

export const UNSPECIFIED: IpAddress = new Uint8Array(16);
/** ff02::1 */
export const ALL_NODES: IpAddress = Uint8Array.from([0xff, 2, ...new Array<number>(13).fill(0), 1]);

/** @param length bytes behind the header */
export function writeIpv6(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  source: IpAddress,
  destination: IpAddress,
  nextHeader: number,
  hopLimit: number,
  length: number,
): void {
  view.setUint32(at, 0x60000000);
  view.setUint16(at + 4, length);
  view.setUint16(at + 6, (nextHeader << 8) | hopLimit);
  bytes.set(source, at + 8);
  bytes.set(destination, at + 24);
}

/** The group that asks for an address (RFC 4291 §2.7.1): ff02::1:ff and its last three bytes. */
export function solicitedNode(address: IpAddress): IpAddress {
  return Uint8Array.from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...address.subarray(13)]);
}

/** fe80::/64 with the interface identifier that follows from the Ethernet address (RFC 4291 appendix A). */
export function linkLocal(mac: Uint8Array): IpAddress {
  const [a, b, c, d, e, f] = mac;
  return Uint8Array.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
}

export function isLinkLocal6(address: IpAddress): boolean {
  return address.length === 16 && address[0] === 0xfe && (address[1] & 0xc0) === 0x80;
}
