import assert from "node:assert/strict";
import { test } from "node:test";
import { RateMeter, type SaSample } from "./rates.js";

const sa = (spi: string, direction: "in" | "out", packets: number): SaSample => ({
  spi,
  direction,
  packets,
  bytes: packets * 100,
});

test("rates are the growth of each SA, also across a rekey", () => {
  const meter = new RateMeter();
  meter.update(0, [sa("1", "in", 1000), sa("2", "out", 500)]);
  assert.deepEqual(meter.update(2000, [sa("1", "in", 1200), sa("2", "out", 500)]), {
    packetsIn: 100,
    packetsOut: 0,
    bitsIn: 80_000,
    bitsOut: 0,
  });
  // The outbound SA is replaced at once; the old inbound one stays for a while.
  const rates = meter.update(3000, [sa("1", "in", 1210), sa("3", "in", 90), sa("4", "out", 50)]);
  assert.equal(rates.packetsIn, 100);
  assert.equal(rates.packetsOut, 50);
  assert.equal(meter.update(4000, [sa("3", "in", 190)]).packetsIn, 100);
});

test("every inbound SA after the first is a rekey", () => {
  const meter = new RateMeter();
  assert.equal(meter.rekeys, 0);
  meter.update(0, [sa("1", "in", 0), sa("2", "out", 0)]);
  meter.update(1, [sa("1", "in", 0), sa("3", "in", 0), sa("4", "out", 0)]);
  assert.equal(meter.rekeys, 1);
});
