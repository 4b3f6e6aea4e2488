// Is there a network device for each interface of the configuration?

import type { Configuration } from "../config/configuration.js";
import { refusal } from "../config/refusal.js";
import { interfaceIndex } from "../native/libc.js";

/** @throws ConfigurationError that says which interface has none */
export function requireDevice(name: string, side: "public" | "private"): void {
  try {
    interfaceIndex(name);
  } catch {
    const message = `there is no network device "${name}" in this network namespace (see ip link)`;
    throw refusal("operation-failed", message, `/${side}-interface[name="${name}"]`);
  }
}

/** @throws ConfigurationError that says which interface has none. Devices that Vita makes itself need not be there. */
export function requireDevices(configuration: Configuration): void {
  for (const side of ["public", "private"] as const)
    for (const { name, driver } of configuration[`${side}-interface`])
      if (driver !== "tun") requireDevice(name, side);
}
