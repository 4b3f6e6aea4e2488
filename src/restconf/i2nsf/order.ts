// Order of evaluation. RFC 9061's SPD is in the order of its entries; a node evaluates what passes and what is discarded
// first, and in each class narrow selectors before wide ones. Where a packet could match two entries, both orders must agree.

import { isDeepStrictEqual } from "node:util";
import type { SpdEntry } from "./entries.js";
import { unsupported } from "./problems.js";
import { overlap, rankOf, reachOf } from "./selectors.js";

/** Lies between the ranks of the two classes. */
const CLASS = 1_000_000;

const selectorOf = (entry: SpdEntry) => entry["ipsec-policy-config"]["traffic-selector"];
const actionOf = (entry: SpdEntry) => entry["ipsec-policy-config"]["processing-info"].action;

/**
 * Two entries that were there in the same order before may stay so, whatever an operator has done.
 * @throws ConfigurationError
 */
export function checkOrder(
  former: readonly SpdEntry[],
  wanted: readonly SpdEntry[],
  pathOf: (name: string) => string,
): void {
  const known = new Map(former.map((entry, place) => [entry.name, { entry, place }]));
  const entries = wanted
    .filter(({ direction }) => direction === "outbound")
    .map((entry) => {
      const old = known.get(entry.name);
      const isKept =
        old &&
        actionOf(old.entry) === actionOf(entry) &&
        isDeepStrictEqual(selectorOf(old.entry), selectorOf(entry));
      const action = actionOf(entry);
      return {
        name: entry.name,
        action,
        place: isKept ? old.place : undefined,
        reach: reachOf(selectorOf(entry)),
        rank: rankOf(selectorOf(entry)) + (action === "protect" ? CLASS : 0),
      };
    });
  for (const [i, later] of entries.entries()) {
    for (let j = 0; j < i; j++) {
      const earlier = entries[j] as (typeof entries)[number];
      if (earlier.place !== undefined && later.place !== undefined && earlier.place < later.place) continue;
      if (earlier.rank < later.rank || !overlap(earlier.reach, later.reach)) continue;
      if (later.action !== "protect" && later.action === earlier.action) continue;
      const why = earlier.rank === later.rank ? "neither before nor behind" : "before";
      throw unsupported(
        pathOf(later.name),
        `is evaluated ${why} "${earlier.name}", which has packets in common with it`,
      );
    }
  }
}
