import assert from "node:assert/strict";
import { test } from "node:test";
import { compareSas } from "./sas.js";
import { TRAIN } from "./softbench.js";

// Tests share the machine with each other, so that the bound is far below what docs/scale.md tells; a look-up that walks
// over the SAs, or a cache miss that nobody foresaw for each packet, is farther below still.
test("10,000 SAs have more than two fifths of the throughput of one", async (t) => {
  const result = await compareSas("60", 10_000, TRAIN, 8, 100_000);
  t.diagnostic(
    `${result.nsPerPacketOne} and ${result.nsPerPacketMany} ns a packet: ${Math.round(100 * result.ratio)} %`,
  );
  assert.equal(result.lost, 0);
  assert.ok(result.verified);
  assert.ok(result.ratio > 0.4, `${result.ratio}`);
});
