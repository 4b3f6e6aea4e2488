// What the kernel tells about its network: interfaces, addresses, routes and neighbours, as a stream of changes.
// Whoever listens keeps tables of his own.

import type { IpAddress, Prefix } from "./address.js";

export interface LinkChange {
  index: number;
  name: string;
  /** 6 bytes; undefined where the device has no Ethernet header. */
  mac: Uint8Array | undefined;
  /** Bytes of IP packet that fit. */
  mtu: number;
  up: boolean;
}

export interface RouteChange {
  prefix: Prefix;
  /** Next hop; undefined where the prefix is on the link. */
  gateway: IpAddress | undefined;
  /** Outgoing interface; 0 for routes without one (unreachable, blackhole). */
  index: number;
  metric: number;
  type: "unicast" | "local" | "broadcast" | "multicast" | "unreachable";
  /** Routing table: 254 main, 255 local, others of VRFs and of policy routing. Without it, main or local by the type. */
  table?: number;
  /** Another route of the same prefix, metric and table was there first, and comes first. */
  behind?: boolean;
}

export const TABLE_MAIN = 254;
export const TABLE_LOCAL = 255;

export interface NetworkListener {
  /** Everything known is void: the tables are told anew, from the start (first call, or after lost messages). */
  reset(): void;
  link(change: LinkChange, present: boolean): void;
  address(index: number, address: IpAddress, prefixLength: number, present: boolean): void;
  route(change: RouteChange, present: boolean): void;
  /** `mac` is undefined when the neighbour is gone or does not answer. */
  neighbour(index: number, address: IpAddress, mac: Uint8Array | undefined): void;
}
