// Random packets that a seed determines.

import { internetChecksum } from "../../src/ports/testing/flow-packets.js";

/** A generator of numbers below `n` that a seed determines. */
export type Random = (n: number) => number;

export function randomFrom(seed: number): Random {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

export const oneOf = <T>(random: Random, ...values: T[]): T => values[random(values.length)];

/** Gives an IPv4 header the checksum that it should have. */
export function mendChecksum(packet: Uint8Array): void {
  packet.set([0, 0], 10);
  const checksum = internetChecksum(packet.subarray(0, (packet[0] & 15) << 2));
  packet.set([checksum >>> 8, checksum & 0xff], 10);
}
