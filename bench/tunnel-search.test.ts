import assert from "node:assert/strict";
import { test } from "node:test";
import { highestRate } from "./tunnel-search.js";

/** A tunnel that carries `limit` datagrams a second, under a sender that can make `most`. */
function link(limit: number, most: number) {
  let probes = 0;
  return {
    probe: async (rate: number) => {
      probes++;
      const sent = Math.min(rate, most);
      const arrived = Math.min(sent, limit);
      return { passes: sent - arrived < 0.01 * sent, arrived, saturated: sent < 0.8 * rate };
    },
    probes: () => probes,
  };
}

test("the search comes close to what the link carries, and never above it", async () => {
  for (const limit of [4100, 37_000, 64_000, 100_001, 1_000_000]) {
    const { probe, probes } = link(limit, 1e9);
    const found = await highestRate(probe);
    assert.ok(found <= limit && found > 0.9 * limit, `${found} of ${limit}`);
    assert.ok(probes() < 24);
  }
});

test("the search ends where the sender ends", async () => {
  const { probe } = link(1e9, 200_000);
  assert.equal(await highestRate(probe), 200_000);
});

test("a link that carries nothing gives 0", async () => {
  assert.equal(await highestRate(link(0, 1e9).probe), 0);
});

test("a rate that fails once and then passes is none that the link does not carry", async () => {
  const { probe } = link(64_000, 1e9);
  let calls = 0;
  const hiccups = async (rate: number) =>
    ++calls % 2 === 1 ? { ...(await probe(rate)), passes: false } : probe(rate);
  const found = await highestRate(hiccups);
  assert.ok(found <= 64_000 && found > 0.9 * 64_000, `${found}`);
});
