// Which packets are IKE (RFC 7296 §2, RFC 3948 §2.2): UDP port 500, and port 4500 behind the non-ESP marker. Messages with
// certificates are long, and arrive in fragments: the first one has the ports, and those behind it are taken as well,
// because whoever puts them together throws away what has no beginning.

import { ICMPV6, IPV6_HEADER } from "./ipv6.js";

const UDP = 17;
const ICMP = 1;
const FRAGMENT = 44;
const UDP_HEADER = 8;
const PORT_IKE = 500;
export const PORT_NAT_T = 4500;

/** Of the two ports of a UDP header, the one that is charon's. */
export const SOURCE_PORT = 0;
export const DESTINATION_PORT = 2;

/**
 * Is the packet IKE for charon, or from it? From charon comes, on port 4500, a keepalive now and then (RFC 3948 §2.3).
 * @param ip where a valid IP header begins
 * @param end where the packet ends
 */
export function isIke(
  view: DataView,
  ip: number,
  end: number,
  isIpv4: boolean,
  port: typeof SOURCE_PORT | typeof DESTINATION_PORT,
): boolean {
  let udp = ip + IPV6_HEADER;
  let protocol = view.getUint8(ip + 6);
  if (isIpv4) {
    udp = ip + ((view.getUint8(ip) & 15) << 2);
    protocol = view.getUint8(ip + 9);
    if (protocol === UDP && (view.getUint16(ip + 6) & 0x1fff) !== 0) return true;
  } else if (protocol === FRAGMENT) {
    if (udp + 8 > end) return false;
    protocol = view.getUint8(udp);
    if (protocol === UDP && (view.getUint16(udp + 2) & 0xfff8) !== 0) return true;
    udp += 8;
  }
  if (protocol !== UDP || udp + UDP_HEADER > end) return false;
  const number = view.getUint16(udp + port);
  if (number === PORT_IKE) return true;
  if (number !== PORT_NAT_T) return false;
  if (port === SOURCE_PORT) return true;
  return udp + UDP_HEADER + 4 <= end && view.getUint32(udp + UDP_HEADER) === 0;
}

/** Is it an ICMP error about a packet of charon's, directly behind the IP header? Path MTU and closed ports matter to it. */
export function isErrorAboutIke(view: DataView, ip: number, end: number, isIpv4: boolean): boolean {
  const icmp = ip + (isIpv4 ? (view.getUint8(ip) & 15) << 2 : IPV6_HEADER);
  const protocol = view.getUint8(ip + (isIpv4 ? 9 : 6));
  const quoted = icmp + 8;
  if (protocol !== (isIpv4 ? ICMP : ICMPV6) || quoted + IPV6_HEADER + UDP_HEADER > end + (isIpv4 ? 20 : 0))
    return false;
  const type = view.getUint8(icmp);
  if (isIpv4 ? type !== 3 && type !== 11 && type !== 12 : type === 0 || type > 4) return false;
  const header = isIpv4 ? (view.getUint8(quoted) & 15) << 2 : IPV6_HEADER;
  if (view.getUint8(quoted) >>> 4 !== (isIpv4 ? 4 : 6) || header < 20) return false;
  if (view.getUint8(quoted + (isIpv4 ? 9 : 6)) !== UDP || quoted + header + UDP_HEADER > end) return false;
  const port = view.getUint16(quoted + header + SOURCE_PORT);
  return port === PORT_IKE || port === PORT_NAT_T;
}
