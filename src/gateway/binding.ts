// The binding of an interface (ipsec/binding.ts) from its leaves.

import type { PrivateInterface, PublicInterface } from "../config/configuration.js";
import { type Binding, UNBOUND } from "../ipsec/binding.js";

/** Public interfaces are bound to nothing. */
export function bindingOf(settings: PublicInterface | PrivateInterface): Binding {
  if (!("if-id" in settings)) return UNBOUND;
  const { "if-id": interfaceId, mark } = settings;
  return {
    interfaceId,
    mark,
    interfaceIdIn: settings["if-id-in"] ?? interfaceId,
    markIn: settings["mark-in"] ?? mark,
  };
}
