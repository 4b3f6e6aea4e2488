// The configuration's routes, static SAs and security policies as ietf-i2nsf-ikeless has them: what has an exact form there,
// and nothing else. What has none is not touched by anybody who writes that model either.
//
//   route              spd-entry out/ID and in/ID, protect; reqid joins it and its SAs
//   security-policy    spd-entry out/policy/ID and in/policy/ID, bypass or discard
//   outbound-sa        sad-entry out/SPI
//   inbound-sa         sad-entry in/SPI

import type {
  Configuration,
  InboundSa,
  SecurityPolicy,
  StaticRoute,
  StaticSa,
} from "../../config/configuration.js";
import { reqidOf } from "../../config/route-reqid.js";
import {
  type Ikeless,
  type SadEntry,
  type SpdEntry,
  sadName,
  spdName,
  type TrafficSelector,
  type Tunnel,
  type Way,
  ways,
} from "./entries.js";
import { familyOf, rankOf, selectorOf } from "./selectors.js";
import { algorithmsOf, espOf } from "./suites.js";

export type Lists = Pick<Configuration, "route" | "inbound-sa" | "outbound-sa" | "security-policy">;

export const everything = { 4: "0.0.0.0/0", 6: "::/0" } as const;
/** The address that a tunnel begins at where the node chooses it. */
export const unspecified = { 4: "0.0.0.0", 6: "::" } as const;
/** What ietf-i2nsf-ikeless means when an SA has none. */
export const defaultWindow = 64;

/**
 * libyang has put addresses and prefixes into their canonical forms.
 * @param algorithms shall policies tell what their SAs use?
 */
export function viewOf(lists: Lists, algorithms = true): Ikeless {
  const inbound = new Map<string, InboundSa>();
  const outbound = new Map<string, StaticSa>();
  if (algorithms) {
    for (const sa of lists["inbound-sa"]) if (!inbound.has(sa.route)) inbound.set(sa.route, sa);
    for (const sa of lists["outbound-sa"]) outbound.set(sa.route, sa);
  }
  const policies = lists["security-policy"].flatMap((policy) => policyEntries(policy) ?? []);
  const routes = new Map(lists.route.filter(isClean).map((route) => [route.id, route]));
  const protect = [...routes.values()].map((route) =>
    routeEntries(route, inbound.get(route.id), outbound.get(route.id)),
  );
  const sad = ways.flatMap((way) =>
    lists[`${way}bound-sa`].flatMap((sa: StaticSa | InboundSa) => {
      const route = routes.get(sa.route);
      return route ? [saEntry(way, sa, route)] : [];
    }),
  );
  return {
    spd: { "spd-entry": [...inOrder(policies), ...inOrder(protect)] },
    sad: { "sad-entry": sad },
  };
}

/** The order in which a node evaluates entries of one class. */
function inOrder(pairs: SpdEntry[][]): SpdEntry[] {
  const rank = ([entry]: SpdEntry[]) =>
    entry ? rankOf(entry["ipsec-policy-config"]["traffic-selector"]) : 0;
  return pairs.sort((a, b) => rank(a) - rank(b)).flat();
}

/** A tunnel for one pair of networks, without what the model has no place for. */
export function isClean(route: StaticRoute): boolean {
  return route.net.length === 1 && route["local-net"].length <= 1 && route["if-id"] === 0 && route.mark === 0;
}

export function routeEntries(
  route: StaticRoute,
  inbound?: InboundSa | undefined,
  outbound?: StaticSa | undefined,
): SpdEntry[] {
  const sa = outbound ?? inbound;
  return ways.map((way) => ({
    name: spdName(way, "route", route.id),
    direction: directionOf(way),
    reqid: routeReqid(route),
    "ipsec-policy-config": {
      ...(inbound && { "anti-replay-window-size": inbound["replay-window"] }),
      "traffic-selector": routeSelector(route),
      "processing-info": {
        action: "protect",
        "ipsec-sa-cfg": {
          ...(sa && { "ext-seq-num": sa.esn }),
          mode: "tunnel",
          "protocol-parameters": "esp",
          ...(sa && { "esp-algorithms": algorithmsOf(sa) }),
          tunnel: tunnelOf(route),
        },
      },
    },
  }));
}

/** @returns undefined when it has no form here */
export function policyEntries(policy: SecurityPolicy): SpdEntry[][] | undefined {
  const selector = selectorOf(policy);
  if (!selector || policy["if-id"] !== 0 || policy.mark !== 0 || policy.priority !== undefined)
    return undefined;
  return [
    ways.map((way) => ({
      name: spdName(way, "policy", policy.id),
      direction: directionOf(way),
      reqid: "0",
      "ipsec-policy-config": {
        "traffic-selector": structuredClone(selector),
        "processing-info": { action: policy.action },
      },
    })),
  ];
}

export function saEntry(way: Way, sa: StaticSa | InboundSa, route: StaticRoute): SadEntry {
  return {
    name: sadName(way, sa.spi),
    reqid: routeReqid(route),
    "ipsec-sa-config": {
      spi: sa.spi,
      "ext-seq-num": sa.esn,
      "anti-replay-window-size": "replay-window" in sa ? sa["replay-window"] : defaultWindow,
      "traffic-selector": routeSelector(route),
      "protocol-parameters": "esp",
      mode: "tunnel",
      "esp-sa": espOf(sa),
      tunnel: tunnelOf(route),
    },
  };
}

export function routeReqid(route: StaticRoute): string {
  return route["controller-reqid"] ?? String(reqidOf(route.id));
}

function routeSelector({ net: [net = ""], "local-net": [localNet] }: StaticRoute): TrafficSelector {
  return {
    "local-prefix": localNet ?? everything[familyOf(net)],
    "remote-prefix": net,
    "inner-protocol": "any",
  };
}

/** The DF bit is copied from an IPv4 packet's header (docs/static-sas.md); in an IPv6 header there is none. */
function tunnelOf({ gateway, "local-ip": local }: StaticRoute): Tunnel {
  const family = familyOf(gateway.ip);
  return {
    local: local ?? unspecified[family],
    remote: gateway.ip,
    ...(family === 4 && { "df-bit": "copy" }),
  };
}

const directionOf = (way: Way) => (way === "in" ? "inbound" : "outbound");
