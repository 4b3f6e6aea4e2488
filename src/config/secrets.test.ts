import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Configuration } from "./configuration.js";
import { withoutSecrets } from "./secrets.js";

/** Names of the leaves that the model keeps from everybody. */
function secretLeaves(): string[] {
  const model = readFileSync(new URL("../../../yang/vita-gateway.yang", import.meta.url), "utf8");
  return [...model.matchAll(/leaf ([\w-]+) \{\s+nacm:default-deny-all;/g)].map(([, name]) => name);
}

test("no secret leaf of the model is left, and everything else is", () => {
  const names = secretLeaves();
  assert.ok(names.length >= 5, `${names}`);
  const secret = "5ec2e7";
  const leaves = Object.fromEntries(names.map((name) => [name, secret]));
  const full = {
    node: "n",
    workers: 2,
    route: [{ id: "data", net: ["10.0.0.0/8"] }],
    "outbound-sa": [{ spi: 1000, route: "data", esn: true, ...leaves }],
    connection: [{ id: "key", child: [{ id: "salt" }], ...leaves }],
    secret: [{ id: "s", identity: ["a"], ...leaves }],
  };
  const bare = withoutSecrets(full as unknown as Configuration);
  assert.ok(!JSON.stringify(bare).includes(secret));
  const restored = JSON.parse(JSON.stringify(bare), (_name, value) => (value === "" ? secret : value));
  assert.deepEqual(restored, full);
});
