// The packet inside the tunnel: is its header sound, where does its transport header begin, and what happens to its
// TOS byte when it leaves the tunnel (RFC 6040, RFC 4301 §5.1.2).

import { update16 } from "../net/checksum.js";
import { SaFlag } from "./sad-layout.js";

export interface InnerPacket {
  /** Bytes, as the IP header says. */
  length: number;
  protocol: number;
  /** Offset of the transport header; 0 for a fragment that does not carry it. */
  transport: number;
  isIpv4: boolean;
}

// Not exported themselves: V8 compiles a module's own constants in, and looks exported ones up at each use.
const OK = 0;
const MALFORMED = 1;
const CE_ON_NOT_ECT = 2;
const { copyEcn: COPY_ECN, copyDscpIn: COPY_DSCP } = SaFlag;

export const INNER_OK = OK;
export const INNER_MALFORMED = MALFORMED;
export const INNER_CE_ON_NOT_ECT = CE_ON_NOT_ECT;

const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;

/**
 * Parses the IP header at `offset`, of which `available` bytes are there, into `packet`.
 * @returns INNER_OK or INNER_MALFORMED
 */
export function parseInner(
  packet: InnerPacket,
  view: DataView,
  offset: number,
  available: number,
  isIpv4: boolean,
): number {
  packet.isIpv4 = isIpv4;
  if (isIpv4) {
    if (available < 20) return MALFORMED;
    const first = view.getInt32(offset);
    const header = (first >>> 22) & 0x3c;
    const length = first & 0xffff;
    if (first >>> 28 !== 4 || header < 20 || length < header || length > available) return MALFORMED;
    packet.length = length;
    packet.protocol = view.getUint8(offset + 9);
    packet.transport = (view.getUint16(offset + 6) & 0x1fff) === 0 ? offset + header : 0;
    return OK;
  }
  if (available < 40 || view.getUint8(offset) >>> 4 !== 6) return MALFORMED;
  const length = 40 + view.getUint16(offset + 4);
  if (length > available) return MALFORMED;
  packet.length = length;
  return walkExtensions(packet, view, offset, offset + length);
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;
const AUTHENTICATION = 51;

/** Walks IPv6 extension headers up to the transport header (RFC 8200 §4). */
function walkExtensions(packet: InnerPacket, view: DataView, offset: number, end: number): number {
  let next = view.getUint8(offset + 6);
  let at = offset + 40;
  for (;;) {
    let length = 0;
    if (next === HOP_BY_HOP || next === ROUTING || next === DESTINATION_OPTIONS || next === MOBILITY) {
      if (at + 8 > end) return MALFORMED;
      length = (view.getUint8(at + 1) + 1) << 3;
    } else if (next === AUTHENTICATION) {
      if (at + 8 > end) return MALFORMED;
      length = (view.getUint8(at + 1) + 2) << 2;
    } else if (next === FRAGMENT) {
      if (at + 8 > end) return MALFORMED;
      length = 8;
      if ((view.getUint16(at + 2) & 0xfff8) !== 0) {
        packet.protocol = view.getUint8(at);
        packet.transport = 0;
        return OK;
      }
    } else {
      packet.protocol = next;
      packet.transport = at;
      return OK;
    }
    next = view.getUint8(at);
    at += length;
    if (at > end) return MALFORMED;
  }
}

/**
 * Carries congestion marks, and DSCP if the SA says so, from the outer header to the inner one.
 * @returns INNER_OK, or INNER_CE_ON_NOT_ECT for a packet that must be dropped (RFC 6040 §4.2)
 */
export function adjustInner(
  view: DataView,
  offset: number,
  isIpv4: boolean,
  outer: number,
  flags: number,
): number {
  const outerTos = tosByte(view, outer);
  const innerTos = tosByte(view, offset);
  let tos = innerTos;
  if ((flags & COPY_ECN) !== 0) {
    const mark = outerTos & 3;
    if (mark === CE) {
      if ((innerTos & 3) === 0) return CE_ON_NOT_ECT;
      tos |= CE;
    } else if (mark === ECT_1 && (innerTos & 3) === ECT_0) tos = (tos & 0xfc) | ECT_1;
  }
  if ((flags & COPY_DSCP) !== 0) tos = (outerTos & 0xfc) | (tos & 3);
  if (tos === innerTos) return OK;
  if (isIpv4) {
    const word = view.getUint16(offset);
    view.setUint8(offset + 1, tos);
    view.setUint16(offset + 10, update16(view.getUint16(offset + 10), word, view.getUint16(offset)));
  } else view.setUint16(offset, (view.getUint16(offset) & 0xf00f) | (tos << 4));
  return OK;
}

function tosByte(view: DataView, offset: number): number {
  const first = view.getUint16(offset);
  return first >>> 12 === 4 ? first & 0xff : (first >>> 4) & 0xff;
}
