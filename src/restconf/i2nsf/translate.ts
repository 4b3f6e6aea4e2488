// A completed ietf-i2nsf-ikeless document as the configuration's lists. What has no exact form there is refused with its
// path: at the end, the lists must give the very document back.

import { isDeepStrictEqual } from "node:util";
import type { InboundSa, SecurityPolicy, StaticRoute, StaticSa } from "../../config/configuration.js";
import { reqidOf } from "../../config/route-reqid.js";
import { isObject, type Json } from "../json.js";
import { entryPath } from "./decode.js";
import {
  type Ikeless,
  readSadName,
  readSpdName,
  type SadEntry,
  type SpdEntry,
  sadName,
  sadOf,
  spdName,
  spdOf,
  type Tunnel,
  type Way,
} from "./entries.js";
import { childOf, type IkelessNode, ikelessRoot } from "./model.js";
import { checkOrder } from "./order.js";
import { problem, unsupported } from "./problems.js";
import { familyOf, textsOf, whyNoPorts } from "./selectors.js";
import { isAead, keysOf, wrongKey } from "./suites.js";
import {
  everything,
  isClean,
  type Lists,
  policyEntries,
  routeEntries,
  saEntry,
  unspecified,
  viewOf,
} from "./view.js";

const spdNode = childOf(childOf(ikelessRoot, "spd") as IkelessNode, "spd-entry") as IkelessNode;
const sadNode = childOf(childOf(ikelessRoot, "sad") as IkelessNode, "sad-entry") as IkelessNode;
const spdPath = (name: string) => entryPath(spdNode, spdNode.path, { name });
const sadPath = (name: string) => entryPath(sadNode, sadNode.path, { name });

/**
 * @param former what is in force: what the document does not show of it, and what it leaves as it is, stays
 * @param wanted completed; it becomes canonical where it says what has no meaning
 * @returns all four lists
 * @throws ConfigurationError
 */
export function listsOf(former: Lists, wanted: Ikeless): Lists {
  settle(wanted);
  const known = indexOf(former);
  const routes = new Map<string, StaticRoute>();
  const policies: SecurityPolicy[] = [];
  for (const [entry, kind, id] of pairs(wanted)) {
    if (kind === "route") addRoute(routes, routeOf(entry, id, known), entry);
    else policies.push(policyOf(entry, id, known));
  }
  const outbound = new Map<string, number>();
  const sas = { in: [] as InboundSa[], out: [] as StaticSa[] };
  for (const entry of sadOf(wanted)) {
    const [way, sa] = saOf(entry, routes, known);
    if (way === "in") {
      sas.in.push(sa as InboundSa);
      continue;
    }
    const other = outbound.get(sa.route);
    if (other !== undefined) {
      const message = `joins it to a policy that has "${sadName("out", other)}": one outbound SA at a time`;
      throw unsupported(`${sadPath(entry.name)}/reqid`, message);
    }
    outbound.set(sa.route, sa.spi);
    sas.out.push(sa);
  }
  const hidden = new Set(former.route.filter((route) => !isClean(route)).map(({ id }) => id));
  const lists = {
    route: [...former.route.filter(({ id }) => hidden.has(id)), ...routes.values()],
    "inbound-sa": [...former["inbound-sa"].filter(({ route }) => hidden.has(route)), ...sas.in],
    "outbound-sa": [...former["outbound-sa"].filter(({ route }) => hidden.has(route)), ...sas.out],
    "security-policy": [...former["security-policy"].filter((policy) => !policyEntries(policy)), ...policies],
  };
  checkGivesBack(lists, wanted);
  checkOrder(spdOf(viewOf(former)), spdOf(wanted), spdPath);
  return lists;
}

/** What is in force, by its keys. */
interface Known {
  routes: ReadonlyMap<string, StaticRoute>;
  policies: ReadonlyMap<string, SecurityPolicy>;
  in: ReadonlyMap<number, StaticSa | InboundSa>;
  out: ReadonlyMap<number, StaticSa | InboundSa>;
}

function indexOf(lists: Lists): Known {
  return {
    routes: new Map(lists.route.map((route) => [route.id, route])),
    policies: new Map(lists["security-policy"].map((policy) => [policy.id, policy])),
    in: new Map(lists["inbound-sa"].map((sa) => [sa.spi, sa])),
    out: new Map(lists["outbound-sa"].map((sa) => [sa.spi, sa])),
  };
}

/** Without what means nothing: an integrity algorithm beside an AEAD, the DF bit of IPv6. */
function settle(document: Ikeless): void {
  for (const entry of spdOf(document)) {
    const config = entry["ipsec-policy-config"]["processing-info"]["ipsec-sa-cfg"];
    if (!config) continue;
    settleTunnel(config.tunnel);
    const algorithms = config["esp-algorithms"];
    const [first, ...more] = algorithms?.integrity ?? [];
    if (algorithms && first === 0 && more.length === 0) delete algorithms.integrity;
  }
  for (const { "ipsec-sa-config": config } of sadOf(document)) {
    settleTunnel(config.tunnel);
    const { encryption, integrity } = config["esp-sa"];
    const aead = isAead(encryption["encryption-algorithm"]);
    const algorithm = integrity?.["integrity-algorithm"];
    if (aead && integrity?.key === undefined && [undefined, 0, 12].includes(algorithm))
      delete config["esp-sa"].integrity;
    else if (!aead) config["esp-sa"].integrity = { "integrity-algorithm": 12, ...integrity };
  }
}

