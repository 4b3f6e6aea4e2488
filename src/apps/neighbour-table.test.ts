import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NONE } from "../memory/frames.js";
import { NeighbourTable } from "./neighbour-table.js";

const addresses = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4, max: 3 }),
  fc.uint8Array({ minLength: 16, maxLength: 16, max: 1 }),
);

test("a table of neighbours is a map of bounded size", () => {
  const steps = fc.array(fc.tuple(fc.boolean(), addresses), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (list) => {
      const table = new NeighbourTable(16);
      const model = new Map<string, number>();
      for (const [add, address] of list) {
        const key = address.join();
        const known = model.get(key);
        assert.equal(table.find(address), known ?? NONE);
        if (add && known === undefined) {
          const entry = table.add(address);
          assert.equal(entry === NONE, model.size === 16);
          if (entry === NONE) continue;
          assert.ok(![...model.values()].includes(entry), "an entry of its own");
          assert.deepEqual(table.addressOf(entry), address);
          model.set(key, entry);
        } else if (!add && known !== undefined) {
          table.remove(known);
          model.delete(key);
        }
        assert.equal(table.count, model.size);
      }
    }),
  );
});

test("an IPv4 address is not the IPv6 address that begins with it", () => {
  const table = new NeighbourTable(4);
  table.add(Uint8Array.of(1, 2, 3, 4));
  assert.equal(table.find(Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), NONE);
});
