// The supervisor's part in the gateway's own host as a private side: the TUN device, the routes that lead into it, and a
// kernel that does not take in the clear what a policy wants protected. All of it outlives a supervisor that is killed; the
// next one takes it over, or removes what its own configuration has no use for.

import type { Configuration } from "../config/configuration.js";
import type { PolicyRequest } from "../ipsec/kernel.js";
import { refuseUsedTun } from "../ports/tun.js";
import { bindingOf } from "./binding.js";
import { ClearGuard } from "./clear-guard.js";
import { hostInterface, madeDevices, usedTables } from "./former-run.js";
import type { Logger } from "./log.js";
import { TunRoutes } from "./tun-routes.js";

export class HostSide {
  readonly #configuration: Configuration;
  readonly #formers: readonly Configuration[];
  readonly #log: Logger;
  #guard: ClearGuard | undefined;
  #routes: TunRoutes | undefined;

  /** @param formers what was set up before */
  constructor(configuration: Configuration, formers: readonly Configuration[], log: Logger) {
    this.#configuration = configuration;
    this.#formers = formers;
    this.#log = log;
  }

  /**
   * @param keep policies of an earlier run are in force still, and so are its rules and routes
   * @throws Error when the device is somebody else's
   */
  open(keep: boolean): void {
    const configuration = this.#configuration;
    const tun = hostInterface(configuration);
    if (!tun) return;
    if (!this.#formers.some((former) => madeDevices(former).has(tun.name))) refuseUsedTun(tun.name);
    this.#guard = new ClearGuard(configuration.node, tun.name, keep, this.#log);
    this.#routes = new TunRoutes({
      device: tun.name,
      mtu: tun.mtu,
      isShared: configuration.workers > 1,
      table: configuration["route-table"],
      transportTable: configuration["transport-route-table"],
      binding: bindingOf(tun),
      keep,
      log: this.#log,
    });
  }

  /** The TUN device, which can be restored when it has lost something. */
  get devices(): readonly { readonly name: string; restore(): void }[] {
    const routes = this.#routes;
    const tun = hostInterface(this.#configuration);
    return routes && tun ? [{ name: tun.name, restore: () => routes.restore() }] : [];
  }

  /** A policy came or went. */
  change(request: PolicyRequest, present: boolean): void {
    this.#guard?.change(request, present);
    this.#routes?.change(request, present);
  }

  /** Removes what was set up before and is of no use now. The workers of then must have let go of it. */
  forgetFormer(): void {
    this.#forget(usedTables(this.#configuration), madeDevices(this.#configuration));
    if (!this.#guard) this.#forgetGuard();
  }

  #forget(tables: ReadonlySet<number>, devices: ReadonlySet<string>): void {
    for (const former of this.#formers) {
      const tun = hostInterface(former);
      if (!tun) continue;
      const { "route-table": table, "transport-route-table": transportTable } = former;
      TunRoutes.clear({ table, transportTable }, tables);
      if (!devices.has(tun.name)) TunRoutes.removeDevice(tun.name, this.#log);
    }
  }

  #forgetGuard(): void {
    if (this.#formers.some(hostInterface)) ClearGuard.remove(this.#configuration.node);
  }

  /** Does nothing any more, and leaves everything as it is, to another one. */
  release(): void {
    this.#routes?.release();
    this.#guard?.release();
    this.#routes = undefined;
    this.#guard = undefined;
  }

  /** Removes everything, what was set up before included. The workers must have let go of the device. */
  close(): void {
    this.#routes?.close();
    this.#guard?.close();
    this.#forget(new Set(), new Set());
    this.#forgetGuard();
  }
}
