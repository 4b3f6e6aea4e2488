import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareAddresses, formatPrefix, type IpAddress, maskAddress, type Prefix } from "./address.js";
import { Lpm, NO_MATCH } from "./lpm.js";

function reference(table: Map<string, { prefix: Prefix; value: number }>, address: IpAddress): number {
  let best: { prefix: Prefix; value: number } | undefined;
  for (const entry of table.values()) {
    const { prefix } = entry;
    if (compareAddresses(maskAddress(address, prefix.length), prefix.address) !== 0) continue;
    if (!best || prefix.length > best.prefix.length) best = entry;
  }
  return best?.value ?? NO_MATCH;
}

/** Addresses that are alike, so that prefixes nest and collide. */
const addressOf = (bytes: number) =>
  fc
    .array(fc.constantFrom(0, 1, 2, 128, 255), { minLength: bytes, maxLength: bytes })
    .map((list) => Uint8Array.from(list));

function checks(bytes: number): void {
  const step = fc.record({
    address: addressOf(bytes),
    length: fc.nat({ max: bytes * 8 }),
    remove: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.array(addressOf(bytes), { minLength: 20 }),
      (steps, probes) => {
        const lpm = new Lpm();
        const table = new Map<string, { prefix: Prefix; value: number }>();
        steps.forEach(({ address, length, remove }, value) => {
          const prefix = { address: maskAddress(address, length), length };
          if (remove) {
            lpm.delete(prefix);
            table.delete(formatPrefix(prefix));
          } else {
            lpm.set(prefix, value);
            table.set(formatPrefix(prefix), { prefix, value });
          }
        });
        for (const probe of [...probes, ...steps.map((s) => s.address)]) {
          const view = new DataView(probe.buffer);
          const found = bytes === 4 ? lpm.lookup4(view.getUint32(0)) : lpm.lookup6(view, 0);
          assert.equal(found, reference(table, probe));
        }
      },
    ),
    { numRuns: 150 },
  );
}

test("IPv4 look-ups equal a linear search, through any sequence of changes", () => checks(4));
test("IPv6 look-ups equal a linear search, through any sequence of changes", () => checks(16));

test("blocks are given back when the prefixes that needed them are gone", () => {
  const lpm = new Lpm();
  for (let round = 0; round < 2000; round++) {
    const address = new Uint8Array(16);
    new DataView(address.buffer).setUint32(0, Math.imul(round + 1, 0x9e3779b1));
    lpm.set({ address, length: 128 }, round);
    assert.equal(lpm.lookup6(new DataView(address.buffer), 0), round);
    lpm.delete({ address, length: 128 });
    assert.equal(lpm.lookup6(new DataView(address.buffer), 0), NO_MATCH);
  }
});
