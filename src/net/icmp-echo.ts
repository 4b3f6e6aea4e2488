// ICMP and ICMPv6 echo (RFC 792, RFC 4443 §4.2): a request becomes its own answer. Checksums are carried over, not worked
// out: one that was wrong stays wrong, and whoever asked will see it.

import { update16 } from "./checksum.js";

export const ECHO_REQUEST4 = 8;
export const ECHO_REQUEST6 = 128;
const ECHO_REPLY6 = 129;
const HOP_LIMIT = 64;

/** Turns the IPv4 packet at `ip`, an echo request without options, around. */
export function turnIntoEchoReply4(view: DataView, ip: number): void {
  const source = view.getUint32(ip + 12);
  view.setUint32(ip + 12, view.getUint32(ip + 16));
  view.setUint32(ip + 16, source);
  const before = view.getUint16(ip + 8);
  const after = (HOP_LIMIT << 8) | (before & 0xff);
  view.setUint16(ip + 8, after);
  view.setUint16(ip + 10, update16(view.getUint16(ip + 10), before, after));
  const type = view.getUint16(ip + 20);
  view.setUint16(ip + 20, type & 0xff);
  view.setUint16(ip + 22, update16(view.getUint16(ip + 22), type, type & 0xff));
}

/** Turns the IPv6 packet at `ip`, an echo request directly behind the header, around. */
export function turnIntoEchoReply6(view: DataView, ip: number): void {
  for (let i = 8; i < 24; i += 4) {
    const word = view.getUint32(ip + i);
    view.setUint32(ip + i, view.getUint32(ip + i + 16));
    view.setUint32(ip + i + 16, word);
  }
  view.setUint8(ip + 7, HOP_LIMIT);
  const type = view.getUint16(ip + 40);
  const reply = (ECHO_REPLY6 << 8) | (type & 0xff);
  view.setUint16(ip + 40, reply);
  view.setUint16(ip + 42, update16(view.getUint16(ip + 42), type, reply));
}
