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
import { isLinkLocal6 } from "../net/ipv6.js";
import { count, interfaceName } from "./leaves.js";

/** An address of an interface, and how many of its bits are the link's. */
export interface InterfaceAddress {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** One that a host can have: of a single host, and not of this machine alone. */
function isUnicast(address: IpAddress): boolean {
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
      device: interfaceName.default("vita-ike0"),
      /** What goes to the kernel and comes from it: IKE alone, or everything that is for the interface's addresses. */
      traffic: z.enum(["ike", "all"]).default("ike"),
      /** Kernel routing table for what is sent from the interface's addresses. */
      "route-table": count(1, 0x7fffffff).default(222),
    })
    .optional(),
};

interface OwnedLeaves {
  readonly name: string;
  readonly mode: "shared" | "owned";
  readonly address?: readonly string[] | undefined;
  readonly gateway?: readonly string[] | undefined;
  readonly punt?: PuntLeaves | undefined;
}

interface PuntLeaves {
  readonly device: string;
  readonly traffic: "ike" | "all";
  readonly "route-table": number;
}

const defaultPunt: PuntLeaves = { device: "vita-ike0", traffic: "ike", "route-table": 222 };

/** What an owned interface has and does. */
export interface OwnedSettings {
  /** The network device. */
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
  readonly gateways: readonly IpAddress[];
  readonly punt: {
    readonly device: string;
    readonly traffic: "ike" | "all";
    readonly routeTable: number;
  };
}

/** The settings of a checked public interface; undefined in mode `shared`. */
export function ownedSettings(leaves: OwnedLeaves): OwnedSettings | undefined {
  if (leaves.mode !== "owned") return undefined;
  const { device, traffic, "route-table": routeTable } = leaves.punt ?? defaultPunt;
  return {
    name: leaves.name,
    addresses: (leaves.address ?? []).map((text) => parseInterfaceAddress(text) as InterfaceAddress),
    gateways: (leaves.gateway ?? []).map((text) => parseAddress(text) as IpAddress),
    punt: { device, traffic, routeTable },
  };
}

/** Tells what is wrong at a path of the configuration. */
type Tell = (path: (string | number)[], message: string, input: unknown) => void;

interface Interfaces {
  readonly "public-interface": readonly OwnedLeaves[];
  readonly "private-interface": readonly { readonly name: string }[];
  readonly "route-table": number;
}

/** Finds what no leaf can know by itself. */
export function checkOwned(configuration: Interfaces, tell: Tell): void {
  const interfaces = configuration["public-interface"];
  const names = new Map<string, string>();
  const tables = new Map<number, string>([[configuration["route-table"], "/route-table"]]);
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
    const { punt, addresses: own } = ownedSettings(leaves) as OwnedSettings;
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
