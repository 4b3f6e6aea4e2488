// ARP for IPv4 over Ethernet (RFC 826):
//
//   hardware type 2 | protocol type 2 | lengths 1 1 | operation 2 | sender MAC 6, IP 4 | target MAC 6, IP 4

import { ETHERNET_BROADCAST, ETHERNET_HEADER, ETHERTYPE_ARP, isStation, writeEthernet } from "./ethernet.js";

export const ARP_BYTES = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** Where things stand, counted from the ARP header. */
export const arpAt = { operation: 6, senderMac: 8, sender: 14, targetMac: 18, target: 24 } as const;

const UNKNOWN = new Uint8Array(6);

/** A request or a reply about IPv4 addresses on Ethernet, from a station that can be one? Reads no more than `length` bytes. */
export function isArp(view: DataView, bytes: Uint8Array, at: number, length: number): boolean {
  if (length < ARP_BYTES) return false;
  if (view.getUint32(at) !== 0x00010800 || view.getUint16(at + 4) !== 0x0604) return false;
  const operation = view.getUint16(at + arpAt.operation);
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return false;
  return isStation(bytes, at + arpAt.senderMac);
}

/**
 * Writes an Ethernet frame with a request for `target` at `at`, to everybody or to the station that had the address.
 * A probe (RFC 5227 §2.1.1) has 0.0.0.0 as sender, an announcement (§2.3) the same address as sender and target.
 * @returns its length
 */
export function writeArpRequest(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  mac: Uint8Array,
  sender: Uint8Array,
  target: Uint8Array,
  station?: Uint8Array,
): number {
  writeEthernet(bytes, at, station ?? ETHERNET_BROADCAST, mac, ETHERTYPE_ARP);
  const arp = at + ETHERNET_HEADER;
  view.setUint32(arp, 0x00010800);
  view.setUint32(arp + 4, (0x0604 << 16) | ARP_REQUEST);
  bytes.set(mac, arp + arpAt.senderMac);
  bytes.set(sender, arp + arpAt.sender);
  bytes.set(UNKNOWN, arp + arpAt.targetMac);
  bytes.set(target, arp + arpAt.target);
  return ETHERNET_HEADER + ARP_BYTES;
}

/** Turns the request in the Ethernet frame at `at` into the reply that the target's address is `mac`. @returns its length */
export function turnIntoArpReply(view: DataView, bytes: Uint8Array, at: number, mac: Uint8Array): number {
  const arp = at + ETHERNET_HEADER;
  const target = view.getUint32(arp + arpAt.target);
  bytes.copyWithin(arp + arpAt.targetMac, arp + arpAt.senderMac, arp + arpAt.senderMac + 10);
  bytes.set(mac, arp + arpAt.senderMac);
  view.setUint32(arp + arpAt.sender, target);
  view.setUint16(arp + arpAt.operation, ARP_REPLY);
  bytes.copyWithin(at, arp + arpAt.targetMac, arp + arpAt.targetMac + 6);
  bytes.set(mac, at + 6);
  return ETHERNET_HEADER + ARP_BYTES;
}
