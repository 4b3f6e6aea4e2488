// Names of interfaces: what no leaf can know by itself.

import type { Configuration } from "./configuration.js";
import { entryAt, type Tell } from "./tell.js";

export function checkInterfaces(configuration: Configuration, tell: Tell): void {
  const names = new Map<string, string>();
  for (const side of ["public-interface", "private-interface"] as const)
    for (const { name } of configuration[side]) {
      const at = `${entryAt(side, "name", name)}/name`;
      const first = names.get(name);
      if (first) tell(at, `is already at ${first}`, name);
      // The model counts characters, and Linux bytes.
      if (Buffer.byteLength(name) > 15)
        tell(at, "is not an interface name: 1 to 15 bytes without white space, '/' and ':'", name);
      names.set(name, at);
    }
  const tuns = configuration["private-interface"].filter(({ driver }) => driver === "tun");
  if (tuns.length > 1)
    tell(`${entryAt("private-interface", "name", tuns[1].name)}/driver`, "is for one interface only", "tun");
}
