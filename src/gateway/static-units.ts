// The static part of a configuration, in units that change as one: a route with its SAs, or a security policy. A unit says
// which SAs and policies the kernel is to have for it. Nothing here asks or changes the kernel.
//
//   out       local-net → net   protected by the outbound SA, from local-ip to the gateway; without one, dropped
//   in, fwd   net → local-net   as charon lays them
//
// Security policies stand in charon's class of pass shunts, before everything that protects, unless they have a priority.

import type {
  Configuration,
  InboundSa,
  SecurityPolicy,
  StaticRoute,
  StaticSa,
} from "../config/configuration.js";
import { REQID_BASE, reqidOf } from "../config/route-reqid.js";
import { systemNames } from "../config/system-names.js";
import { entryAt } from "../config/tell.js";
import type { AddSaRequest, Host, Mark, PolicyRequest, Selector } from "../ipsec/kernel.js";
import { PolicyDirection, PolicyType, PriorityClass } from "../ipsec/spd-layout.js";
import { type IpAddress, parseAddress } from "../net/address.js";
import { parseSelector, prefixSelector, selectorPairs } from "../net/ip-selector.js";
import { Breather } from "./breather.js";
import { sameData } from "./same-data.js";
import { policyKey, saKey } from "./static-keys.js";
import { problem } from "./static-problem.js";
import { type RouteParts, saPath, saRequestOf } from "./static-sa.js";

const TUNNEL = 2;
const NO_MARK = { value: 0, mask: 0 };
const EVERYTHING = { 4: "0.0.0.0/0", 16: "::/0" } as const;

export interface Wanted<Request> {
  /** From static-keys.ts. */
  key: string;
  /** Of the entry in the configuration, for errors. */
  path: string;
  request: Request;
}

export type WantedSa = Wanted<AddSaRequest>;

export interface Unit {
  /** Everything that it follows from, as the configuration has it: equal sources, equal units. Holds keys. */
  readonly source: unknown;
  readonly sas: readonly WantedSa[];
  readonly policies: readonly Wanted<PolicyRequest>[];
}

export interface UnitParts {
  /** Addresses that tunnels can begin at, the first choice first. */
  addresses(): readonly IpAddress[];
  /** Reqids of routes, which stay as long as these do. */
  reqids: Map<string, number>;
}

/**
 * @param former units that need not be made again if nothing about them has changed
 * @throws ConfigurationError
 */
export async function staticUnits(
  configuration: Configuration,
  parts: UnitParts,
  former: ReadonlyMap<string, Unit>,
): Promise<Map<string, Unit>> {
  const breather = new Breather();
  const units = new Map<string, Unit>();
  const inbound = groupByRoute(configuration["inbound-sa"]);
  const outbound = groupByRoute(configuration["outbound-sa"]);
  nameReqids(configuration, parts.reqids);
  let addresses: readonly IpAddress[] | undefined;
  // Where tunnels begin whose routes do not say it.
  let from: string | undefined;
  for (const route of configuration.route) {
    if (breather.isDue) await breather.breathe();
    addresses ??= parts.addresses();
    from ??= [4, 16].map((length) => firstOf(addresses ?? [], length)?.join(".")).join(" ");
    const [ins, outs] = [inbound.get(route.id) ?? [], outbound.get(route.id) ?? []];
    const reqid = parts.reqids.get(route.id) ?? 0;
    const source = [route, route["local-ip"] === undefined && from, reqid, ins, outs];
    const key = `route ${route.id}`;
    const known = former.get(key);
    if (known && sameData(known.source, source)) units.set(key, known);
    else
      units.set(key, routeUnit(source, { route, local: localAddress(route, addresses), reqid, ins, outs }));
  }
  for (const policy of configuration["security-policy"]) {
    const key = `security-policy ${policy.id}`;
    const known = former.get(key);
    units.set(key, known && sameData(known.source, policy) ? known : policyUnit(policy));
  }
  return units;
}

function groupByRoute<Sa extends StaticSa>(sas: readonly Sa[]): Map<string, Sa[]> {
  const groups = new Map<string, Sa[]>();
  for (const sa of sas) {
    const group = groups.get(sa.route);
    if (group) group.push(sa);
    else groups.set(sa.route, [sa]);
  }
  return groups;
}

/** Gives each route a reqid that depends on its id, so that the next run gives it the same one. */
function nameReqids(configuration: Configuration, reqids: Map<string, number>): void {
  const ids = new Set(configuration.route.map(({ id }) => id));
  for (const id of reqids.keys()) if (!ids.has(id)) reqids.delete(id);
  const children = configuration.connection.flatMap(({ child }) => child);
  const taken = new Set([...reqids.values(), ...children.flatMap(({ reqid }) => reqid ?? [])]);
  for (const id of ids) {
    if (reqids.has(id)) continue;
    let reqid = reqidOf(id);
    while (taken.has(reqid)) reqid = ((reqid + 1) | REQID_BASE) >>> 0;
    taken.add(reqid);
    reqids.set(id, reqid);
  }
}

