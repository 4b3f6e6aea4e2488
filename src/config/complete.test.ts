import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Completion, complete, completionOf, parseTop } from "./complete.js";
import type { JsonObject } from "./document.js";
import { isTable } from "./parse.js";
import { Schema, type SchemaNode } from "./schema.js";
import { Tree } from "./tree.js";

const schema = Schema.load();
const lists = [...schema.top.values()].filter(isTable);
const key = "00".repeat(16);

test("entries of every long list are completed without libyang", () => {
  assert.deepEqual(
    lists.filter((node) => !completionOf(node)).map(({ name }) => name),
    [],
  );
});

test("only libyang knows a default that depends on a condition or whose type is a choice", () => {
  const list = (leaf: Partial<SchemaNode>): SchemaNode => {
    const [node] = lists;
    return { ...node, children: [{ ...node.children[0], kind: "leaf", default: ["a"], ...leaf }] };
  };
  assert.deepEqual(completionOf(list({ type: { base: "string" } }))?.({}), { id: "a" });
  assert.equal(completionOf(list({ type: { base: "string" }, when: "../b" })), undefined);
  assert.equal(completionOf(list({ type: { base: "union" } })), undefined);
});

/** Every entry of a configuration as completed here is what libyang makes of it. */
function compare(text: string): number {
  const tree = Tree.parse(schema, text, "json");
  tree.validate();
  const printed = (defaults: "explicit" | "all") =>
    parseTop(tree.print(undefined, { format: "json", defaults, secrets: true }) ?? "{}");
  const [given, all] = [printed("explicit"), printed("all")];
  const configuration = tree.toConfiguration() as unknown as JsonObject;
  let count = 0;
  for (const node of lists) {
    const entries = (given[node.name] ?? []) as JsonObject[];
    const wanted = ((all[node.name] ?? []) as JsonObject[]).map((entry) => complete(entry, node.children));
    assert.deepEqual(entries.map(completionOf(node) as Completion), wanted);
    assert.deepEqual(configuration[node.name], wanted);
    count += entries.length;
  }
  tree.free();
  return count;
}

test("what is completed is what libyang says", () => {
  const document = {
    node: "a",
    "public-interface": [{ name: "wan0" }],
    "private-interface": [{ name: "lan0" }],
    route: [
      { id: "r", net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" } },
      { id: "s", net: ["2001:DB8::/32"], gateway: { ip: "2001:DB8:0::1" }, mark: "0x2a", "if-id": 7 },
      {
        id: "t",
        net: ["10.1.0.0/16"],
        gateway: { ip: "192.0.2.2" },
        "controller-reqid": "18446744073709551615",
      },
    ],
    "inbound-sa": [
      { spi: 300, route: "r", key, salt: "01020304" },
      {
        spi: 301,
        route: "s",
        aead: "aes-cbc-hmac-sha2-256-128",
        key,
        "integrity-key": key + key,
        esn: false,
      },
    ],
    "outbound-sa": [{ spi: 300, route: "r", key, salt: "01020305", esn: true }],
    "security-policy": [
      { id: "p", action: "bypass", "local-ts": ["10.0.0.0/8"], "remote-ts": ["10.9.0.53[udp/53]"] },
      { id: "q", action: "discard", "local-ts": ["::/0"], "remote-ts": ["::/0"], priority: 5, mark: "7" },
    ],
    connection: [
      { id: "c", "pre-shared-key": "hush", child: [{ id: "k", "remote-ts": ["10.2.0.0/16"] }] },
      {
        id: "d",
        "if-id-in": "0xff",
        mobike: false,
        "dpd-delay": 30,
        remote: { auth: "pubkey", id: "d", "ca-certificate": ["/ca.pem"] },
        child: [
          { id: "k", "start-action": "trap", "life-bytes": "18446744073709551615" },
          { id: "l", "replay-window": 0, "esp-proposal": ["aes128gcm16"] },
        ],
      },
      { id: "e", child: [{ id: "k" }] },
    ],
    pool: [
      { id: "p", addresses: "10.7.0.0/24" },
      { id: "q", addresses: "10.8.0.0/24", dns: ["10.8.0.1"] },
    ],
    secret: [
      { id: "s", data: "hush" },
      { id: "t", type: "eap", identity: ["x"], data: "hush" },
    ],
    authority: [{ id: "a", "ca-certificate": "/ca.pem" }],
  };
  assert.equal(compare(JSON.stringify(document)), 16);
});

test("so it is in the examples of the documentation", () => {
  const folder = fileURLToPath(new URL("../../../docs/examples", import.meta.url));
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".json"),
  );
  let count = 0;
  for (const name of files) count += compare(readFileSync(join(folder, name), "utf8"));
  assert(count > 0);
});
