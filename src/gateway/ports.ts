// From the configuration's interfaces to ports.

import type { SlowPath } from "../apps/transmit.js";
import type { Configuration, PrivateInterface, PublicInterface } from "../config/configuration.js";
import { type OwnedSettings, ownedSettings } from "../config/owned-settings.js";
import type { AppContext } from "../engine/app.js";
import { type Binding, Domains } from "../ipsec/binding.js";
import type { IpAddress } from "../net/address.js";
import { setMtu } from "../ports/device.js";
import { NetworkMonitor } from "../ports/network-monitor.js";
import { PacketPort } from "../ports/packet.js";
import type { PacketPool } from "../ports/packet-pool.js";
import type { DevicePort, Port, PortOptions } from "../ports/port.js";
import { SlowPath as KernelPath } from "../ports/slow-path.js";
import { TUN_LARGEST } from "../ports/tun.js";
import { TunPort } from "../ports/tun-port.js";
import { XdpPort } from "../ports/xdp.js";
import { rehearseXdp } from "../ports/xdp-device.js";
import { bindingOf } from "./binding.js";
import type { PortPlan } from "./graph.js";
import type { Logger } from "./log.js";
import type { Ownership } from "./owned-link.js";
import { requireDevice } from "./require-device.js";

/** A plan whose port sits on a network device, once it is open; undefined for TUN. */
export interface DevicePlan extends PortPlan {
  device: DevicePort | undefined;
}

/**
 * Plans for a worker's ports: public ones first, then private ones.
 * @param pool what the worker shares with its siblings
 * @param local this machine's addresses and broadcast addresses: an XDP program must know them from its first packet on
 */
export function planPorts(
  configuration: Configuration,
  context: AppContext,
  pool: PacketPool,
  local: readonly LocalAddress[],
  loggerFor: (name: string) => Logger,
): DevicePlan[] {
  const sides = (["public", "private"] as const).flatMap((side) =>
    configuration[`${side}-interface`].map((leaves) => ({ side, leaves, binding: bindingOf(leaves) })),
  );
  // An address belongs to the domain of its interface, and is foreign to the others.
  const { ofPort } = new Domains(sides);
  const domainOf = (device: string) => ofPort[sides.findIndex(({ leaves }) => leaves.name === device)] ?? 0;
  const mayPause = !configuration["busy-poll"];
  // Ports share the frames, those of all workers; half of them stay for what is under way.
  const share = Math.floor(context.frames.capacity / (2 * Math.max(2, sides.length)));
  return sides.map(({ side, leaves, binding }, port) => {
    const mine = local.filter(({ device }) => domainOf(device) === ofPort[port]);
    const addresses = mine.map(({ address }) => address);
    const parts = { side, binding, share, pool, local: addresses, mayPause };
    const settings = side === "public" ? ownedSettings(leaves as PublicInterface) : undefined;
    if (!settings) return plan(leaves, context, parts);
    requireDevice(leaves.name, side);
    return planDevice(leaves, parts, { ownership: ownershipOf(settings, mayPause, loggerFor(leaves.name)) });
  });
}

/** Bytes that the ports need behind the frames, for packets that come in larger pieces. */
export function annexBytes(configuration: Configuration): number {
  const sides = [...configuration["public-interface"], ...configuration["private-interface"]];
  return sides.reduce((sum, leaves) => {
    const isOwned = "mode" in leaves && leaves.mode === "owned";
    const own = leaves.driver === "packet" ? PacketPort.annex : leaves.driver === "tun" ? TunPort.annex : 0;
    return sum + own + (isOwned ? TunPort.annex : 0);
  }, 0);
}

/** An address of this machine, or a broadcast address, and the interface that has it. */
export interface LocalAddress {
  readonly device: string;
  readonly address: IpAddress;
}

/** What a plan needs beside the interface's leaves. */
interface PlanParts {
  readonly side: "public" | "private";
  readonly binding: Binding;
  /** Frames that may be with the kernel in each direction. */
  readonly share: number;
  readonly pool: PacketPool;
  /** Addresses of this host, as far as the port's domain is concerned. */
  readonly local: readonly IpAddress[];
  /** Whether the worker may pause. */
  readonly mayPause: boolean;
}

function ownershipOf(settings: OwnedSettings, mayPause: boolean, log: Logger): Ownership {
  const { device } = settings.punt;
  return {
    settings,
    openPunt: (context, options) => new TunPort(context, { ...options, mayPause }),
    setMtu: (mtu) => setMtu(device, Math.min(mtu, TUN_LARGEST)),
    warn: (text) => log.warn(text),
  };
}

/** This machine's own addresses, and its subnets' broadcast addresses, as the kernel has them now. */
export function localAddresses(): LocalAddress[] {
  const addresses: LocalAddress[] = [];
  const names = new Map<number, string>();
  const ignore = () => {};
  const add = (index: number, address: IpAddress) =>
    addresses.push({ device: names.get(index) ?? "", address });
  const monitor = new NetworkMonitor({
    reset: ignore,
    link: ({ index, name }) => names.set(index, name),
    neighbour: ignore,
    address: add,
    route: ({ type, prefix, index }) => {
      if (type === "broadcast") add(index, prefix.address);
    },
  });
  monitor.close();
  return addresses;
}

/**
 * Does once, without a trace, what the ports will do when they are opened, so that it goes quickly then. What stands in the
 * way of one now may be gone by then, and is not an error.
 */
export function rehearsePorts(configuration: Configuration): void {
  localAddresses();
  for (const side of ["public", "private"] as const)
    for (const settings of configuration[`${side}-interface`]) {
      if (settings.driver !== "xdp") continue;
      const owned = "mode" in settings && settings.mode === "owned";
      try {
        rehearseXdp(owned ? "owned" : side, settings.name, configuration.workers);
      } catch {
        // It will be told when the port is really opened.
      }
    }
}

function plan(
  settings: PublicInterface | PrivateInterface,
  context: AppContext,
  parts: PlanParts,
): DevicePlan {
  const { name, driver } = settings;
  const { side, binding, mayPause } = parts;
  if (driver === "tun")
    return {
      name,
      side,
      binding,
      kind: "ip",
      device: undefined,
      open: (appContext, options) =>
        new TunPort(appContext, { ...options, mayPause, isShared: parts.pool.workers > 1 }),
    };
  requireDevice(name, side);
  return planDevice(settings, parts, { slowPath: new KernelPath(context.frames, name) });
}

/** @param neighbours who finds them: Vita, because the interface is its own, or the kernel */
function planDevice(
  settings: PublicInterface | PrivateInterface,
  { side, binding, share, pool, local }: PlanParts,
  neighbours: { slowPath?: SlowPath; ownership?: Ownership },
): DevicePlan {
  const { name, driver } = settings;
  const owned = neighbours.ownership !== undefined;
  const role = owned ? "owned" : side;
  const made: DevicePlan = {
    name,
    side,
    binding,
    kind: "ethernet",
    device: undefined,
    owned,
    ...neighbours,
    open: (appContext: AppContext, options: PortOptions): Port => {
      made.device =
        driver === "packet"
          ? new PacketPort(appContext, { ...options, role, local, isShared: pool.workers > 1 })
          : new XdpPort(appContext, {
              ...options,
              role,
              local,
              share,
              pool,
              mode: settings["xdp-mode"],
              zeroCopy: settings["zero-copy"],
            });
      return made.device;
    },
  };
  return made;
}
