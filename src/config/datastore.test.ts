import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress } from "../net/address.js";
import { bindingOf } from "./binding.js";
import { ConfigurationError, parseConfiguration } from "./datastore.js";
import { ownedSettings } from "./owned-settings.js";

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

/** An owned interface with something added or replaced. */
const owned = (leaves: object) => ({
  ...minimal,
  "public-interface": [{ name: "wan0", mode: "owned", address: ["192.0.2.1/24"], ...leaves }],
});

test("an owned interface: addresses, gateways and the punt device with its defaults", () => {
  const document = owned({
    address: ["192.0.2.1/24", "2001:db8::1/64"],
    gateway: ["192.0.2.254", "fe80::1"],
  });
  const [leaves] = parseConfiguration(JSON.stringify(document), "test")["public-interface"];
  const settings = ownedSettings(leaves);
  assert.deepEqual(
    settings?.addresses.map(({ prefixLength }) => prefixLength),
    [24, 64],
  );
  assert.deepEqual(settings?.gateways.map(formatAddress), ["192.0.2.254", "fe80::1"]);
  assert.deepEqual(settings?.punt, { device: "vita-ike0", traffic: "ike", routeTable: 222 });
  assert.equal(ownedSettings({ name: "wan0", mode: "shared" }), undefined);
});

test("what is left out has its default", () => {
  const configuration = parseConfiguration(JSON.stringify(minimal), "test");
  assert.equal(configuration.workers, 1);
  assert.equal(configuration["busy-poll"], false);
  assert.deepEqual(configuration.limits, {
    "orphan-seconds": 180,
    sas: 65_536,
    policies: 131_072,
    frames: 16384,
  });
  assert.equal(configuration["public-interface"][0].driver, "xdp");
  assert.equal(configuration["private-interface"][0].mtu, 1400);
});

test("bindings: numbers, or text as strongSwan has it; inward as outward unless told otherwise", () => {
  const leaves = [
    {},
    { "if-id": 42 },
    { "if-id": "0x2a", mark: "7" },
    { "if-id": 2, "if-id-in": 1, mark: "0xffffffff", "mark-in": 0 },
  ].map((leaf, i) => ({ name: `lan${i}`, ...leaf }));
  const document = { ...minimal, "private-interface": leaves };
  const configuration = parseConfiguration(JSON.stringify(document), "test");
  assert.deepEqual(
    configuration["private-interface"].map(bindingOf).map((binding) => Object.values(binding)),
    [
      [0, 0, 0, 0],
      [42, 0, 42, 0],
      [42, 7, 42, 7],
      [2, 0xffffffff, 1, 0],
    ],
  );
  // What the supervisor writes for the workers is read again by `vita state`.
  assert.deepEqual(parseConfiguration(JSON.stringify(configuration), "again"), configuration);
});

/** A private interface with leaves. */
const bound = (leaf: object) => ({ ...minimal, "private-interface": [{ name: "lan0", ...leaf }] });

