// From the configuration's interfaces to ports.

import type { SlowPath } from "../apps/transmit.js";
import type { Configuration, PrivateInterface, PublicInterface } from "../config/datastore.js";
import { type OwnedSettings, ownedSettings } from "../config/owned-settings.js";
import type { AppContext } from "../engine/app.js";
import { interfaceIndex } from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import { setMtu } from "../ports/device.js";
import { NetworkMonitor } from "../ports/network-monitor.js";
import { PacketPort } from "../ports/packet.js";
import type { DevicePort, Port, PortOptions } from "../ports/port.js";
import { SlowPath as KernelPath } from "../ports/slow-path.js";
import { TUN_LARGEST, TunPort } from "../ports/tun.js";
import { XdpPort } from "../ports/xdp.js";
import type { PortPlan } from "./graph.js";
import type { Logger } from "./log.js";
import type { Ownership } from "./owned-link.js";

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
  loggerFor: (name: string) => Logger,
): DevicePlan[] {
  return [
    ...configuration["public-interface"].map((leaves) => {
      const settings = ownedSettings(leaves);
      if (!settings) return plan(leaves, "public", context, local);
      requireDevice(leaves.name, "public");
      const ownership = ownershipOf(settings, loggerFor(leaves.name));
      return planDevice(leaves, "public", local, { ownership });
    }),
    ...configuration["private-interface"].map((leaves) => plan(leaves, "private", context, local)),
  ];
}

function ownershipOf(settings: OwnedSettings, log: Logger): Ownership {
  const { device } = settings.punt;
  return {
    settings,
    openPunt: (context, options) => new TunPort(context, options),
    setMtu: (mtu) => setMtu(device, Math.min(mtu, TUN_LARGEST)),
    warn: (text) => log.warn(text),
  };
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
  return planDevice(settings, side, local, { slowPath: new KernelPath(context.frames, name) });
}

/** @param neighbours who finds them: Vita, because the interface is its own, or the kernel */
function planDevice(
  settings: PublicInterface | PrivateInterface,
  side: "public" | "private",
  local: readonly IpAddress[],
  neighbours: { slowPath?: SlowPath; ownership?: Ownership },
): DevicePlan {
  const { name, driver } = settings;
  const owned = neighbours.ownership !== undefined;
  const role = owned ? "owned" : side;
  const made: DevicePlan = {
    name,
    side,
    kind: "ethernet",
    device: undefined,
    owned,
    ...neighbours,
    open: (appContext: AppContext, options: PortOptions): Port => {
      made.device =
        driver === "packet"
          ? new PacketPort(appContext, { ...options, role, local })
          : new XdpPort(appContext, {
              ...options,
              role,
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