function settleTunnel(tunnel: Tunnel): void {
  if (familyOf(tunnel.remote) === 6) delete tunnel["df-bit"];
}

/** The outbound one of each two entries that differ in their direction alone: a node lays both or none. */
function pairs(document: Ikeless): [SpdEntry, "route" | "policy", string][] {
  const byName = new Map(spdOf(document).map((entry) => [entry.name, entry]));
  const result: [SpdEntry, "route" | "policy", string][] = [];
  for (const entry of byName.values()) {
    const path = spdPath(entry.name);
    const name = readSpdName(entry.name);
    const { action } = entry["ipsec-policy-config"]["processing-info"];
    const prefix = action === "protect" ? "" : "policy/";
    const form = `out/${prefix}ID or in/${prefix}ID`;
    if (!name || (name.kind === "route") !== (action === "protect"))
      throw unsupported(
        `${path}/name`,
        `of an entry that is for ${action} can be ${form} alone, with an ID of the model`,
      );
    if ((entry.direction === "inbound") !== (name.way === "in"))
      throw unsupported(`${path}/direction`, "must be what the name begins with");
    const otherName = spdName(name.way === "in" ? "out" : "in", name.kind, name.id);
    const other = byName.get(otherName);
    if (!other)
      throw unsupported(path, `needs "${otherName}" beside it: both directions can be there together alone`);
    const differs = differenceOf(entry, { ...other, name: entry.name, direction: entry.direction }, path);
    if (differs !== undefined) throw unsupported(differs, `must be the same in "${otherName}"`);
    if (name.way === "out") result.push([entry, name.kind, name.id]);
  }
  return result;
}

function routeOf(entry: SpdEntry, id: string, known: Known): StaticRoute {
  const path = `${spdPath(entry.name)}/ipsec-policy-config`;
  const former = known.routes.get(id);
  if (former && !isClean(former))
    throw problem(
      "data-exists",
      spdPath(entry.name),
      `is the name of the route ${id}, which has no form in this model`,
    );
  const { "traffic-selector": selector, "processing-info": processing } = entry["ipsec-policy-config"];
  if (selector["inner-protocol"] !== "any")
    throw unsupported(
      `${path}/traffic-selector/inner-protocol`,
      "can be any alone, where traffic is protected",
    );
  for (const ports of ["local-ports", "remote-ports"] as const)
    if (selector[ports])
      throw unsupported(`${path}/traffic-selector/${ports}`, "cannot be told where traffic is protected");
  if (entry.reqid === "0")
    throw unsupported(
      `${spdPath(entry.name)}/reqid`,
      "must be told where traffic is protected, to join policy and SAs",
    );
  const tunnel = processing["ipsec-sa-cfg"]?.tunnel as Tunnel;
  checkTunnel(tunnel, `${path}/processing-info/ipsec-sa-cfg/tunnel`);
  const { "local-prefix": local, "remote-prefix": remote } = selector;
  const isDerived = entry.reqid === String(reqidOf(id)) && former?.["controller-reqid"] === undefined;
  const route: StaticRoute = {
    id,
    net: [remote],
    "local-net": localNetOf(local, former),
    gateway: { ip: tunnel.remote },
    ...(tunnel.local !== unspecified[familyOf(tunnel.remote)] && { "local-ip": tunnel.local }),
    "if-id": 0,
    mark: 0,
    ...(!isDerived && { "controller-reqid": entry.reqid }),
  };
  return former && isSame(routeEntries(former), routeEntries(route)) ? former : route;
}

/** Everything is told by leaving it out, unless it has been told otherwise. */
function localNetOf(prefix: string, former: StaticRoute | undefined): string[] {
  const known = former?.["local-net"] ?? [];
  if (prefix !== everything[familyOf(prefix)] || known[0] === prefix) return [prefix];
  return [];
}

function addRoute(routes: Map<string, StaticRoute>, route: StaticRoute, entry: SpdEntry): void {
  if (routes.has(entry.reqid))
    throw unsupported(
      `${spdPath(entry.name)}/reqid`,
      `is that of the route ${routes.get(entry.reqid)?.id} as well`,
    );
  routes.set(entry.reqid, route);
}

