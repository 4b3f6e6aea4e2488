// The reqid of a route with static SAs: what joins its SAs and its policies.

import { createHash } from "node:crypto";

/** charon counts its reqids from 1 on; these have the highest bit set. */
export const REQID_BASE = 0x8000_0000;

/** One that depends on the route's id alone, so that the next run gives it the same one. */
export function reqidOf(id: string): number {
  const hash = createHash("sha256").update(id).digest().readUInt32BE();
  return (hash | REQID_BASE) >>> 0;
}
