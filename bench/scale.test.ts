import assert from "node:assert/strict";
import { test } from "node:test";
import { measureScale } from "./scale.js";

// How much faster two are is for the benchmark to say: here the machine belongs to all tests at once.
test("two workers use one SA, and everything arrives as it was sent", async (t) => {
  const { verified, rows } = await measureScale(["60"], [1, 2], 3, 50);
  t.diagnostic(rows.map(({ workers, mpps, lost }) => `${workers}: ${mpps} Mpps, ${lost} lost`).join("; "));
  assert.ok(verified);
  assert.deepEqual(
    rows.map(({ workers }) => workers),
    [1, 2],
  );
  assert.equal(rows[0].lost, 0);
  // What was under way in a worker that the system stopped for a moment is too old; all else must pass.
  assert.ok(rows[1].lost < 0.05, `${rows[1].lost} of the packets were lost`);
});
