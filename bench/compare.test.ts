import assert from "node:assert/strict";
import { test } from "node:test";
import { barChart } from "./chart.js";
import { aes128gcm16 } from "./ciphers.js";
import { compare, compareChart } from "./compare.js";

test("crypto and softbench in turns: nothing is lost, and the ratio is that of the times", async () => {
  const result = await compare(["60", "1500"], aes128gcm16, 3, 5000);
  assert.deepEqual(
    result.rows.map(({ size, lost, verified }) => [size, lost, verified]),
    [
      ["60", 0, true],
      ["1500", 0, true],
    ],
  );
  for (const { percent, cryptoNs, softbenchNs, asked = 0, holds } of result.rows) {
    assert.ok(Math.abs(percent - (100 * cryptoNs) / softbenchNs) < 0.1);
    // What the machine does besides may make it anything in so short a time.
    assert.ok(percent > 0);
    const exact = (100 * cryptoNs) / softbenchNs;
    if (Math.abs(exact - asked) > 0.01) assert.equal(holds, exact >= asked);
  }
  assert.equal(
    result.holds,
    result.rows.every(({ holds }) => holds),
  );
  const svg = barChart(compareChart(result));
  assert.match(svg, />60 bytes<.*>crypto alone<.*>Vita<.*>1500 bytes</s);
});
