// Neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4) on Ethernet:
//
//   type 1 | code 1 | checksum 2 | flags 4 | target 16 | options: type 1, length 1 (units of 8 bytes), content

import { fold, pseudoHeader6, sum16 } from "./checksum.js";
import {
  ETHERNET_HEADER,
  ETHERTYPE_IPV6,
  isStation,
  multicastEthernetAddress,
  writeEthernet,
} from "./ethernet.js";
import { ALL_NODES, ICMPV6, IPV6_HEADER, solicitedNode, writeIpv6 } from "./ipv6.js";

export const ND_SOLICITATION = 135;
export const ND_ADVERTISEMENT = 136;
export const ND_SOURCE_OPTION = 1;
export const ND_TARGET_OPTION = 2;
/** Flags of an advertisement, in its second word. */
export const ND_SOLICITED = 0x40000000;
export const ND_OVERRIDE = 0x20000000;

export const ND_BYTES = 24;
/** Where the target stands, counted from the ICMPv6 header. */
export const ND_TARGET = 8;

/**
 * Is the message valid (RFC 4861 §7.1.1, §7.1.2)? It begins at `icmp` and ends at `end`, directly behind the IPv6 header
 * at `ip`.
 */
export function isNeighbourMessage(view: DataView, ip: number, icmp: number, end: number): boolean {
  const length = end - icmp;
  // Hop limit 255: no router has passed it on.
  if (length < ND_BYTES || view.getUint8(ip + 7) !== 255 || view.getUint8(icmp + 1) !== 0) return false;
  if (view.getUint8(icmp + ND_TARGET) === 0xff) return false;
  for (let at = icmp + ND_BYTES; at < end; ) {
    if (at + 8 > end || view.getUint8(at + 1) === 0) return false;
    at += view.getUint8(at + 1) << 3;
    if (at > end) return false;
  }
  if (fold(sum16(view, icmp, length, pseudoHeader6(view, ip, ICMPV6, length))) !== 0) return false;
  const unspecified = isUnspecified(view, ip + 8);
  if (view.getUint8(icmp) === ND_SOLICITATION) {
    // From nobody yet: duplicate address detection, which goes to the group and has no address to tell.
    if (!unspecified) return true;
    return view.getUint8(ip + 24) === 0xff && linkLayerOption(view, icmp, end, ND_SOURCE_OPTION) < 0;
  }
  const isMulticast = view.getUint8(ip + 24) === 0xff;
  return !unspecified && !(isMulticast && (view.getUint32(icmp + 4) & ND_SOLICITED) !== 0);
}

export function isUnspecified(view: DataView, at: number): boolean {
  return (
    (view.getUint32(at) | view.getUint32(at + 4) | view.getUint32(at + 8) | view.getUint32(at + 12)) === 0
  );
}

/** Where the Ethernet address in an option of a valid message stands, or -1. */
export function linkLayerOption(view: DataView, icmp: number, end: number, type: number): number {
  for (let at = icmp + ND_BYTES; at + 8 <= end; at += view.getUint8(at + 1) << 3) {
    if (view.getUint8(at + 1) === 0) return -1;
    if (view.getUint8(at) === type) return at + 2;
  }
  return -1;
}

/** The same, if what stands there can be a station's address. */
export function stationOption(
  view: DataView,
  bytes: Uint8Array,
  icmp: number,
  end: number,
  type: number,
): number {
  const at = linkLayerOption(view, icmp, end, type);
  return at >= 0 && isStation(bytes, at) ? at : -1;
}

function writeMessage(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  message: {
    mac: Uint8Array;
    station: Uint8Array;
    source: Uint8Array;
    destination: Uint8Array;
    type: number;
    flags: number;
    target: Uint8Array;
    option: number;
  },
): number {
  const { mac, station, source, destination, type, flags, target, option } = message;
  const length = ND_BYTES + (option === 0 ? 0 : 8);
  writeEthernet(bytes, at, station, mac, ETHERTYPE_IPV6);
  const ip = at + ETHERNET_HEADER;
  writeIpv6(view, bytes, ip, source, destination, ICMPV6, 255, length);
  const icmp = ip + IPV6_HEADER;
  view.setUint32(icmp, type << 24);
  view.setUint32(icmp + 4, flags);
  bytes.set(target, icmp + ND_TARGET);
  if (option !== 0) {
    view.setUint16(icmp + ND_BYTES, (option << 8) | 1);
    bytes.set(mac, icmp + ND_BYTES + 2);
  }
  view.setUint16(icmp + 2, fold(sum16(view, icmp, length, pseudoHeader6(view, ip, ICMPV6, length))));
  return ETHERNET_HEADER + IPV6_HEADER + length;
}

/**
 * Writes an Ethernet frame with a solicitation for `target` at `at`, to its group or to the station that had the
 * address. From `::` it is duplicate address detection (RFC 4862 §5.4.2).
 * @returns its length
 */
export function writeSolicitation(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  mac: Uint8Array,
  source: Uint8Array,
  target: Uint8Array,
  station?: Uint8Array,
): number {
  const destination = station ? target : solicitedNode(target);
  return writeMessage(view, bytes, at, {
    mac,
    station: station ?? multicastEthernetAddress(destination),
    source,
    destination,
    type: ND_SOLICITATION,
    flags: 0,
    target,
    option: source.some((byte) => byte !== 0) ? ND_SOURCE_OPTION : 0,
  });
}

/**
 * Writes an Ethernet frame with the advertisement that `target` is at `mac`: solicited, for the one who asked from
 * `destination`, or for everybody.
 * @returns its length
 */
export function writeAdvertisement(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  mac: Uint8Array,
  target: Uint8Array,
  to?: { destination: Uint8Array; station: Uint8Array },
): number {
  return writeMessage(view, bytes, at, {
    mac,
    station: to?.station ?? multicastEthernetAddress(ALL_NODES),
    source: target,
    destination: to?.destination ?? ALL_NODES,
    type: ND_ADVERTISEMENT,
    flags: (to ? ND_SOLICITED : 0) | ND_OVERRIDE,
    target,
    option: ND_TARGET_OPTION,
  });
}
