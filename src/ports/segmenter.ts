// Segmentation: the kernel hands over up to 64 KiB of a TCP stream, or of a train of UDP datagrams, as one packet with one
// header, and leaves it to the network card to cut it into segments (TSO, USO). Here they are cut, one call after the
// other, each into a frame of its own:
//
//   [headers | payload 1 | payload 2 | …]  →  [headers 1 | payload 1]  [headers 2 | payload 2]  …
//
// Lengths, IPv4 identifications (one more each time), sequence numbers and checksums are worked out for each; FIN and PSH
// stay for the last segment, CWR stays on the first (RFC 3168 §6.1.2). It is what the kernel itself would do
// (net/ipv4/tcp_offload.c, udp_offload.c).

import type { Frames } from "../memory/frames.js";
import { fold, sum16, sumPayload } from "../net/checksum.js";
import { headerChecksum } from "../net/ipv4.js";
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP, NEEDS_CHECKSUM } from "./virtio-header.js";

// Names of this module's own, which V8 compiles in.
const TCP4 = GSO_TCPV4;
const TCP6 = GSO_TCPV6;
const UDP = GSO_UDP;
const ECN = GSO_ECN;
const PARTIAL = NEEDS_CHECKSUM;
const foldSum = fold;
const sumWords = sum16;
const sumBytes = sumPayload;
const ipv4Checksum = headerChecksum;

const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const DESTINATION_OPTIONS = 60;

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const PSH = 0x08;
const CWR = 0x80;
/** Offsets in the TCP header. */
const SEQUENCE = 4;
const DATA_OFFSET = 12;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const UDP_HEADER = 8;
const NAT_TRAVERSAL = 4500;

// What becomes of a large packet.
const GOOD = 0;
const BAD = 1;
const TOO_LONG = 2;
/** It can be cut. */
export const SEGMENTABLE = GOOD;
/** Its header does not fit what the virtio header says of it. */
export const MALFORMED = BAD;
/** Its segments are longer than a frame holds. */
export const OVERSIZE = TOO_LONG;

export class Segmenter {
  /** Bytes of payload that have not been cut off yet. */
  remaining = 0;

  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  /** Bytes in front of the IP header. */
  private readonly link: number;
  /** Bytes that a frame holds. */
  private readonly largest: number;

  // The packet under way: where it begins, and from there on its transport header and its payload.
  private at = 0;
  private transport = 0;
  private header = 0;
  private isIpv4 = false;
  private isTcp = false;
  private isEsp = false;
  /** Bytes of payload in a segment. */
  private size = 0;
  /** Where the next payload begins. */
  private next = 0;
  private identification = 0;
  private sequence = 0;
  /** The TCP header's words with data offset and flags: of the segment at hand, and of the last. */
  private flags = 0;
  private lastFlags = 0;
  /** Sums of all that is the same in each segment: IPv4 header, and pseudo-header with transport header. */
  private ipSum = 0;
  private transportSum = 0;

  /**
   * @param frames where the segments go; the large packet lies in the same region
   * @param link bytes of link header in front of the IP header, an even number
   * @param largest bytes of packet that a frame holds behind its headroom
   * @param takesEsp whether ESP in UDP comes here to be decrypted: its segments need no checksum, because ESP has its own
   */
  constructor(
    private readonly frames: Frames,
    link: number,
    largest: number,
    private readonly takesEsp = false,
  ) {
    this.view = frames.view;
    this.bytes = frames.bytes;
    this.link = link;
    this.largest = largest;
  }

  /**
   * Looks at a large packet of `length` bytes at `at`, which must stay there until `remaining` is 0.
   * @param flags the virtio header's flags, and its other fields
   * @returns SEGMENTABLE, or why it is not
   */
  begin(at: number, length: number, flags: number, type: number, size: number, start: number): number {
    const { view, link } = this;
    this.remaining = 0;
    const ip = at + link;
    let end = at + length;
    if (end - ip < 28) return BAD;
    const version = view.getUint8(ip) >>> 4;
    const kind = type & ~ECN;
    const isTcp = kind === TCP4 || kind === TCP6;
    if (!isTcp && kind !== UDP) return BAD;
    const isIpv4 = version === 4;
    if (isIpv4 ? kind === TCP6 : version !== 6 || kind === TCP4) return BAD;
    const protocol = isTcp ? IPPROTO_TCP : IPPROTO_UDP;
    const total = isIpv4 ? view.getUint16(ip + 2) : 40 + view.getUint16(ip + 4);
    if (ip + total > end) return BAD;
    end = ip + total;
    const transport = isIpv4 ? this.behindIpv4(ip, protocol) : this.behindIpv6(ip, end, protocol);
    if (transport < 0 || transport + 20 > end + (isTcp ? 0 : 12)) return BAD;
    if ((flags & PARTIAL) !== 0 && at + start !== transport) return BAD;
    let header = transport + UDP_HEADER - at;
    if (isTcp) {
      const word = view.getUint16(transport + DATA_OFFSET);
      if (word >>> 12 < 5 || (word & (SYN | RST)) !== 0) return BAD;
      header = transport + ((word >>> 12) << 2) - at;
      this.lastFlags = word;
      this.flags = word & ~(FIN | PSH);
      this.sequence = view.getInt32(transport + SEQUENCE);
    } else if (view.getUint16(transport + 4) !== end - transport) return BAD;
    const payload = end - at - header;
    if (payload <= 0 || size === 0) return BAD;
    if (header + (payload < size ? payload : size) > this.largest) return TOO_LONG;

    this.at = at;
    this.transport = transport - at;
    this.header = header;
    this.isIpv4 = isIpv4;
    this.isTcp = isTcp;
    this.isEsp =
      this.takesEsp &&
      !isTcp &&
      view.getUint16(transport + 2) === NAT_TRAVERSAL &&
      payload >= 4 &&
      view.getInt32(transport + UDP_HEADER) !== 0;
    this.size = size;
    this.next = at + header;
    this.addUp(ip, transport, protocol, at + header);
    this.remaining = payload;
    return GOOD;
  }

