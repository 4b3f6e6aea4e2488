// What an SA has carried, and when it was last used, from its slot of the SAD.

import type { Sad } from "./sad.js";
import { MAX_WORKERS, saSlot, trafficOf } from "./sad-layout.js";

const at = saSlot.at;

/** Packets and bytes that an SA has carried, over all workers. */
export function saTotals(sad: Sad, slot: number): { packets: number; bytes: number } {
  const base = sad.offset(slot);
  let packets = 0;
  let bytes = 0;
  for (let i = 0; i < MAX_WORKERS; i++) {
    packets += sad.view.getFloat64(base + trafficOf(i), true);
    bytes += sad.view.getFloat64(base + trafficOf(i) + 8, true);
  }
  return { packets, bytes };
}

/**
 * Seconds since an SA was last used; undefined when it never was.
 * @param now CLOCK_MONOTONIC, seconds
 */
export function saIdle(sad: Sad, slot: number, now: number): number | undefined {
  const lastUse = sad.words[(sad.offset(slot) + at.lastUse) >>> 2];
  return lastUse === 0 ? undefined : Math.max(0, now - lastUse);
}