/** Where the route's tunnel begins. */
function localAddress(route: StaticRoute, addresses: readonly IpAddress[]): IpAddress {
  const { id, "local-ip": given } = route;
  if (given !== undefined) return addressOf(given);
  const gateway = addressOf(route.gateway.ip);
  const first = firstOf(addresses, gateway.length);
  if (first) return first;
  const family = gateway.length === 4 ? "IPv4" : "IPv6";
  throw problem(
    `${entryAt("route", "id", id)}/local-ip`,
    `is left out, and no public interface has an ${family} address now: give one to an interface, or set it`,
  );
}

const firstOf = (addresses: readonly IpAddress[], length: number) =>
  addresses.find((address) => address.length === length);

// The configuration has been checked: its addresses, prefixes and selectors are some (route-checks.ts, policy-checks.ts).
const addressOf = (text: string) => parseAddress(text) as IpAddress;
const prefixesOf = (texts: readonly string[]) => texts.map((text) => prefixSelector(text) as Selector);
const selectorsOf = (texts: readonly string[]) =>
  texts.map((text) => parseSelector(text, systemNames) as Selector);

interface RouteSettings {
  route: StaticRoute;
  local: IpAddress;
  reqid: number;
  ins: readonly InboundSa[];
  outs: readonly StaticSa[];
}

function routeUnit(source: unknown, { route, local, reqid, ins, outs }: RouteSettings): Unit {
  const { id } = route;
  const nets = prefixesOf(route.net);
  const localNets = prefixesOf(
    route["local-net"].length > 0
      ? route["local-net"]
      : [...new Set(nets.map(({ from }) => EVERYTHING[from.length as 4 | 16]))],
  );
  const pairs = selectorPairs(localNets, nets);
  const parts: RouteParts = {
    local: { address: local, port: 0 },
    gateway: { address: addressOf(route.gateway.ip), port: 0 },
    mark: markOf(route.mark),
    interfaceId: route["if-id"],
    reqid,
    localNets,
    nets,
  };
  const sas = (list: readonly StaticSa[], inbound: boolean) =>
    list.map((sa) => {
      const request = saRequestOf(sa, inbound, parts);
      return { path: saPath(inbound, sa.spi), key: saKey(request), request };
    });
  const protect = (direction: number, [from, to]: [Selector, Selector], src: Host, dst: Host, spi: number) =>
    wantedPolicy(entryAt("route", "id", id), {
      ...policyOf(direction, from, to, parts.mark, parts.interfaceId),
      src,
      dst,
      // Nobody can be asked for an SA: what finds none is dropped at once (protect.drop.no_sa).
      reqid: direction === PolicyDirection.out && spi === 0 ? 0 : reqid,
      espSpi: spi,
    });
  const { gateway } = parts;
  const policies = pairs.flatMap(([ours, theirs]) => [
    ...[PolicyDirection.in, PolicyDirection.forward].map((direction) =>
      protect(direction, [theirs, ours], gateway, parts.local, 0),
    ),
    protect(PolicyDirection.out, [ours, theirs], parts.local, gateway, outs[0]?.spi ?? 0),
  ]);
  return { source, sas: [...sas(ins, true), ...sas(outs, false)], policies };
}

function wantedPolicy(path: string, request: PolicyRequest): Wanted<PolicyRequest> {
  return { path, key: policyKey(request), request };
}

function markOf(value: number): Mark {
  return value === 0 ? NO_MARK : { value, mask: 0xffff_ffff };
}

function policyOf(
  direction: number,
  srcSelector: Selector,
  dstSelector: Selector,
  mark: Mark,
  interfaceId: number,
): PolicyRequest {
  const nowhere = { address: new Uint8Array(4), port: 0 };
  return {
    id: { direction, srcSelector, dstSelector, mark, interfaceId, interface: "", labelled: false },
    type: PolicyType.ipsec,
    priorityClass: PriorityClass.default,
    manualPriority: 0,
    src: nowhere,
    dst: nowhere,
    mode: TUNNEL,
    reqid: 0,
    espSpi: 0,
    usesEsp: true,
    usesAh: false,
    ipcomp: 0,
  };
}

function policyUnit(policy: SecurityPolicy): Unit {
  const path = entryAt("security-policy", "id", policy.id);
  const pairs = selectorPairs(selectorsOf(policy["local-ts"]), selectorsOf(policy["remote-ts"]));
  const { out, in: inward, forward } = PolicyDirection;
  const policies = pairs.flatMap(([ours, theirs]) =>
    [out, inward, forward].map((direction) => {
      const [from, to] = direction === out ? [ours, theirs] : [theirs, ours];
      const request: PolicyRequest = {
        ...policyOf(direction, from, to, markOf(policy.mark), policy["if-id"]),
        type: policy.action === "bypass" ? PolicyType.pass : PolicyType.drop,
        priorityClass: PriorityClass.pass,
        manualPriority: policy.priority ?? 0,
        usesEsp: false,
      };
      return wantedPolicy(path, request);
    }),
  );
  return { source: policy, sas: [], policies };
}