  /** @returns where the transport header begins, or -1 for fragments, other protocols and nonsense */
  private behindIpv4(ip: number, protocol: number): number {
    const { view } = this;
    const header = (view.getUint8(ip) & 15) << 2;
    if (header < 20 || view.getUint8(ip + 9) !== protocol || (view.getUint16(ip + 6) & 0x3fff) !== 0)
      return -1;
    return ip + header;
  }

  /** The same behind extension headers that may stand in every packet of a flow (RFC 8200 §4). */
  private behindIpv6(ip: number, end: number, protocol: number): number {
    const { view } = this;
    let next = view.getUint8(ip + 6);
    let at = ip + 40;
    while (next !== protocol) {
      if (at + 8 > end) return -1;
      // A routing header that is not at its end would have another destination in the checksum.
      const isPlain = next === HOP_BY_HOP || next === DESTINATION_OPTIONS;
      if (!isPlain && (next !== ROUTING || view.getUint8(at + 3) !== 0)) return -1;
      next = view.getUint8(at);
      at += (view.getUint8(at + 1) + 1) << 3;
    }
    return at;
  }

  /** Adds up what all segments have in common. */
  private addUp(ip: number, transport: number, protocol: number, payload: number): void {
    const { view } = this;
    if (this.isIpv4) {
      this.identification = view.getUint16(ip + 4);
      // Without total length, identification and checksum.
      const rest = sumWords(view, ip + 12, transport - ip - 12, 0);
      this.ipSum = view.getUint16(ip) + view.getUint16(ip + 6) + view.getUint16(ip + 8) + rest;
    }
    const addresses = this.isIpv4 ? sumWords(view, ip + 12, 8, 0) : sumWords(view, ip + 8, 32, 0);
    const ports = sumWords(view, transport, 4, addresses + protocol);
    // Without sequence number, data offset and flags, checksum.
    this.transportSum = this.isTcp
      ? sumWords(view, transport + 18, payload - transport - 18, sumWords(view, transport + 8, 4, ports)) +
        view.getUint16(transport + 14)
      : ports;
  }

  /**
   * Cuts the next segment off into a frame, whose packet then begins where `frames.offset` says.
   * @returns its length in bytes
   */
  cut(frame: number): number {
    const { view, bytes, at, header, link, transport, isTcp } = this;
    const payload = this.remaining < this.size ? this.remaining : this.size;
    const to = this.frames.offset[frame];
    // All headers but Ethernet's are whole words.
    const odd = header & 2;
    if (odd !== 0) view.setUint16(to, view.getUint16(at));
    for (let i = odd; i < header; i += 4) view.setInt32(to + i, view.getInt32(at + i));
    bytes.copyWithin(to + header, this.next, this.next + payload);
    this.next += payload;
    this.remaining -= payload;
    const length = header + payload;
    const ip = to + link;
    if (this.isIpv4) {
      const total = length - link;
      const id = this.identification;
      this.identification = (id + 1) & 0xffff;
      view.setInt32(ip + 2, (total << 16) | id);
      view.setUint16(ip + 10, ipv4Checksum(this.ipSum + total + id));
    } else view.setUint16(ip + 4, length - link - 40);
    const start = to + transport;
    const covered = length - transport;
    const sum = this.isEsp ? 0 : this.transportSum + covered + sumBytes(view, to + header, payload);
    if (isTcp) {
      const { sequence } = this;
      const flags = this.remaining === 0 ? this.lastFlags : this.flags;
      this.sequence = (sequence + payload) | 0;
      view.setInt32(start + SEQUENCE, sequence);
      view.setUint16(start + DATA_OFFSET, flags);
      view.setUint16(start + TCP_CHECKSUM, foldSum(sum + (sequence >>> 16) + (sequence & 0xffff) + flags));
      this.flags &= ~CWR;
      this.lastFlags &= ~CWR;
    } else {
      view.setUint16(start + 4, covered);
      // The length is part of the pseudo-header and of the header.
      const checksum = foldSum(sum + covered);
      view.setUint16(start + UDP_CHECKSUM, this.isEsp ? 0 : checksum === 0 ? 0xffff : checksum);
    }
    return length;
  }
}
