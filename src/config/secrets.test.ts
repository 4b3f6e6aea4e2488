import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfiguration } from "./load.js";
import { Schema, type SchemaNode } from "./schema.js";
import { withoutEntries } from "./secrets.js";

/** Everything that the model calls a secret. */
function secretPaths(nodes: readonly SchemaNode[]): string[] {
  return nodes.flatMap((node) => [...(node.denyAll ? [node.path] : []), ...secretPaths(node.children)]);
}

test("nothing that the model calls a secret is left, nor any entry of a long list, and all else is", () => {
  const key = "5ec2e700".repeat(4);
  const cbc = { aead: "aes-cbc-hmac-sha2-256-128", "integrity-key": key + key };
  const configuration = parseConfiguration(
    JSON.stringify({
      node: "a",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
      route: [{ id: "r", net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" } }],
      "inbound-sa": [{ spi: 300, route: "r", key, salt: "5ec2e701" }],
      "outbound-sa": [{ spi: 301, route: "r", key, ...cbc }],
      connection: [{ id: "c", "pre-shared-key": "5ec2e703", child: [{ id: "k" }] }],
      secret: [{ id: "s", data: "5ec2e704" }],
    }),
    "test",
  );
  const leaves = secretPaths([...Schema.load().top.values()]).map((path) => path.split("/").pop());
  assert.deepEqual(new Set(leaves), new Set(["key", "salt", "integrity-key", "pre-shared-key", "data"]));
  const withSecrets = JSON.stringify(configuration);
  for (const leaf of new Set(leaves)) assert.match(withSecrets, new RegExp(`"${leaf}":"5ec2e70`));
  const text = JSON.stringify(withoutEntries(configuration));
  assert.doesNotMatch(text, /5ec2e70/);
  const { node, limits, "public-interface": wan, "private-interface": lan } = configuration;
  const left = JSON.parse(text) as typeof configuration;
  assert.deepEqual(Object.keys(left), Object.keys(configuration));
  assert.deepEqual(
    [left.node, left.limits, left["public-interface"], left["private-interface"]],
    [node, limits, wan, lan],
  );
  assert.deepEqual([left.route, left["outbound-sa"], left.connection, left.secret], [[], [], [], []]);
  assert.equal(JSON.stringify(configuration), withSecrets);
});
