// The order of evaluation, as strongSwan has it on Linux (kernel-netlink's get_priority and its list of users).

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyRank } from "./spd.js";
import { type PolicyOptions, policyRequest } from "./testing/requests.js";

const rank = (options: PolicyOptions) => policyRank(policyRequest(options));

/** From the first to the last. */
function assertOrder(...entries: PolicyOptions[]): void {
  const ranks = entries.map(rank);
  for (let i = 1; i < ranks.length; i++)
    assert.ok(
      ranks[i - 1] < ranks[i],
      `${JSON.stringify(entries[i - 1])} before ${JSON.stringify(entries[i])}`,
    );
}

test("computed priorities are those of strongSwan", () => {
  const nets = { from: "10.1.0.0/24", to: "10.2.0.0/24" };
  assert.equal(rank({ ...nets, priorityClass: 1 }), 400_000 - 48 * 512 - 1);
  assert.equal(rank({ ...nets, priorityClass: 2 }), 400_000 - 48 * 512);
  assert.equal(rank({ ...nets, priorityClass: 0 }), 200_000 - 48 * 512 - 1);
  assert.equal(rank({ ...nets, priorityClass: 3 }), 600_000 - 48 * 512 - 1);
  const dns = { from: "10.1.0.0/24[udp]", to: "10.2.0.0/24[udp/53]" };
  assert.equal(rank({ ...dns, priorityClass: 1 }), 400_000 - 48 * 512 - 256 - 16 * 4 - 1);
});

test("pass before protect and trap before fallback; inside, the narrower first", () => {
  assertOrder(
    { priorityClass: 0, from: "0.0.0.0/0", to: "0.0.0.0/0" },
    { priorityClass: 1, from: "10.1.0.1/32", to: "10.2.0.1/32[tcp/80]" },
    { priorityClass: 1, from: "10.1.0.1/32", to: "10.2.0.1/32[tcp]" },
    { priorityClass: 1, from: "10.1.0.1/32", to: "10.2.0.1/32" },
    { priorityClass: 2, from: "10.1.0.1/32", to: "10.2.0.1/32" },
    { priorityClass: 2, from: "10.1.0.0/24", to: "10.2.0.1/32" },
    { priorityClass: 1, from: "10.1.0.0/24", to: "10.2.0.0/24" },
    { priorityClass: 3, from: "10.1.0.1/32", to: "10.2.0.1/32" },
  );
});

test("manual priorities replace all that; a trap is behind the SA that it led to, whichever was installed last", () => {
  assertOrder(
    { manualPriority: 1, priorityClass: 3 },
    { manualPriority: 5, priorityClass: 1 },
    { manualPriority: 5, priorityClass: 2 },
    { manualPriority: 6, priorityClass: 0 },
    { priorityClass: 0, from: "0.0.0.0/0", to: "0.0.0.0/0" },
    { manualPriority: 0xffffffff, priorityClass: 1 },
  );
  assert.equal(Math.floor(rank({ manualPriority: 0xffffffff, priorityClass: 3 })), 0xffffffff);
});
