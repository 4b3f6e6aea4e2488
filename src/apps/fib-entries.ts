// What the FIB (fib.ts) asks of routes and addresses.

import { NONE } from "../memory/frames.js";
import { formatAddress, type IpAddress } from "../net/address.js";
import { isLinkLocal6 } from "../net/ipv6.js";
import type { RouteChange } from "../net/kernel-network.js";

export function isLinkLocal(address: IpAddress): boolean {
  return address.length === 4 ? address[0] === 169 && address[1] === 254 : isLinkLocal6(address);
}

export function sameRoute(a: RouteChange, b: RouteChange): boolean {
  const gateway = (route: RouteChange) => (route.gateway ? formatAddress(route.gateway) : "");
  return (
    a.index === b.index &&
    a.metric === b.metric &&
    a.type === b.type &&
    a.table === b.table &&
    gateway(a) === gateway(b)
  );
}

export function grow(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * array.length).fill(NONE);
  larger.set(array);
  return larger;
}
