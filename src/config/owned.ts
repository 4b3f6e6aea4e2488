// What the configuration of a public interface says in mode `owned`, where Vita and not the kernel has the interface's
// addresses: which ones, the way out of the link, and the device by which charon is reached.

import { z } from "zod";
import {
  compareAddresses,
  formatAddress,
  type IpAddress,
  maskAddress,
  parseAddress,
} from "../net/address.js";
import { type InterfaceAddress, isUnicast, parseInterfaceAddress } from "../net/interface-address.js";
import { isLinkLocal6 } from "../net/ipv6.js";
import { interfaceName, LARGEST_PREFERENCE, routeTable } from "./leaves.js";
import { defaultPunt, type OwnedLeaves, ownedSettings } from "./owned-settings.js";

export const ownedLeaves = {
  /** `owned` only: the interface's addresses with their prefix lengths. */
  address: z
    .array(
      z.string().refine(parseInterfaceAddress, {
        error: "is not an address of a host with its prefix length, such as 192.0.2.1/24 or 2001:db8::1/64",
        // What is checked over the whole configuration needs addresses.
        abort: true,
      }),
    )
    .max(16)
    .optional(),
  /** `owned` only: the next hop of everything that is not on the link, at most one for each family. */
  gateway: z
    .array(
      z.string().refine(
        (text) => {
          const address = parseAddress(text);
          return address !== undefined && isUnicast(address);
        },
        { error: "is not an address of a host", abort: true },
      ),
    )
    .max(2)
    .optional(),
  /** `owned` only: the way to charon. */
  punt: z
    .strictObject({
      /** TUN device to be made, which has the interface's addresses for the kernel. */
      device: interfaceName.default(defaultPunt.device),
      /** What goes to the kernel and comes from it: IKE alone, or everything that is for the interface's addresses. */
      traffic: z.enum(["ike", "all"]).default(defaultPunt.traffic),
      /** Kernel routing table for what is sent from the interface's addresses. */
      "route-table": routeTable(LARGEST_PREFERENCE).default(defaultPunt["route-table"]),
    })
    .optional(),
};

/** Tells what is wrong at a path of the configuration. */
type Tell = (path: (string | number)[], message: string, input: unknown) => void;

interface Interfaces {
  readonly "public-interface": readonly OwnedLeaves[];
  readonly "private-interface": readonly { readonly name: string }[];
  readonly "route-table": number;
  readonly "transport-route-table": number;
}

/** Finds what no leaf can know by itself. */
export function checkOwned(configuration: Interfaces, tell: Tell): void {
  const interfaces = configuration["public-interface"];
  const names = new Map<string, string>();
  const tables = new Map<number, string>();
  for (const table of ["route-table", "transport-route-table"] as const) {
    const number = configuration[table];
    const other = tables.get(number);
    if (other) tell([table], `is already at ${other}`, number);
    tables.set(number, `/${table}`);
  }
  const addresses = new Map<string, string>();
  for (const side of ["public-interface", "private-interface"] as const)
    configuration[side].forEach(({ name }, i) => {
      names.set(name, `/${side}/${i}/name`);
    });
  interfaces.forEach((leaves, i) => {
    const path = ["public-interface", i];
    if (leaves.mode === "shared") {
      for (const leaf of ["address", "gateway", "punt"] as const)
        if (leaves[leaf] !== undefined) tell([...path, leaf], 'is for mode "owned" only', leaves[leaf]);
      return;
    }
    if (!leaves.address?.length) {
      tell(
        [...path, "address"],
        'must have an address in mode "owned": Vita takes it from here',
        leaves.address ?? [],
      );
      return;
    }
    const first = <Key>(seen: Map<Key, string>, key: Key, at: (string | number)[], input: unknown) => {
      const earlier = seen.get(key);
      if (earlier) tell(at, `is already at ${earlier}`, input);
      else seen.set(key, `/${at.join("/")}`);
    };
    const settings = ownedSettings(leaves);
    if (!settings) return;
    const { punt, addresses: own } = settings;
    first(names, punt.device, [...path, "punt", "device"], punt.device);
    first(tables, punt.routeTable, [...path, "punt", "route-table"], punt.routeTable);
    own.forEach(({ address }, n) => {
      first(addresses, formatAddress(address), [...path, "address", n], leaves.address?.[n]);
    });
    checkGateways(leaves, own, path, tell);
  });
}

function checkGateways(
  leaves: OwnedLeaves,
  own: readonly InterfaceAddress[],
  path: (string | number)[],
  tell: Tell,
): void {
  const families = new Set<number>();
  leaves.gateway?.forEach((text, n) => {
    const at = [...path, "gateway", n];
    const gateway = parseAddress(text) as IpAddress;
    const sameFamily = own.filter(({ address }) => address.length === gateway.length);
    const onLink = sameFamily.some(
      ({ address, prefixLength }) =>
        compareAddresses(maskAddress(address, prefixLength), maskAddress(gateway, prefixLength)) === 0,
    );
    if (families.has(gateway.length)) tell(at, "is the second gateway of its family", text);
    else if (sameFamily.some(({ address }) => compareAddresses(address, gateway) === 0))
      tell(at, "is an address of this interface itself", text);
    else if (sameFamily.length === 0) tell(at, "has no address of its family on this interface", text);
    else if (!onLink && !isLinkLocal6(gateway))
      tell(at, "is not on the link: no address of this interface has it in its prefix", text);
    families.add(gateway.length);
  });
}
