// An address that a host has on a link, with the length of the link's prefix: `192.0.2.1/24`.

import { compareAddresses, type IpAddress, maskAddress, parseAddress } from "./address.js";
import { isLinkLocal6 } from "./ipv6.js";

/** An address of an interface, and how many of its bits are the link's. */
export interface InterfaceAddress {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** One that a host can have: of a single host, and not of this machine alone. */
export function isUnicast(address: IpAddress): boolean {
  if (address.length === 4) return address[0] > 0 && address[0] < 224 && address[0] !== 127;
  return address[0] !== 0xff && address.subarray(0, 15).some((byte) => byte !== 0);
}

/** `192.0.2.1/24` or `2001:db8::1/64` to bytes; undefined when it is not an address that a host on a link can have. */
export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const [, host, suffix] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = host === undefined ? undefined : parseAddress(host);
  const prefixLength = Number(suffix);
  if (!address || !isUnicast(address) || isLinkLocal6(address)) return undefined;
  const bits = 8 * address.length;
  if (prefixLength < 1 || prefixLength > bits) return undefined;
  if (prefixLength >= bits - 1) return { address, prefixLength };
  const network = maskAddress(address, prefixLength);
  if (compareAddresses(address, network) === 0) return undefined;
  const isBroadcast =
    address.length === 4 && compareAddresses(address, lastAddress(network, prefixLength)) === 0;
  return isBroadcast ? undefined : { address, prefixLength };
}

function lastAddress(network: IpAddress, length: number): IpAddress {
  return network.map((byte, i) => byte | (0xff >>> Math.min(8, Math.max(0, length - 8 * i))));
}
