import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress } from "../net/address.js";
import { parseConfiguration } from "./load.js";
import { ownedSettings } from "./owned-settings.js";

const minimal = {
  node: "a",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
};

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
