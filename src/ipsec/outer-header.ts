// The outer header of an SA as a template in its slot: everything that is the same for all its packets. What differs
// (TOS, lengths, identification, checksums) is zero in it and set by the encapsulating app. In transport mode the packets
// have an IP header of their own, and only the UDP header of ESP in UDP is in the template.

import type { Host } from "./kernel.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";

const at = saSlot.at;
const ESP = 50;
const UDP = 17;
const HOP_LIMIT = 64;

/** Sets the end points of an SA and what follows from them. The caller holds the slot's sequence lock, or owns the slot. */
export function writeEndPoints(
  sad: Sad,
  slot: number,
  src: Host,
  dst: Host,
  udpEncapsulation: boolean,
): void {
  const base = sad.offset(slot);
  const { bytes } = sad.region;
  const { view, words } = sad;
  const isIpv6 = dst.address.length === 16;
  bytes.fill(0, base + at.src, base + at.src + 32);
  bytes.set(src.address, base + at.src);
  bytes.set(dst.address, base + at.dst);
  view.setUint16(base + at.srcPort, src.port, true);
  view.setUint16(base + at.dstPort, dst.port, true);

  const header = base + at.outer;
  bytes.fill(0, header, header + 48);
  const protocol = udpEncapsulation ? UDP : ESP;
  let length = 20;
  let sum = 0;
  if ((sad.flags(slot) & SaFlag.transport) !== 0) length = 0;
  else if (isIpv6) {
    length = 40;
    view.setUint32(header, 0x60000000);
    view.setUint8(header + 6, protocol);
    view.setUint8(header + 7, HOP_LIMIT);
    bytes.set(src.address, header + 8);
    bytes.set(dst.address, header + 24);
  } else {
    view.setUint8(header, 0x45);
    view.setUint8(header + 8, HOP_LIMIT);
    view.setUint8(header + 9, protocol);
    bytes.set(src.address, header + 12);
    bytes.set(dst.address, header + 16);
    for (let i = 0; i < 20; i += 2) sum += view.getUint16(header + i);
  }
  if (udpEncapsulation) {
    view.setUint16(header + length, src.port);
    view.setUint16(header + length + 2, dst.port);
    length += 8;
  }
  words[(base + at.outerLength) >>> 2] = length;
  words[(base + at.outerSum) >>> 2] = sum;
  const flags = (base + at.flags) >>> 2;
  const wanted = (isIpv6 ? SaFlag.outerIpv6 : 0) | (udpEncapsulation ? SaFlag.udpEncapsulation : 0);
  Atomics.or(words, flags, wanted);
  Atomics.and(words, flags, ~((SaFlag.outerIpv6 | SaFlag.udpEncapsulation) & ~wanted));
}

/** Changes the end points of an SA in use (RFC 4555, RFC 3948 §3.2), so that no worker ever sees half of them. */
export function moveEndPoints(sad: Sad, slot: number, src: Host, dst: Host, udpEncapsulation: boolean): void {
  const version = (sad.offset(slot) + at.version) >>> 2;
  Atomics.add(sad.atomics, version, 1);
  writeEndPoints(sad, slot, src, dst, udpEncapsulation);
  Atomics.add(sad.atomics, version, 1);
}

/** The end points, as a key manager knows them. */
export function readEndPoints(sad: Sad, slot: number): { src: Host; dst: Host } {
  const base = sad.offset(slot);
  const length = sad.flags(slot) & SaFlag.outerIpv6 ? 16 : 4;
  const host = (address: number, port: number): Host => ({
    address: sad.region.bytes.slice(base + address, base + address + length),
    port: sad.view.getUint16(base + port, true),
  });
  return { src: host(at.src, at.srcPort), dst: host(at.dst, at.dstPort) };
}