const wrong: [unknown, RegExp][] = [
  ["{", /is not JSON/],
  ["", /is not JSON/],
  ["null", /^\/: null is not an object$/],
  [{ ...minimal, node: undefined }, /^\/node: is missing$/],
  [{ ...minimal, node: "../a" }, /^\/node: "..\/a" is not a node name/],
  [{ ...minimal, nodes: 1 }, /^\/nodes: there is no such leaf$/],
  [{ ...minimal, workers: 0 }, /^\/workers: 0 is less than 1$/],
  [{ ...minimal, workers: 17 }, /^\/workers: 17 is more than 16$/],
  [
    { ...minimal, workers: 3, limits: { frames: 262_144 } },
    /^\/limits\/frames: 262144 is too much for 3 workers: together at most 524288$/,
  ],
  [
    {
      ...minimal,
      workers: 2,
      "public-interface": [{ name: "wan0", mode: "owned", address: ["192.0.2.1/24"] }],
    },
    /^\/public-interface\/0\/mode: "owned" needs \/workers 1/,
  ],
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
  [
    { ...minimal, "public-interface": [{ name: "wan0", mode: "owned" }] },
    /^\/public-interface\/0\/address: \[\] must have an address in mode "owned"/,
  ],
  [
    { ...minimal, "public-interface": [{ name: "wan0", gateway: ["192.0.2.1"] }] },
    /^\/public-interface\/0\/gateway: \["192.0.2.1"\] is for mode "owned" only$/,
  ],
  [
    owned({ address: ["192.0.2.1"] }),
    /^\/public-interface\/0\/address\/0: "192.0.2.1" is not an address of a host/,
  ],
  [owned({ address: ["192.0.2.0/24"] }), /\/address\/0: "192.0.2.0\/24" is not an address of a host/],
  [owned({ address: ["192.0.2.255/24"] }), /\/address\/0: "192.0.2.255\/24" is not an address of a host/],
  [owned({ address: ["127.0.0.1/8"] }), /\/address\/0: "127.0.0.1\/8" is not an address of a host/],
  [owned({ address: ["fe80::1/64"] }), /\/address\/0: "fe80::1\/64" is not an address of a host/],
  [owned({ address: ["ff02::1/64"] }), /\/address\/0: "ff02::1\/64" is not an address of a host/],
  [owned({ gateway: ["192.0.3.1"] }), /\/gateway\/0: "192.0.3.1" is not on the link/],
  [owned({ gateway: ["192.0.2.1"] }), /\/gateway\/0: "192.0.2.1" is an address of this interface itself$/],
  [owned({ gateway: ["fe80::1"] }), /\/gateway\/0: "fe80::1" has no address of its family/],
  [
    owned({ gateway: ["192.0.2.2", "192.0.2.3"] }),
    /\/gateway\/1: "192.0.2.3" is the second gateway of its family$/,
  ],
  [owned({ gateway: ["wan"] }), /\/gateway\/0: "wan" is not an address of a host$/],
  [
    owned({ address: ["192.0.2.1/24", "192.0.2.1/25"] }),
    /\/address\/1: "192.0.2.1\/25" is already at \/public-interface\/0\/address\/0$/,
  ],
  [owned({ punt: { device: "lan0" } }), /\/punt\/device: "lan0" is already at \/private-interface\/0\/name$/],
  [owned({ punt: { traffic: "some" } }), /\/punt\/traffic: "some" is none of "ike", "all"$/],
  [{ ...minimal, "route-table": 254 }, /^\/route-table: 254 is a table of the system's own/],
  [{ ...minimal, "route-table": 32_766 }, /^\/route-table: 32766 is more than 32764$/],
  [
    { ...minimal, "transport-route-table": 255 },
    /^\/transport-route-table: 255 is a table of the system's own/,
  ],
  [owned({ punt: { "route-table": 253 } }), /\/punt\/route-table: 253 is a table of the system's own/],
  [owned({ punt: { "route-table": 221 } }), /\/punt\/route-table: 221 is already at \/route-table$/],
  [
    owned({ punt: { "route-table": 223 } }),
    /\/punt\/route-table: 223 is already at \/transport-route-table$/,
  ],
  [owned({ punt: { name: "x" } }), /\/punt\/name: there is no such leaf$/],
  [bound({ "if-id": -1 }), /^\/private-interface\/0\/if-id: -1 is less than 0$/],
  [bound({ mark: "0x100000000" }), /^\/private-interface\/0\/mark: "0x100000000" is not a number from 0/],
  [bound({ mark: "9999999999" }), /^\/private-interface\/0\/mark: .*is not a number from 0/],
  [bound({ "mark-in": "7/0xff" }), /^\/private-interface\/0\/mark-in: "7\/0xff" is not a number from 0/],
  [
    { ...minimal, "transport-route-table": 221 },
    /^\/transport-route-table: 221 is already at \/route-table$/,
  ],
  [{ ...minimal, limits: { sas: 1.5 } }, /^\/limits\/sas: 1.5 is not a whole number$/],
  [{ ...minimal, "busy-poll": "yes" }, /^\/busy-poll: "yes" is not a boolean$/],
  [{ ...minimal, limits: { sas: 1e9 } }, /^\/limits\/sas: 1000000000 is more than 524288$/],
];

for (const [document, expected] of wrong)
  test(`refused: ${expected.source}`, () => {
    const found = problems(document);
    assert.equal(found.length, 1, found.join("; "));
    assert.match(found[0], expected);
  });
