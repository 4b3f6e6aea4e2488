// Routes: the families of their addresses must agree.

import type { Configuration } from "./configuration.js";
import { entryAt, type Tell } from "./tell.js";

export function checkRoutes({ route }: Configuration, tell: Tell): void {
  for (const { id, net, "local-net": localNet, gateway, "local-ip": localIp } of route) {
    const at = entryAt("route", "id", id);
    if (localIp !== undefined && familyOf(localIp) !== familyOf(gateway.ip))
      tell(`${at}/local-ip`, "is not of the gateway's address family", localIp);
    const families = new Set(net.map(familyOf));
    for (const prefix of localNet)
      if (!families.has(familyOf(prefix)))
        tell(`${at}/local-net`, "has no network of its address family in net", prefix);
  }
}

/** Of what the model has checked to be an address or a prefix. */
const familyOf = (text: string): 4 | 6 => (text.includes(":") ? 6 : 4);
