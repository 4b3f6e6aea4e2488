// ESP in transport mode, inbound (RFC 4303 §3.1.1): the header in front of ESP is the packet's own. It moves up to what ESP
// carried, with the protocol, the length and the checksum that go with it.
//
// Through a NAT the packet's addresses have changed on the way, and the checksums inside, which cover them, have not
// (RFC 3948 §3.1.2). ESP has shown that the content is what the peer sent, so they are computed anew.

import type { Frames } from "../memory/frames.js";
import { fold, sum16 } from "../net/checksum.js";
import type { InnerPacket } from "./inner.js";

// What the data path uses of other modules has a name here: see decapsulate.ts.
const sum = sum16;
const foldSum = fold;

const IPV6_HEADER = 40;
const UDP_HEADER = 8;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

/**
 * Puts header and payload together.
 * @param esp where the ESP header is, behind the packet's own, with a UDP header in between or not
 * @param start where the payload is
 * @param length bytes of it
 * @returns where the packet begins
 */
export function joinTransport(
  frames: Frames,
  frame: number,
  esp: number,
  start: number,
  length: number,
  nextHeader: number,
): number {
  const { view, bytes } = frames;
  const outer = frames.outer[frame];
  const isIpv4 = view.getUint8(outer) >>> 4 === 4;
  const field = isIpv4 ? outer + 9 : protocolField6(view, outer, esp);
  const header = esp - (view.getUint8(field) === UDP ? UDP_HEADER : 0) - outer;
  const ip = start - header;
  view.setUint8(field, nextHeader);
  bytes.copyWithin(ip, outer, outer + header);
  if (isIpv4) {
    view.setUint16(ip + 2, header + length);
    view.setUint16(ip + 10, 0);
    view.setUint16(ip + 10, foldSum(sum(view, ip, header, 0)));
  } else view.setUint16(ip + 4, header - IPV6_HEADER + length);
  return ip;
}

/**
 * Where the last of the headers that may stand in front of ESP, or of the UDP around it, names what follows (classify.ts knows
 * the way). They end where something else begins, or at `end`.
 */
function protocolField6(view: DataView, ip: number, end: number): number {
  let field = ip + 6;
  for (let at = ip + IPV6_HEADER; at < end; ) {
    const next = view.getUint8(field);
    if (next !== HOP_BY_HOP && next !== ROUTING && next !== DESTINATION_OPTIONS) break;
    field = at;
    at += (view.getUint8(at + 1) + 1) << 3;
  }
  return field;
}

/** Computes the checksum of a packet's transport header anew, where it covers the addresses. */
export function mendChecksum(
  view: DataView,
  ip: number,
  { protocol, transport, length, isIpv4 }: InnerPacket,
): void {
  // A fragment has none that could be computed, be it the first one.
  if (transport === 0 || (!isIpv4 && view.getUint8(protocolField6(view, ip, transport)) === FRAGMENT)) return;
  let size = ip + length - transport;
  let field = 0;
  if (protocol === TCP && size >= 20) field = transport + 16;
  else if (protocol === UDP && size >= UDP_HEADER) {
    // UDP says itself how far its checksum goes: more may follow (RFC 9868). Without a checksum it stays so.
    const covered = view.getUint16(transport + 4);
    if (covered < UDP_HEADER || covered > size) return;
    size = covered;
    field = view.getUint16(transport + 6) === 0 ? 0 : transport + 6;
  } else if (protocol === ICMPV6 && !isIpv4 && size >= 4) field = transport + 2;
  if (field === 0) return;
  view.setUint16(field, 0);
  const addresses = isIpv4 ? sum(view, ip + 12, 8, size + protocol) : sum(view, ip + 8, 32, size + protocol);
  const checksum = foldSum(sum(view, transport, size, addresses));
  view.setUint16(field, checksum === 0 && protocol === UDP ? 0xffff : checksum);
}
