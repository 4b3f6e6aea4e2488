// The settings of an owned interface as bytes, from leaves that have been checked (config/owned.ts). Workers read them
// without loading the checker.

import { type IpAddress, parseAddress } from "../net/address.js";
import { type InterfaceAddress, parseInterfaceAddress } from "../net/interface-address.js";

export interface OwnedLeaves {
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

/** What is left out. */
export const defaultPunt = {
  device: "vita-ike0",
  traffic: "ike",
  "route-table": 222,
} as const satisfies PuntLeaves;

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
