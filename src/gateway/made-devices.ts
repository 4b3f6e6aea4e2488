// Devices that Vita has made, and somebody else may set down or delete: what they lose by it is made again, or this host's
// traffic would leave by other routes, in the clear.

import { messageOf } from "../config/refusal.js";
import { DeviceWatch } from "../ports/device-watch.js";
import type { Logger } from "./log.js";

export interface MadeDevice {
  readonly name: string;
  /** Makes the device, and all that belongs to it, where it is missing. */
  restore(): void;
}

export class MadeDevices {
  readonly #devices: readonly MadeDevice[];
  readonly #log: Logger;
  readonly #watch = new DeviceWatch();

  /** @param devices which are there and up */
  constructor(devices: readonly MadeDevice[], log: Logger) {
    this.#devices = devices;
    this.#log = log;
    for (const { name } of devices) this.#watch.watch(name);
  }

  /** To be called often: until then what is lost is missing. */
  check(): void {
    for (const name of this.#watch.take()) {
      try {
        this.#devices.find((device) => device.name === name)?.restore();
        this.#watch.watch(name);
        this.#log.warn(`${name} was deleted, or set down and up again: what it had lost is made again`);
      } catch (error) {
        this.#log.warn(`${name} has lost something that cannot be made again: ${messageOf(error)}`);
      }
    }
  }

  close(): void {
    this.#watch.close();
  }
}
