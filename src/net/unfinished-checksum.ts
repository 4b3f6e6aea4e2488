// Packets of this machine's own kernel, and of the hosts of virtual machines, may come without their checksum: the sender left it
// to a network card that is not there (Linux `CHECKSUM_PARTIAL`). A virtio header says so; AF_XDP says nothing. But it can be
// seen: the field holds the sum of the pseudo-header then, not complemented, and nothing else does but one checksum in 65,536.
// To finish that one too changes nothing, because a right checksum comes out the same. (A packet that was damaged on its way,
// with a checksum that looks like that, would be taken for a good one; so would one damaged packet in 65,536 by its checksum.)

import { finishChecksum, fold, pseudoHeader4, pseudoHeader6 } from "./checksum.js";

const finish = finishChecksum;
const foldSum = fold;
const pseudo4 = pseudoHeader4;
const pseudo6 = pseudoHeader6;

const TCP = 6;
const UDP = 17;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const FRAGMENT = 0x3fff;

/**
 * Finishes the checksum of a TCP or UDP packet whose sender has left that to others.
 * @param ip where the IP header begins
 * @param end where the packet, padding included, ends
 * @returns whether there was something to finish
 */
export function finishUnfinished(view: DataView, ip: number, end: number): boolean {
  if (end - ip < 28) return false;
  const first = view.getUint8(ip);
  const isIpv4 = first >>> 4 === 4;
  let transport = ip + 40;
  let protocol = 0;
  let last = 0;
  if (isIpv4) {
    transport = ip + ((first & 15) << 2);
    if ((view.getUint16(ip + 6) & FRAGMENT) !== 0) return false;
    protocol = view.getUint8(ip + 9);
    last = ip + view.getUint16(ip + 2);
  } else {
    if (first >>> 4 !== 6 || end < transport) return false;
    // Behind extension headers nothing is looked for: senders finish such packets themselves.
    protocol = view.getUint8(ip + 6);
    last = transport + view.getUint16(ip + 4);
  }
  const isTcp = protocol === TCP;
  if (!isTcp && protocol !== UDP) return false;
  const length = last - transport;
  if (last > end || length < (isTcp ? TCP_HEADER : UDP_HEADER)) return false;
  const field = transport + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
  const sum = isIpv4 ? pseudo4(view, ip, protocol, length) : pseudo6(view, ip, protocol, length);
  if (view.getUint16(field) !== (~foldSum(sum) & 0xffff)) return false;
  finish(view, transport, last, field);
  return true;
}
