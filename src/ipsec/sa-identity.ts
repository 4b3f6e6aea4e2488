// What says which SA one is, and whose, in its slot of the SAD: mark and interface id, reqid, and session of the key manager.

import type { Mark } from "./kernel.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";

const at = saSlot.at;

/** What makes an SA another one than those with its SPI and destination. */
export function saIdentity(sad: Sad, slot: number): { mark: Mark; interfaceId: number } {
  const base = sad.offset(slot) >>> 2;
  const word = (field: number) => sad.words[base + (field >>> 2)];
  return {
    mark: { value: word(at.markValue), mask: word(at.markMask) },
    interfaceId: word(at.interfaceId),
  };
}

export function reqidOf(sad: Sad, slot: number): number {
  return sad.words[(sad.offset(slot) + at.reqid) >>> 2];
}

export function sessionOf(sad: Sad, slot: number): bigint {
  return sad.view.getBigUint64(sad.offset(slot) + at.session, true);
}

export function sameMark(a: Mark, b: Mark): boolean {
  return a.value === b.value && a.mask === b.mask;
}

/** Says which mark the packets of an inbound SA have: that which its `in` policy asks for. */
export function setPolicyMark(sad: Sad, slot: number, mark: Mark): void {
  const base = sad.offset(slot) >>> 2;
  const { words, atomics } = sad;
  Atomics.add(atomics, base + (at.version >>> 2), 1);
  words[base + (at.markValue >>> 2)] = mark.value;
  words[base + (at.markMask >>> 2)] = mark.mask;
  Atomics.or(atomics, base + (at.flags >>> 2), SaFlag.markKnown);
  Atomics.add(atomics, base + (at.version >>> 2), 1);
}
