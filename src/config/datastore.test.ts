import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigurationError, parseConfiguration } from "./datastore.js";

const minimal = {
  node: "a",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
};

function problems(document: unknown): readonly string[] {
  try {
    parseConfiguration(typeof document === "string" ? document : JSON.stringify(document), "test");
  } catch (error) {
    assert.ok(error instanceof ConfigurationError);
    return error.problems;
  }
  throw new Error("was accepted");
}

test("what is left out has its default", () => {
  const configuration = parseConfiguration(JSON.stringify(minimal), "test");
  assert.equal(configuration.workers, 1);
  assert.deepEqual(configuration.limits, { sas: 4096, policies: 16384, frames: 16384 });
  assert.equal(configuration["public-interface"][0].driver, "xdp");
  assert.equal(configuration["private-interface"][0].mtu, 1400);
});

const wrong: [unknown, RegExp][] = [
  ["{", /is not JSON/],
  ["", /is not JSON/],
  ["null", /^\/: null is not an object$/],
  [{ ...minimal, node: undefined }, /^\/node: is missing$/],
  [{ ...minimal, node: "../a" }, /^\/node: "..\/a" is not a node name/],
  [{ ...minimal, nodes: 1 }, /^\/nodes: there is no such leaf$/],
  [{ ...minimal, workers: 0 }, /^\/workers: 0 is none of 1$/],
  [{ ...minimal, "public-interface": [] }, /^\/public-interface: \[\] is less than 1 entries$/],
  [{ ...minimal, "public-interface": {} }, /^\/public-interface: \{\} is not an array$/],
  [
    { ...minimal, "public-interface": [{ name: "" }] },
    /^\/public-interface\/0\/name: "" is not an interface name/,
  ],
  [
    { ...minimal, "public-interface": [{ name: "sixteen-bytes-xx" }] },
    /^\/public-interface\/0\/name: "sixteen-bytes-xx" is not an interface name/,
  ],
  [
    { ...minimal, "public-interface": [{ name: "wan0", driver: "tun" }] },
    /^\/public-interface\/0\/driver: "tun" is none of "xdp", "packet"$/,
  ],
  [
    { ...minimal, "public-interface": [{ name: "wan0", color: 1 }] },
    /^\/public-interface\/0\/color: there is no such leaf$/,
  ],
  [
    { ...minimal, "private-interface": [{ name: "wan0" }] },
    /^\/private-interface\/0\/name: "wan0" is already at \/public-interface\/0\/name$/,
  ],
  [
    { ...minimal, "private-interface": [{ name: "t0", driver: "tun", mtu: 100 }] },
    /^\/private-interface\/0\/mtu: 100 is less than 1280$/,
  ],
  [
    {
      ...minimal,
      "private-interface": [
        { name: "t0", driver: "tun" },
        { name: "t1", driver: "tun" },
      ],
    },
    /^\/private-interface: 2 has more than one tun device$/,
  ],
  [{ ...minimal, limits: { sas: 1.5 } }, /^\/limits\/sas: 1.5 is not a whole number$/],
  [{ ...minimal, limits: { sas: 1e9 } }, /^\/limits\/sas: 1000000000 is more than 131072$/],
];

for (const [document, expected] of wrong)
  test(`refused: ${expected.source}`, () => {
    const found = problems(document);
    assert.equal(found.length, 1, found.join("; "));
    assert.match(found[0], expected);
  });
