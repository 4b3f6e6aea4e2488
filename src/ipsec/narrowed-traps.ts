// When a trap counts as narrowed: its reqid has an outbound SA, and what meets the trap all the same is not covered by it.
// charon installs an SA before its policies, and those one by one; so the SA must have been there for a while.

import { sessionOf } from "./sa-identity.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";

const at = saSlot.at;

/** Age that counts, in whole seconds of the clock: two of them are one at least. */
export const NARROWED_SECONDS = 2;

/**
 * Is there an outbound SA that is not brand new among a reqid's SAs?
 * @param slots of the reqid
 * @param session of the trap: another session's reqids are other ones
 * @param now CLOCK_MONOTONIC, seconds
 */
export function hasGrownSa(sad: Sad, slots: Iterable<number>, session: bigint, now: number): boolean {
  for (const slot of slots) {
    if (sad.flags(slot) & SaFlag.inbound || age(sad, slot, now) < NARROWED_SECONDS) continue;
    if (sessionOf(sad, slot) === session) return true;
  }
  return false;
}

/** Have all outbound SAs of a reqid been there for a while? */
export function areGrown(sad: Sad, slots: Iterable<number>, now: number): boolean {
  for (const slot of slots)
    if (!(sad.flags(slot) & SaFlag.inbound) && age(sad, slot, now) < NARROWED_SECONDS) return false;
  return true;
}

function age(sad: Sad, slot: number, now: number): number {
  return now - sad.words[(sad.offset(slot) + at.added) >>> 2];
}
