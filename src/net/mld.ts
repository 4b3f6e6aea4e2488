// Multicast listener reports (RFC 3810 §5.2), without which a switch that listens in on them may keep the groups of
// neighbour discovery from us. All groups in one report, each joined for any source.

import { fold, pseudoHeader6, sum16 } from "./checksum.js";
import { ETHERNET_HEADER, ETHERTYPE_IPV6, multicastEthernetAddress, writeEthernet } from "./ethernet.js";
import { ICMPV6, IPV6_HEADER, writeIpv6 } from "./ipv6.js";

export const MLD_QUERY = 130;
const MLD_REPORT = 143;
const CHANGE_TO_EXCLUDE = 4;
const ROUTER_ALERT = 8;
/** ff02::16 */
const ROUTERS = Uint8Array.from([0xff, 2, ...new Array<number>(13).fill(0), 0x16]);

/** Groups that fit into one report on any link. */
export const MLD_GROUPS = 48;

/**
 * Writes an Ethernet frame with a report at `at`.
 * @param source a link-local address
 * @param groups at most MLD_GROUPS
 * @returns its length
 */
export function writeMldReport(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  mac: Uint8Array,
  source: Uint8Array,
  groups: readonly Uint8Array[],
): number {
  const length = 8 + 20 * groups.length;
  writeEthernet(bytes, at, multicastEthernetAddress(ROUTERS), mac, ETHERTYPE_IPV6);
  const ip = at + ETHERNET_HEADER;
  writeIpv6(view, bytes, ip, source, ROUTERS, 0, 1, ROUTER_ALERT + length);
  // Hop-by-hop options: router alert for MLD (RFC 2711), and two bytes of padding.
  view.setUint32(ip + IPV6_HEADER, (ICMPV6 << 24) | 0x0502);
  view.setUint32(ip + IPV6_HEADER + 4, 0x00000100);
  const icmp = ip + IPV6_HEADER + ROUTER_ALERT;
  view.setUint32(icmp, MLD_REPORT << 24);
  view.setUint32(icmp + 4, groups.length);
  for (const [i, group] of groups.entries()) {
    view.setUint32(icmp + 8 + 20 * i, CHANGE_TO_EXCLUDE << 24);
    bytes.set(group, icmp + 12 + 20 * i);
  }
  view.setUint16(icmp + 2, fold(sum16(view, icmp, length, pseudoHeader6(view, ip, ICMPV6, length))));
  return ETHERNET_HEADER + IPV6_HEADER + ROUTER_ALERT + length;
}
