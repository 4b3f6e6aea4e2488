// Packets of TCP and UDP flows for the tests of segmentation and coalescing, made and checked word for word after the
// RFCs, with none of the code under test.

import { parseAddress } from "../../net/address.js";

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

export interface FlowPacket {
  version: 4 | 6;
  protocol: "tcp" | "udp";
  payload: Uint8Array;
  source?: string;
  destination?: string;
  ports?: [number, number];
  tos?: number;
  ttl?: number;
  /** IPv4: identification, flags and fragment offset, options (a multiple of 4 bytes). */
  id?: number;
  fragment?: number;
  ipOptions?: Uint8Array;
  /** IPv6: headers between IP and transport, their numbers included: [first number, bytes]. */
  extension?: [number, Uint8Array];
  sequence?: number;
  acknowledgement?: number;
  flags?: number;
  window?: number;
  /** TCP: a multiple of 4 bytes. */
  options?: Uint8Array;
}

const u16 = (value: number) => [(value >>> 8) & 0xff, value & 0xff];
export const u32 = (value: number) => [...u16(value >>> 16), ...u16(value)];

/** RFC 1071: the checksum of these bytes, which is 0 over bytes that contain their own. */
export function internetChecksum(bytes: readonly number[] | Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] << 8) | (bytes[i + 1] ?? 0)) >>> 0;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return ~sum & 0xffff;
}

export function flowPacket(p: FlowPacket): Uint8Array {
  const is4 = p.version === 4;
  const source = parseAddress(p.source ?? (is4 ? "10.0.0.1" : "fd00::1")) as Uint8Array;
  const destination = parseAddress(p.destination ?? (is4 ? "10.0.0.2" : "fd00::2")) as Uint8Array;
  const [from, to] = p.ports ?? [1000, 2000];
  const isTcp = p.protocol === "tcp";
  const options = p.options ?? new Uint8Array();
  const header = isTcp
    ? [
        ...[...u16(from), ...u16(to), ...u32(p.sequence ?? 1), ...u32(p.acknowledgement ?? 1)],
        ...[((20 + options.length) / 4) << 4, p.flags ?? ACK, ...u16(p.window ?? 500), 0, 0, 0, 0],
        ...options,
      ]
    : [...u16(from), ...u16(to), ...u16(8 + p.payload.length), 0, 0];
  const transport = Uint8Array.from([...header, ...p.payload]);
  const number = isTcp ? 6 : 17;
  const pseudo = [...source, ...destination, ...u32(transport.length), ...u32(number)];
  const checksum = internetChecksum([...pseudo, ...transport]);
  transport.set(u16(checksum === 0 && !isTcp ? 0xffff : checksum), isTcp ? 16 : 6);
  const tos = p.tos ?? 0;
  const ttl = p.ttl ?? 64;
  if (is4) {
    const extra = p.ipOptions ?? new Uint8Array();
    const total = 20 + extra.length + transport.length;
    const ip = [
      ...[0x45 + extra.length / 4, tos, ...u16(total), ...u16(p.id ?? 0), ...u16(p.fragment ?? 0x4000)],
      ...[ttl, number, 0, 0, ...source, ...destination, ...extra],
    ];
    ip.splice(10, 2, ...u16(internetChecksum(ip)));
    return Uint8Array.from([...ip, ...transport]);
  }
  const [next, extension] = p.extension ?? [number, new Uint8Array()];
  return Uint8Array.from([
    ...[0x60 | (tos >>> 4), (tos & 15) << 4, 0, 0, ...u16(extension.length + transport.length), next, ttl],
    ...[...source, ...destination, ...extension, ...transport],
  ]);
}

/** What a host would say of a packet: undefined when lengths and checksums are right. */
export function faultOf(packet: Uint8Array): string | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const is4 = packet[0] >>> 4 === 4;
  const total = is4 ? view.getUint16(2) : 40 + view.getUint16(4);
  if (total !== packet.length) return `length ${total} instead of ${packet.length}`;
  let at = is4 ? (packet[0] & 15) * 4 : 40;
  if (is4 && internetChecksum(packet.subarray(0, at)) !== 0) return "IPv4 header checksum";
  let number = packet[is4 ? 9 : 6];
  while (!is4 && number !== 6 && number !== 17) {
    number = packet[at];
    at += (packet[at + 1] + 1) * 8;
  }
  const transport = packet.subarray(at);
  if (number === 17 && view.getUint16(at + 4) !== transport.length) return "UDP length";
  const addresses = packet.subarray(is4 ? 12 : 8, is4 ? 20 : 40);
  const pseudo = [...addresses, ...u32(transport.length), ...u32(number)];
  if (internetChecksum([...pseudo, ...transport]) !== 0) return "transport checksum";
  return undefined;
}