function policyOf(entry: SpdEntry, id: string, known: Known): SecurityPolicy {
  const path = spdPath(entry.name);
  const former = known.policies.get(id);
  const formerEntries = former && policyEntries(former);
  if (former && !formerEntries)
    throw problem(
      "data-exists",
      path,
      `is the name of the security policy ${id}, which has no form in this model`,
    );
  if (entry.reqid !== "0") throw unsupported(`${path}/reqid`, "is for entries that protect alone");
  const { "traffic-selector": selector, "processing-info": processing } = entry["ipsec-policy-config"];
  const why = whyNoPorts(selector);
  if (why !== undefined)
    throw unsupported(
      `${path}/ipsec-policy-config/traffic-selector/${selector["local-ports"] ? "local" : "remote"}-ports`,
      why,
    );
  const [local, remote] = textsOf(selector);
  const policy: SecurityPolicy = {
    id,
    action: processing.action as SecurityPolicy["action"],
    "local-ts": [local],
    "remote-ts": [remote],
    "if-id": 0,
    mark: 0,
  };
  return former && isSame(formerEntries, policyEntries(policy)) ? former : policy;
}

function saOf(
  entry: SadEntry,
  routes: ReadonlyMap<string, StaticRoute>,
  known: Known,
): [Way, StaticSa | InboundSa] {
  const path = sadPath(entry.name);
  const config = entry["ipsec-sa-config"];
  const name = readSadName(entry.name);
  if (!name || name.spi !== config.spi)
    throw unsupported(
      `${path}/name`,
      `can be in/${config.spi} or out/${config.spi} alone, after its direction and its SPI`,
    );
  const { way, spi } = name;
  const route = routes.get(entry.reqid);
  if (!route) throw unsupported(`${path}/reqid`, "is that of no entry of the SPD that protects");
  checkTunnel(config.tunnel, `${path}/ipsec-sa-config/tunnel`);
  const former = known[way].get(spi);
  const formerRoute = former && known.routes.get(former.route);
  if (former && formerRoute && !isClean(formerRoute))
    throw problem(
      "data-exists",
      path,
      `is an SA of the route ${former.route}, which has no form in this model`,
    );
  const keys = keysOf(config["esp-sa"], former);
  const algorithms = `${path}/ipsec-sa-config/esp-sa`;
  if (!keys) {
    const known = config["esp-sa"].encryption["encryption-algorithm"] === 12;
    throw unsupported(
      known ? `${algorithms}/integrity/integrity-algorithm` : `${algorithms}/encryption/encryption-algorithm`,
      known ? "can be 12, 13 or 14 alone" : "can be 12, 20 or 28 alone",
    );
  }
  const wrong = wrongKey(config["esp-sa"]);
  if (wrong) throw problem("invalid-value", `${algorithms}/${wrong.leaf}`, wrong.message);
  if (spi < 256)
    throw problem("invalid-value", `${path}/ipsec-sa-config/spi`, "is reserved: 256 is the first");
  if (way === "out" && config["anti-replay-window-size"] !== 64)
    throw unsupported(`${path}/ipsec-sa-config/anti-replay-window-size`, "is for inbound SAs alone");
  const sa = {
    spi,
    route: route.id,
    ...keys,
    esn: config["ext-seq-num"],
    ...(way === "in" && { "replay-window": config["anti-replay-window-size"] }),
  };
  if (
    former &&
    formerRoute &&
    isSame(saEntry(way, former, formerRoute), saEntry(way, sa, route)) &&
    former.route === route.id
  )
    return [way, former];
  return [way, sa];
}

function checkTunnel(tunnel: Tunnel, path: string): void {
  if (familyOf(tunnel.remote) === 4 && tunnel["df-bit"] !== "copy")
    throw unsupported(`${path}/df-bit`, "can be copy alone, and must be told");
  if (familyOf(tunnel.local) !== familyOf(tunnel.remote))
    throw problem("invalid-value", `${path}/local`, "is not of the family of remote");
}

/** Read again, every entry must be what was written. */
function checkGivesBack(lists: Lists, wanted: Ikeless): void {
  const view = viewOf(lists);
  const check = <Entry extends { name: string }>(
    given: readonly Entry[],
    entries: readonly Entry[],
    pathOf: (name: string) => string,
  ) => {
    const found = new Map(given.map((entry) => [entry.name, entry]));
    for (const entry of entries) {
      const differs = differenceOf(entry, found.get(entry.name), pathOf(entry.name));
      if (differs !== undefined)
        throw unsupported(differs, "cannot be so here: it would not be read as it was written");
    }
  };
  check(spdOf(view), spdOf(wanted), spdPath);
  check(sadOf(view), sadOf(wanted), sadPath);
}

/** What policies tell of their SAs: it may be left out. */
const derived = ["esp-algorithms", "ext-seq-num", "anti-replay-window-size"];

/** Path of the first node that is not the same in both; undefined when there is none. */
function differenceOf(
  a: object | Json | undefined,
  b: object | Json | undefined,
  path: string,
): string | undefined {
  if (isObject(a as Json) && isObject(b as Json)) {
    const [one, other] = [a as Record<string, Json>, b as Record<string, Json>];
    for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
      if (one[name] === undefined && derived.includes(name)) continue;
      const differs = differenceOf(one[name], other[name], `${path}/${name}`);
      if (differs !== undefined) return differs;
    }
    return undefined;
  }
  return isDeepStrictEqual(a, b) ? undefined : path;
}

const isSame = (a: unknown, b: unknown) => isDeepStrictEqual(a, b);
