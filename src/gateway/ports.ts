// From the configuration's interfaces to ports.

import type { SlowPath } from "../apps/transmit.js";
import type { Configuration, PrivateInterface, PublicInterface } from "../config/datastore.js";
import type { AppContext } from "../engine/app.js";
import { interfaceIndex } from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import { NetworkMonitor } from "../ports/network-monitor.js";
import { PacketPort } from "../ports/packet.js";
import type { DevicePort, Port, PortOptions } from "../ports/port.js";
import { SlowPath as KernelPath } from "../ports/slow-path.js";
import { TunPort } from "../ports/tun.js";
import { XdpPort } from "../ports/xdp.js";
import type { PortPlan } from "./graph.js";

/** A plan whose port sits on a network device, once it is open; undefined for TUN. */
export interface DevicePlan extends PortPlan {
  device: DevicePort | undefined;
}

/**
 * Plans for a worker's ports: public ones first, then private ones.
 * @param local this machine's addresses and broadcast addresses: an XDP program must know them from its first packet on
 */
export function planPorts(
  configuration: Configuration,
  context: AppContext,
  local: readonly IpAddress[],
): DevicePlan[] {
  return [
    ...configuration["public-interface"].map((settings) => plan(settings, "public", context, local)),
    ...configuration["private-interface"].map((settings) => plan(settings, "private", context, local)),
  ];
}

/** This machine's own addresses, and its subnets' broadcast addresses, as the kernel has them now. */
export function localAddresses(): IpAddress[] {
  const addresses: IpAddress[] = [];
  const ignore = () => {};
  const monitor = new NetworkMonitor({
    reset: ignore,
    link: ignore,
    neighbour: ignore,
    address: (_index, address) => addresses.push(address),
    route: ({ type, prefix }) => {
      if (type === "broadcast") addresses.push(prefix.address);
    },
  });
  monitor.close();
  return addresses;
}

function plan(
  settings: PublicInterface | PrivateInterface,
  side: "public" | "private",
  context: AppContext,
  local: readonly IpAddress[],
): DevicePlan {
  const { name, driver } = settings;
  if (driver === "tun")
    return {
      name,
      side,
      kind: "ip",
      device: undefined,
      open: (appContext, options) => new TunPort(appContext, options),
    };
  requireDevice(name, side);
  const slowPath: SlowPath = new KernelPath(context.frames, name);
  const made: DevicePlan = {
    name,
    side,
    kind: "ethernet",
    device: undefined,
    slowPath,
    open: (appContext: AppContext, options: PortOptions): Port => {
      made.device =
        driver === "packet"
          ? new PacketPort(appContext, { ...options, role: side, local })
          : new XdpPort(appContext, {
              ...options,
              role: side,
              local,
              mode: settings["xdp-mode"],
              zeroCopy: settings["zero-copy"],
            });
      return made.device;
    },
  };
  return made;
}

function requireDevice(name: string, side: string): void {
  try {
    interfaceIndex(name);
  } catch {
    throw new Error(
      `/${side}-interface: there is no network device "${name}" in this network namespace (see ip link)`,
    );
  }
}
