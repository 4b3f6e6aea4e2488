// What the configuration of a public interface says in mode `owned`, where Vita and not the kernel has the interface's
// addresses: which ones, the way out of the link, and the device by which charon is reached.

import {
  compareAddresses,
  formatAddress,
  type IpAddress,
  maskAddress,
  parseAddress,
} from "../net/address.js";
import { type InterfaceAddress, isUnicast, parseInterfaceAddress } from "../net/interface-address.js";
import { isLinkLocal6 } from "../net/ipv6.js";
import type { Configuration, PublicInterface } from "./configuration.js";
import { entryAt, type Tell } from "./tell.js";

/** Finds what no leaf can know by itself. */
export function checkOwned(configuration: Configuration, tell: Tell): void {
  const names = new Map<string, string>();
  const tables = new Map<number, string>();
  for (const table of ["route-table", "transport-route-table"] as const)
    first(tables, configuration[table], `/${table}`, configuration[table], tell);
  for (const side of ["public-interface", "private-interface"] as const)
    for (const { name } of configuration[side]) names.set(name, `${entryAt(side, "name", name)}/name`);
  const seen = { names, tables, addresses: new Map<string, string>() };
  for (const leaves of configuration["public-interface"])
    if (leaves.mode === "owned") checkInterface(leaves, seen, tell);
}

/** Where something stands first. */
interface Seen {
  readonly names: Map<string, string>;
  readonly tables: Map<number, string>;
  readonly addresses: Map<string, string>;
}

function first<Key>(seen: Map<Key, string>, key: Key, at: string, value: unknown, tell: Tell): void {
  const earlier = seen.get(key);
  if (earlier) tell(at, `is already at ${earlier}`, value);
  else seen.set(key, at);
}

function checkInterface(leaves: PublicInterface, { names, tables, addresses }: Seen, tell: Tell): void {
  const at = entryAt("public-interface", "name", leaves.name);
  const { address = [], punt } = leaves;
  if (address.length === 0) {
    tell(`${at}/address`, 'is missing: in mode "owned" Vita has the addresses from here');
    return;
  }
  const own: InterfaceAddress[] = [];
  for (const text of address) {
    const parsed = parseInterfaceAddress(text);
    if (parsed) {
      own.push(parsed);
      first(addresses, formatAddress(parsed.address), `${at}/address`, text, tell);
    } else
      tell(
        `${at}/address`,
        "is not an address of a host with its prefix length, such as 192.0.2.1/24 or 2001:db8::1/64",
        text,
      );
  }
  if (punt) {
    first(names, punt.device, `${at}/punt/device`, punt.device, tell);
    first(tables, punt["route-table"], `${at}/punt/route-table`, punt["route-table"], tell);
  }
  if (own.length === address.length) checkGateways(leaves, own, `${at}/gateway`, tell);
}

function checkGateways(
  { gateway = [] }: PublicInterface,
  own: readonly InterfaceAddress[],
  at: string,
  tell: Tell,
): void {
  const families = new Set<number>();
  for (const text of gateway) {
    const address = parseAddress(text) as IpAddress;
    const sameFamily = own.filter((other) => other.address.length === address.length);
    const onLink = sameFamily.some(
      ({ address: other, prefixLength }) =>
        compareAddresses(maskAddress(other, prefixLength), maskAddress(address, prefixLength)) === 0,
    );
    if (!isUnicast(address)) tell(at, "is not an address of a host", text);
    else if (families.has(address.length)) tell(at, "is the second gateway of its family", text);
    else if (sameFamily.some((other) => compareAddresses(other.address, address) === 0))
      tell(at, "is an address of this interface itself", text);
    else if (sameFamily.length === 0) tell(at, "has no address of its family on this interface", text);
    else if (!onLink && !isLinkLocal6(address))
      tell(at, "is not on the link: no address of this interface has it in its prefix", text);
    families.add(address.length);
  }
}
