import assert from "node:assert/strict";
import { test } from "node:test";
import { compareSas } from "./sas.js";
import { TRAIN } from "./softbench.js";

// Tests share the machine with each other, so that the bound is far below what docs/scale.md tells; a look-up that walks
// over the SAs, or a cache miss that nobody foresaw for each packet, is farther below still.
// What a neighbour takes of the caches only ever makes it less, so that it may be tried again.
test("10,000 SAs have more than two fifths of the throughput of one", async (t) => {
  let ratio = 0;
  for (let attempt = 0; attempt < 4 && ratio <= 0.4; attempt++) {
    const result = await compareSas("60", 10_000, TRAIN, 8, 100_000);
    ratio = result.ratio;
    t.diagnostic(
      `${result.nsPerPacketOne} and ${result.nsPerPacketMany} ns a packet: ${Math.round(100 * ratio)} %`,
    );
    assert.equal(result.lost, 0);
    assert.ok(result.verified);
  }
  assert.ok(ratio > 0.4, `${ratio}`);
});
