// The supervisor's part in public interfaces: charon's devices where Vita owns them, and a kernel that must not listen. They
// outlive a supervisor that is killed. The next one takes them over, or removes what its own configuration has no use for.

import type { Configuration } from "../config/configuration.js";
import { type OwnedSettings, ownedSettings } from "../config/owned-settings.js";
import { messageOf } from "../config/refusal.js";
import { refuseUsedTun } from "../ports/tun.js";
import { madeDevices, usedTables } from "./former-run.js";
import { KernelDeafness } from "./kernel-deafness.js";
import type { Logger } from "./log.js";
import { PuntDevice } from "./punt-device.js";

interface Owned {
  readonly settings: OwnedSettings;
  /** Where it stands in the configuration. */
  readonly at: string;
}

function ownedOf(configuration: Configuration): Owned[] {
  return configuration["public-interface"].flatMap((leaves) => {
    const settings = ownedSettings(leaves);
    return settings ? [{ settings, at: `/public-interface[name="${leaves.name}"]` }] : [];
  });
}

/** Public interfaces whose packets the kernel gets as well. */
function copiedOf(configuration: Configuration): Configuration["public-interface"] {
  return configuration["public-interface"].filter(({ driver }) => driver === "packet");
}

export class OwnedInterfaces {
  readonly #log: Logger;
  readonly #configuration: Configuration;
  readonly #former: readonly Owned[];
  readonly #formerlyCopied: Configuration["public-interface"];
  readonly #formerDevices: ReadonlySet<string>;
  readonly #owned: readonly Owned[];
  readonly #open: { close(): void }[] = [];
  readonly #devices: PuntDevice[] = [];

  /** @param formers what was set up before */
  constructor(configuration: Configuration, formers: readonly Configuration[], log: Logger) {
    this.#log = log;
    this.#configuration = configuration;
    this.#owned = ownedOf(configuration);
    this.#former = formers.flatMap(ownedOf);
    this.#formerlyCopied = formers.flatMap(copiedOf);
    this.#formerDevices = new Set(formers.flatMap((former) => [...madeDevices(former)]));
  }

  /** Takes the interfaces from the kernel. @throws Error with what is in the way; `close` then undoes the rest */
  open(): void {
    for (const { settings, at } of this.#owned) {
      const { device: name } = settings.punt;
      if (!this.#formerDevices.has(name)) refuseUsedTun(name);
      const device = new PuntDevice(settings, at, this.#log);
      this.#devices.push(device);
      this.#open.push(device);
    }
    for (const { name, mode } of copiedOf(this.#configuration)) this.#deafen(name, mode);
  }

  #deafen(name: string, mode: "shared" | "owned"): void {
    try {
      this.#open.push(new KernelDeafness(name, mode === "owned" ? "owned" : "public"));
    } catch (error) {
      if (mode === "owned") throw error;
      this.#log.warn(
        `the kernel looks at each packet of ESP on ${name} too, which takes time: ${messageOf(error)}`,
      );
    }
  }

  /** The devices that lead to charon: each can be restored when it has lost something. */
  get devices(): readonly { readonly name: string; restore(): void }[] {
    return this.#devices;
  }

  /** Removes what was set up before and is of no use now. The workers of then must have let go of it. */
  forgetFormer(): void {
    const devices = madeDevices(this.#configuration);
    const tables = usedTables(this.#configuration);
    const copied = new Set(copiedOf(this.#configuration).map(({ name }) => name));
    for (const { name } of this.#formerlyCopied) if (!copied.has(name)) KernelDeafness.remove(name);
    for (const { settings } of this.#former) {
      const { punt } = settings;
      if (!tables.has(punt.routeTable)) PuntDevice.removeRules(punt);
      if (!devices.has(punt.device)) PuntDevice.removeDevice(punt, this.#log);
    }
  }

  /** Does nothing any more, and leaves everything as it is, to another one. */
  release(): void {
    this.#open.length = 0;
    this.#devices.length = 0;
  }

  /** Gives the interfaces back, those of before too. The workers must have let go of the devices. */
  close(): void {
    for (const each of this.#open.splice(0)) each.close();
    for (const { name } of this.#formerlyCopied) KernelDeafness.remove(name);
    for (const { settings } of this.#former) {
      PuntDevice.removeRules(settings.punt);
      PuntDevice.removeDevice(settings.punt, this.#log);
    }
  }
}
