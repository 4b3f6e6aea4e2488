// What a node has set up in the system around it: the gateway's own host as a private side, charon's devices for interfaces
// that Vita owns, and a kernel that must not listen. All of it outlives a supervisor that is killed, and takes over what was
// set up before it, by an earlier run or for another configuration.

import type { Configuration } from "../config/configuration.js";
import type { PolicyRequest } from "../ipsec/kernel.js";
import { refuseUsedTun } from "../ports/tun.js";
import { bindingOf } from "./binding.js";
import { hostInterface, madeDevices } from "./former-run.js";
import { HostSide } from "./host-side.js";
import type { Logger } from "./log.js";
import { MadeDevices } from "./made-devices.js";
import { OwnedInterfaces } from "./owned-interfaces.js";

export class SystemSide {
  readonly #host: HostSide;
  readonly #owned: OwnedInterfaces;
  readonly #log: Logger;
  #devices: MadeDevices | undefined;

  /** @param formers what was set up before */
  constructor(configuration: Configuration, formers: readonly Configuration[], log: Logger) {
    this.#host = new HostSide(configuration, formers, log);
    this.#owned = new OwnedInterfaces(configuration, formers, log);
    this.#log = log;
  }

  /** Finds what would hinder `open`, and changes nothing. @throws Error when a device is somebody else's */
  static refuse(configuration: Configuration, former: Configuration): void {
    const known = madeDevices(former);
    for (const name of madeDevices(configuration)) if (!known.has(name)) refuseUsedTun(name);
  }

  /**
   * Sets everything up, or takes it over.
   * @param keep policies are in force already, and so are the rules and routes for them
   * @throws Error with what is in the way
   */
  open(keep: boolean): void {
    this.#host.open(keep);
    this.#owned.open();
  }

  /** A policy came or went. */
  change(request: PolicyRequest, present: boolean): void {
    this.#host.change(request, present);
  }

  /** Begins to look after the devices that were made; the workers have them by now. */
  watch(): void {
    this.#devices?.close();
    this.#devices = new MadeDevices([...this.#host.devices, ...this.#owned.devices], this.#log);
  }

  /** To be called often: restores what somebody has deleted or set down. */
  check(): void {
    this.#devices?.check();
  }

  /** Removes what was set up before and is of no use now. The workers of then must have let go of it. */
  forgetFormer(): void {
    this.#owned.forgetFormer();
    this.#host.forgetFormer();
  }

  /** Does nothing any more, and leaves everything as it is, to another one. */
  release(): void {
    this.#devices?.close();
    this.#devices = undefined;
    this.#host.release();
    this.#owned.release();
  }

  /** Gives everything back, what was set up before included. The workers must have let go of the devices. */
  close(): void {
    this.#devices?.close();
    this.#devices = undefined;
    this.#host.close();
    this.#owned.close();
  }
}

/** All that a `SystemSide` does depends on this alone. */
export function systemSettings(configuration: Configuration): unknown {
  const host = hostInterface(configuration);
  return {
    host: host && {
      name: host.name,
      mtu: host.mtu,
      binding: bindingOf(host),
      isShared: configuration.workers > 1,
      tables: [configuration["route-table"], configuration["transport-route-table"]],
    },
    public: configuration["public-interface"].map(({ name, driver, mode, address, gateway, punt }) =>
      mode === "owned" || driver === "packet" ? { name, driver, mode, address, gateway, punt } : {},
    ),
  };
}
