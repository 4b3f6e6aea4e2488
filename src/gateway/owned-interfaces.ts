// The supervisor's part in interfaces that Vita owns: charon's devices, and a kernel that must not listen. They outlive a
// supervisor that is killed. The next one takes them over, or removes what its own configuration has no use for.

import type { Configuration } from "../config/datastore.js";
import { type OwnedSettings, ownedSettings } from "../config/owned-settings.js";
import { refuseUsedTun } from "../ports/tun.js";
import { madeDevices, usedTables } from "./former-run.js";
import { KernelDeafness } from "./kernel-deafness.js";
import type { Logger } from "./log.js";
import { PuntDevice } from "./punt-device.js";

interface Owned {
  readonly settings: OwnedSettings;
  /** Where it stands in the configuration. */
  readonly at: string;
  readonly isDeafened: boolean;
}

function ownedOf(configuration: Configuration): Owned[] {
  return configuration["public-interface"].flatMap((leaves, i) => {
    const settings = ownedSettings(leaves);
    return settings
      ? [{ settings, at: `/public-interface/${i}`, isDeafened: leaves.driver === "packet" }]
      : [];
  });
}

export class OwnedInterfaces {
  readonly #log: Logger;
  readonly #configuration: Configuration;
  readonly #former: readonly Owned[];
  readonly #formerDevices: ReadonlySet<string>;
  readonly #owned: readonly Owned[];
  readonly #open: { close(): void }[] = [];
  readonly #devices: PuntDevice[] = [];

  /** @param former what an earlier run had, if there was one */
  constructor(configuration: Configuration, former: Configuration | undefined, log: Logger) {
    this.#log = log;
    this.#configuration = configuration;
    this.#owned = ownedOf(configuration);
    this.#former = former ? ownedOf(former) : [];
    this.#formerDevices = former ? madeDevices(former) : new Set();
  }

  /** Takes the interfaces from the kernel. @throws Error with what is in the way; `close` then undoes the rest */
  open(): void {
    for (const { settings, at, isDeafened } of this.#owned) {
      const { device: name } = settings.punt;
      if (!this.#formerDevices.has(name)) refuseUsedTun(name);
      const device = new PuntDevice(settings, at, this.#log);
      this.#devices.push(device);
      this.#open.push(device);
      if (isDeafened) this.#open.push(new KernelDeafness(settings.name));
    }
  }

  /** The devices that lead to charon: each can be restored when it has lost something. */
  get devices(): readonly { readonly name: string; restore(): void }[] {
    return this.#devices;
  }

  /** Removes what an earlier run left and this one does not use. That run's workers must have let go of it. */
  forgetFormer(): void {
    const devices = madeDevices(this.#configuration);
    const tables = usedTables(this.#configuration);
    const isDeaf = (name: string) =>
      this.#owned.some(({ settings, isDeafened }) => isDeafened && settings.name === name);
    for (const { settings, isDeafened } of this.#former) {
      const { punt, name } = settings;
      if (!tables.has(punt.routeTable)) PuntDevice.removeRules(punt);
      if (!devices.has(punt.device)) PuntDevice.removeDevice(punt, this.#log);
      if (isDeafened && !isDeaf(name)) KernelDeafness.remove(name);
    }
  }

  /** Gives the interfaces back, those of an earlier run too. The workers must have let go of the devices. */
  close(): void {
    for (const each of this.#open.splice(0)) each.close();
    for (const { settings, isDeafened } of this.#former) {
      PuntDevice.removeRules(settings.punt);
      PuntDevice.removeDevice(settings.punt, this.#log);
      if (isDeafened) KernelDeafness.remove(settings.name);
    }
  }
}
