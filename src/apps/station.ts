// Who Vita is on a link that it owns: an Ethernet address, and the IP addresses that it answers for. The link-local
// address follows from the Ethernet address.

import { compareAddresses, type IpAddress, maskAddress } from "../net/address.js";
import type { InterfaceAddress } from "../net/interface-address.js";
import { ALL_NODES, isLinkLocal6, linkLocal, solicitedNode } from "../net/ipv6.js";
import { LocalAddresses } from "../net/local-addresses.js";

export class Station {
  /** 6 bytes; zeros before the device is known. */
  readonly mac = new Uint8Array(6);
  /** Is the device there, and up? */
  up = false;
  /** fe80::/64 where there are IPv6 addresses at all. */
  linkLocal: IpAddress | undefined;
  private own = new LocalAddresses();

  constructor(readonly addresses: readonly InterfaceAddress[]) {
    this.setMac(this.mac);
  }

  get hasIpv6(): boolean {
    return this.addresses.some(({ address }) => address.length === 16);
  }

  setMac(mac: Uint8Array): void {
    this.mac.set(mac);
    this.linkLocal = this.hasIpv6 ? linkLocal(mac) : undefined;
    this.own = new LocalAddresses();
    for (const address of this.all()) this.own.set(address, true);
  }

  /** Every address, that of the link included. */
  all(): IpAddress[] {
    const addresses = this.addresses.map(({ address }) => address);
    return this.linkLocal ? [...addresses, this.linkLocal] : addresses;
  }

  /** The multicast groups to be a member of. */
  groups(): IpAddress[] {
    if (!this.linkLocal) return [];
    const groups = [ALL_NODES];
    for (const address of this.all()) {
      if (address.length !== 16) continue;
      const group = solicitedNode(address);
      if (!groups.some((known) => compareAddresses(known, group) === 0)) groups.push(group);
    }
    return groups;
  }

  /** Is the Ethernet address at `at` this station's? */
  isMac(bytes: Uint8Array, at: number): boolean {
    const { mac } = this;
    for (let i = 0; i < 6; i++) if (bytes[at + i] !== mac[i]) return false;
    return true;
  }

  /** Is the IPv4 address at `at` one of this station's? */
  has4(view: DataView, at: number): boolean {
    return this.own.has4(view, at);
  }

  /** Is the IPv6 address at `at` one of this station's? */
  has6(view: DataView, bytes: Uint8Array, at: number): boolean {
    return this.own.has6(view, bytes, at);
  }

  /** The address to ask for a neighbour from (RFC 4861 §7.2.2): of its prefix if there is one, else any of its family. */
  sourceFor(neighbour: IpAddress): IpAddress | undefined {
    if (this.linkLocal && isLinkLocal6(neighbour)) return this.linkLocal;
    const family = this.addresses.filter(({ address }) => address.length === neighbour.length);
    const onLink = family.find(
      ({ address, prefixLength }) =>
        compareAddresses(maskAddress(address, prefixLength), maskAddress(neighbour, prefixLength)) === 0,
    );
    return (onLink ?? family[0])?.address;
  }
}
