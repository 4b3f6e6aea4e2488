// The addresses of public interfaces: those of owned ones stand in the configuration, those of shared ones the kernel knows.

import type { Configuration } from "../config/configuration.js";
import { type IpAddress, parseAddress } from "../net/address.js";
import { isLinkLocal6 } from "../net/ipv6.js";
import { NetworkMonitor } from "../ports/network-monitor.js";

type PublicInterfaces = Configuration["public-interface"];

/**
 * The addresses that tunnels can begin at, interface by interface, in the order in which they were given to them.
 * @param kernel addresses of a device; read from the kernel when left out
 */
export function publicAddresses(interfaces: PublicInterfaces, kernel = kernelAddresses()): IpAddress[] {
  return interfaces.flatMap(({ name, mode, address = [] }) =>
    mode === "owned"
      ? address.flatMap((text) => parseAddress(text.replace(/\/.*/, "")) ?? [])
      : (kernel.get(name) ?? []),
  );
}

/** By device, without those that are for one link alone. */
function kernelAddresses(): Map<string, IpAddress[]> {
  const names = new Map<number, string>();
  const addresses = new Map<string, IpAddress[]>();
  const ignore = () => {};
  const monitor = new NetworkMonitor({
    reset: ignore,
    link: ({ index, name }) => names.set(index, name),
    neighbour: ignore,
    route: ignore,
    address: (index, address, _prefixLength, present) => {
      const name = names.get(index);
      if (!present || name === undefined || (address.length === 16 && isLinkLocal6(address))) return;
      addresses.set(name, [...(addresses.get(name) ?? []), address.slice()]);
    },
  });
  monitor.close();
  return addresses;
}
