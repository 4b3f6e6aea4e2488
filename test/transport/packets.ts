// IP packets of any shape, whole and spoilt, with the checksums that their sender would give them.

import { address } from "../../src/ipsec/testing/requests.js";
import { internetChecksum } from "../../src/ports/testing/flow-packets.js";
import { mendChecksum } from "../esp/random.js";

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;
export const FRAGMENT = 44;
const ROUTING = 43;

export interface Draft {
  source: string;
  destination: string;
  protocol: number;
  /** Source and destination; for ICMP both are type × 256 + code. */
  ports: [number, number];
  /** Bytes behind the IP header: there may be less of the transport header than it has. */
  size: number;
  tos: number;
  ttl: number;
  /** Bytes of IPv4 options, a multiple of four. */
  options: number;
  /** IPv6 extension headers. */
  chain: number[];
  /** IPv4: where in a packet it was, and whether more follows. */
  fragment: { offset: number; more: boolean } | undefined;
  /** Bytes that the UDP header tells less than there are; negative for more. */
  surplus: number;
  /** UDP that has none. */
  withoutChecksum: boolean;
  /** Where it can be had with UDP: all adds up to 0, and the checksum is 0xffff for that (RFC 768). */
  isZero: boolean;
}

export interface Made {
  packet: Uint8Array;
  /** Where each header behind the first one begins, the transport header being the last, and where its protocol is named. */
  starts: number[];
  fields: number[];
}

export const isSix = ({ source }: Draft) => source.includes(":");

/** @param number of the packet, so that no two are alike */
export function make(draft: Draft, number: number): Made {
  const { protocol, size, tos, ttl, options, fragment } = draft;
  const addresses = [...address(draft.source), ...address(draft.destination)];
  const made = isSix(draft) ? make6(draft, addresses, number) : undefined;
  if (made) return made;
  const header = 20 + options;
  const length = header + size;
  const packet = new Uint8Array(length).fill(number & 0xff);
  const flags = ((fragment?.more ? 0x2000 : 0) | (fragment?.offset ?? 0)) >>> 0;
  packet.set([0x40 | (header >>> 2), tos, length >>> 8, length & 0xff, number >>> 8, number & 0xff]);
  packet.set([flags >>> 8, flags & 0xff, ttl, protocol, 0, 0, ...addresses], 6);
  packet.fill(1, 20, header);
  if (options > 0) packet[header - 1] = 0;
  mendChecksum(packet);
  writeTransport(packet, header, draft, number);
  return { packet, starts: [header], fields: [9] };
}

function make6(draft: Draft, addresses: number[], number: number): Made {
  const { protocol, size, tos, ttl, chain, fragment } = draft;
  const headers = [...chain, protocol];
  const packet = new Uint8Array(40 + 8 * chain.length + size).fill(number & 0xff);
  const length = packet.length - 40;
  packet.set([0x60 | (tos >>> 4), (tos & 15) << 4, number >>> 8, number & 0xff, length >>> 8, length & 0xff]);
  packet.set([headers[0], ttl, ...addresses], 6);
  const starts = headers.map((_, i) => 40 + 8 * i);
  const fields = headers.map((_, i) => (i === 0 ? 6 : 32 + 8 * i));
  chain.forEach((header, i) => {
    const at = 40 + 8 * i;
    const place = ((fragment?.offset ?? 0) << 3) | (fragment?.more ? 1 : 0);
    // Padding of four bytes, a routing header of an experimental type that has come to its end, or where the fragment was.
    if (header === FRAGMENT) packet.set([headers[i + 1], 0, place >>> 8, place & 0xff, 0, 0, 0, 9], at);
    else if (header === ROUTING) packet.set([headers[i + 1], 0, 253, 0, 0, 0, 0, 0], at);
    else packet.set([headers[i + 1], 0, 1, 4, 0, 0, 0, 0], at);
  });
  writeTransport(packet, 40 + 8 * chain.length, draft, number);
  return { packet, starts, fields };
}

/** Later fragments begin as if they had the transport header: nobody may take that for one. */
function writeTransport(packet: Uint8Array, at: number, draft: Draft, number: number): void {
  const { protocol, ports, size, surplus, fragment } = draft;
  const [src, dst] = ports;
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  const header = isIcmp
    ? [src >>> 8, src & 0xff, 0, 0, number >>> 8, number & 0xff]
    : [src >>> 8, src & 0xff, dst >>> 8, dst & 0xff];
  const length = size - surplus;
  if (protocol === UDP) header.push((length >>> 8) & 0xff, length & 0xff, 0xab, 0xcd);
  if (protocol === TCP) header.push(0, 0, number >>> 8, number & 0xff, 0, 0, 0, 0, 0x50, 0x10);
  packet.set(header.slice(0, size), at);
  if (protocol === UDP && size >= 8 && draft.withoutChecksum) packet.set([0, 0], at + 6);
  else if (!fragment) writeChecksum(packet, at, protocol);
  if (protocol !== UDP || !draft.isZero || draft.withoutChecksum || fragment || length < 10 || length > size)
    return;
  packet.set([0, 0], at + 8);
  writeChecksum(packet, at, protocol);
  packet.set(packet.slice(at + 6, at + 8), at + 8);
  writeChecksum(packet, at, protocol);
}

/** Gives the transport header the checksum that it should have with the packet's addresses; UDP that has none stays so. */
export function writeChecksum(packet: Uint8Array, at: number, protocol: number): void {
  const size = packet.length - at;
  const length = protocol === UDP && size >= 8 ? (packet[at + 4] << 8) | packet[at + 5] : size;
  const field = at + (protocol === TCP ? 16 : protocol === UDP ? 6 : 2);
  const least = { [TCP]: 20, [UDP]: 8, [ICMP]: 4, [ICMPV6]: 4 }[protocol] ?? Number.POSITIVE_INFINITY;
  if (size < least || length < least || length > size) return;
  if (protocol === UDP && packet[field] === 0 && packet[field + 1] === 0) return;
  packet.set([0, 0], field);
  const addresses = packet[0] >>> 4 === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const pseudo = protocol === ICMP ? [] : [...addresses, length >>> 8, length & 0xff, 0, protocol];
  const sum = internetChecksum([...pseudo, ...packet.subarray(at, at + length)]);
  const checksum = protocol === UDP && sum === 0 ? 0xffff : sum;
  packet.set([checksum >>> 8, checksum & 0xff], field);
}

/** Says in the IP header, and in that of UDP at `udp` if there is one, how long the packet is now. */
export function tellLength(packet: Uint8Array, udp?: number): Uint8Array {
  const isFour = packet[0] >>> 4 === 4;
  const length = packet.length - (isFour ? 0 : 40);
  packet.set([length >>> 8, length & 0xff], isFour ? 2 : 4);
  if (udp !== undefined) packet.set([(packet.length - udp) >>> 8, (packet.length - udp) & 0xff], udp + 4);
  if (isFour) mendChecksum(packet);
  return packet;
}
