// The header of a train (coalescer.ts): that of its first packet, with lengths and flags of all of them, and in front of it a
// virtio header that says how to cut it. Its transport checksum is left to whoever cuts it: the field holds the sum of the
// pseudo-header.

import { pseudoHeader4, pseudoHeader6, sum16 } from "../net/checksum.js";
import { headerChecksum } from "../net/ipv4.js";
import {
  GSO_ECN,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP,
  NEEDS_CHECKSUM,
  VIRTIO_BYTES,
  VIRTIO_CHECKSUM_OFFSET,
  VIRTIO_CHECKSUM_START,
  VIRTIO_FLAGS,
  VIRTIO_GSO_SIZE,
  VIRTIO_GSO_TYPE,
  VIRTIO_HEADER_LENGTH,
} from "./virtio-header.js";

const TCP = 6;
const UDP = 17;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
/** In the 32-bit word of the TCP header that has data offset, flags and window. */
const CWR = 0x0080_0000;

/** Bytes of virtio header, Ethernet, IP and transport header, at most. */
export const TRAIN_HEADER = VIRTIO_BYTES + 14 + 40 + 60;

/**
 * Copies the headers of a packet to behind the place of the virtio header at `to`, and has them speak of all of the train.
 * @param link bytes of link header
 * @param header bytes of all headers
 * @param total bytes of the train from the IP header on
 */
export function copyHeaders(
  view: DataView,
  packet: number,
  to: number,
  link: number,
  header: number,
  total: number,
): void {
  const at = to + VIRTIO_BYTES;
  for (let i = 0; i < header; i += 2) view.setUint16(at + i, view.getUint16(packet + i));
  const ip = at + link;
  const isIpv4 = view.getUint8(ip) >>> 4 === 4;
  const transport = ip + (isIpv4 ? 20 : 40);
  const covered = total - (transport - ip);
  const isTcp = view.getUint8(ip + (isIpv4 ? 9 : 6)) === TCP;
  const protocol = isTcp ? TCP : UDP;
  if (isIpv4) {
    view.setUint16(ip + 2, total);
    view.setUint16(ip + 10, 0);
    view.setUint16(ip + 10, headerChecksum(sum16(view, ip, 20, 0)));
  } else view.setUint16(ip + 4, total - 40);
  if (!isTcp) view.setUint16(transport + 4, covered);
  const sum = isIpv4
    ? pseudoHeader4(view, ip, protocol, covered)
    : pseudoHeader6(view, ip, protocol, covered);
  const once = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(transport + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM), (once & 0xffff) + (once >>> 16));
}

/**
 * Writes the virtio header for such headers.
 * @param size bytes of payload in each packet but the last
 * @param flags FIN and PSH of any of the packets, in the 32-bit word of the TCP header that has flags
 */
export function writeVirtioHeader(
  view: DataView,
  to: number,
  link: number,
  header: number,
  size: number,
  flags: number,
): void {
  const ip = to + VIRTIO_BYTES + link;
  const isIpv4 = view.getUint8(ip) >>> 4 === 4;
  const transport = ip + (isIpv4 ? 20 : 40);
  const isTcp = view.getUint8(ip + (isIpv4 ? 9 : 6)) === TCP;
  let type: number = GSO_UDP;
  if (isTcp) {
    const word = view.getInt32(transport + 12) | flags;
    view.setInt32(transport + 12, word);
    type = (isIpv4 ? GSO_TCPV4 : GSO_TCPV6) | ((word & CWR) !== 0 ? GSO_ECN : 0);
  }
  view.setUint8(to + VIRTIO_FLAGS, NEEDS_CHECKSUM);
  view.setUint8(to + VIRTIO_GSO_TYPE, type);
  view.setUint16(to + VIRTIO_HEADER_LENGTH, header, true);
  view.setUint16(to + VIRTIO_GSO_SIZE, size, true);
  view.setUint16(to + VIRTIO_CHECKSUM_START, transport - to - VIRTIO_BYTES, true);
  view.setUint16(to + VIRTIO_CHECKSUM_OFFSET, isTcp ? TCP_CHECKSUM : UDP_CHECKSUM, true);
}
