import assert from "node:assert/strict";
import { test } from "node:test";
import { type SteadyResult, steady, watch } from "./steady.js";

function text({ packets, allocated, deoptimisations, collections }: SteadyResult): string {
  return [`${packets} packets, ${allocated} bytes`, ...deoptimisations, ...collections].join("\n");
}

test("a warm worker does not deoptimise and allocates nothing", async (t) => {
  const result = await steady("IMIX", 2);
  t.diagnostic(`${result.packets} packets in ${result.seconds.toFixed(1)} s`);
  assert.deepEqual([result.lost, result.verified], [0, true]);
  assert.ok(result.holds, text(result));
});

test("what deoptimises or allocates is found", async () => {
  const [nothing, deoptimised, allocated] = await Promise.all(
    ["nothing", "deoptimise", "allocate"].map((what) => watch("testing/unsteady", [what])),
  );
  assert.ok(nothing.holds, text(nothing));
  assert.match(deoptimised.deoptimisations.join(), /wrong map.*<JSFunction (add|spin)/);
  assert.ok(!deoptimised.holds);
  assert.ok(allocated.collections.length > 0 || allocated.allocated >= 100_000, text(allocated));
  assert.ok(!allocated.holds);
});
