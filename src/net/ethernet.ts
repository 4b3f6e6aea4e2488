// The Ethernet II header: destination 6, source 6, type 2. Addresses are raw bytes.

export const ETHERNET_HEADER = 14;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

/** 6 bytes. */
export type EthernetAddress = Uint8Array;

export const ETHERNET_BROADCAST: EthernetAddress = new Uint8Array(6).fill(0xff);

/** Writes the header at `at`. */
export function writeEthernet(
  bytes: Uint8Array,
  at: number,
  destination: EthernetAddress,
  source: EthernetAddress,
  type: number,
): void {
  bytes.set(destination, at);
  bytes.set(source, at + 6);
  bytes[at + 12] = type >>> 8;
  bytes[at + 13] = type & 0xff;
}

/** Is it an address that one station has: neither a group's nor all zeros? */
export function isStation(bytes: Uint8Array, at: number): boolean {
  if ((bytes[at] & 1) !== 0) return false;
  return (bytes[at] | bytes[at + 1] | bytes[at + 2] | bytes[at + 3] | bytes[at + 4] | bytes[at + 5]) !== 0;
}

/** Where IPv6 packets to a multicast address go (RFC 2464 §7). */
export function multicastEthernetAddress(group: Uint8Array): EthernetAddress {
  return Uint8Array.of(0x33, 0x33, group[12], group[13], group[14], group[15]);
}

/** `02:00:00:00:00:01` */
export function formatEthernet(address: EthernetAddress): string {
  return [...address].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
