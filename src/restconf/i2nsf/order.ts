// Order of evaluation. RFC 9061's SPD is in the order of its entries; a node evaluates what passes and what is discarded
// first, and in each class narrow selectors before wide ones. Where a packet could match two entries, both orders must agree.

import { isDeepStrictEqual } from "node:util";
import type { SpdEntry } from "./entries.js";
import { unsupported } from "./problems.js";
import { overlap, type Reach, rankOf, reachOf } from "./selectors.js";

/** Lies between the ranks of the two classes. */
const CLASS = 1_000_000;

interface Evaluated {
  name: string;
  action: string;
  /** Where it stands in what is in force, if it is there and is the same. */
  place: number | undefined;
  reach: Reach;
  rank: number;
}

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
    .map((entry): Evaluated => {
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
  // Of entries that follow each other as they did, none is looked at.
  let highest = -1;
  const isInPlace = entries.map(({ place = -1 }) => {
    const inPlace = place > highest;
    highest = Math.max(highest, place);
    return inPlace;
  });
  const all = entries.map((_, i) => i);
  const moved = all.filter((i) => !isInPlace[i]);
  for (const [i, later] of entries.entries()) {
    for (const j of isInPlace[i] ? moved : all) {
      if (j >= i) break;
      const earlier = entries[j] as Evaluated;
      if (earlier.place !== undefined && later.place !== undefined && earlier.place < later.place) continue;
      if (earlier.rank < later.rank || !overlap(earlier.reach, later.reach)) continue;
      if (later.action !== "protect" && later.action === earlier.action) continue;
      const why = earlier.rank === later.rank ? "neither before nor behind" : "before";
      const message = `is evaluated ${why} "${earlier.name}", which has packets in common with it`;
      throw unsupported(pathOf(later.name), message);
    }
  }
}
