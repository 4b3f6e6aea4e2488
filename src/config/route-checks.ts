// Routes: the families of their addresses must agree, and no two may be for the same traffic.

import type { Configuration, StaticRoute } from "./configuration.js";
import { entryAt, type Tell } from "./tell.js";

export function checkRoutes({ route }: Configuration, tell: Tell): void {
  const taken = new Map<string, string>();
  for (const each of route) {
    const { id, net, "local-net": localNet, gateway, "local-ip": localIp } = each;
    if (localIp !== undefined && familyOf(localIp) !== familyOf(gateway.ip))
      tell(`${entryAt("route", "id", id)}/local-ip`, "is not of the gateway's address family", localIp);
    for (const prefix of localNet)
      if (!net.some((other) => familyOf(other) === familyOf(prefix)))
        tell(
          `${entryAt("route", "id", id)}/local-net`,
          "has no network of its address family in net",
          prefix,
        );
    refuseTaken(each, taken, tell);
  }
}

/**
 * Traffic between two networks has one route. Networks that merely overlap do no harm, for narrow ones come before wide
 * ones; nor do customers that interface ids or marks tell apart.
 * @param taken ids of routes by the traffic that they have, which are added to
 */
function refuseTaken(route: StaticRoute, taken: Map<string, string>, tell: Tell): void {
  const { id, net, "local-net": localNet, "if-id": interfaceId, mark } = route;
  for (const prefix of net)
    for (const local of localNet.length === 0 ? [EVERYTHING[familyOf(prefix)]] : localNet) {
      // Nothing goes from one family to the other.
      if (familyOf(local) !== familyOf(prefix)) continue;
      const traffic = `${prefix} ${local} ${interfaceId} ${mark}`;
      const other = taken.get(traffic) ?? id;
      if (other === id) taken.set(traffic, id);
      else {
        const from = localNet.length === 0 ? "" : `, from ${local} as here`;
        const why = `${from}: traffic between two networks has one route`;
        tell(
          `${entryAt("route", "id", id)}/net`,
          `is already at ${entryAt("route", "id", other)}/net${why}`,
          prefix,
        );
        break;
      }
    }
}

/** What a route without local networks is for. */
const EVERYTHING = { 4: "0.0.0.0/0", 6: "::/0" } as const;

/** Of what the model has checked to be an address or a prefix. */
const familyOf = (text: string): 4 | 6 => (text.includes(":") ? 6 : 4);
