import assert from "node:assert/strict";
import { test } from "node:test";
import { ownedSettings } from "../config/owned-settings.js";
import { formatAddress, formatPrefix, parseAddress, parsePrefix } from "../net/address.js";
import type { LinkChange, NetworkListener } from "../net/kernel-network.js";
import { OwnedNetwork } from "./owned-network.js";

const address = (text: string) => parseAddress(text) ?? assert.fail(text);
const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);

function make() {
  const log: string[] = [];
  const fib: NetworkListener = {
    reset: () => log.push("reset"),
    link: ({ name }, present) => log.push(`link ${name} ${present}`),
    address: (index, each, length, present) =>
      log.push(`address ${index} ${formatAddress(each)}/${length} ${present}`),
    route: ({ prefix: to, gateway, index, type, metric }, present) =>
      log.push(
        `${type} ${formatPrefix(to)}${gateway ? ` via ${formatAddress(gateway)}` : ""} dev ${index} ${metric} ${present}`,
      ),
    neighbour: (index, each) => log.push(`neighbour ${index} ${formatAddress(each)}`),
  };
  const settings = ownedSettings({
    name: "wan0",
    mode: "owned",
    address: ["192.0.2.1/24", "2001:db8::1/64"],
    gateway: ["192.0.2.254", "fe80::1"],
  });
  assert.ok(settings);
  const owned = { settings, change: ({ up }: LinkChange) => log.push(`wan0 ${up ? "up" : "down"}`) };
  const warn = (text: string) => log.push(text);
  const network = new OwnedNetwork(fib, [owned], warn, (device) => log.push(`${device} is gone`));
  return { network, did: () => log.splice(0) };
}

const link = (index: number, name: string, up = true): LinkChange => ({ index, name, mac, mtu: 1500, up });

test("the configuration's addresses and routes are told when the device is there, and taken back with it", () => {
  const { network, did } = make();
  network.reset();
  network.link(link(7, "wan0", false), true);
  const told = (present: boolean) => [
    `address 7 192.0.2.1/24 ${present}`,
    `unicast 192.0.2.0/24 dev 7 -1 ${present}`,
    `local 192.0.2.1/32 dev 7 -1 ${present}`,
    `address 7 2001:db8::1/64 ${present}`,
    `unicast 2001:db8::/64 dev 7 -1 ${present}`,
    `local 2001:db8::1/128 dev 7 -1 ${present}`,
    `unicast 0.0.0.0/0 via 192.0.2.254 dev 7 -1 ${present}`,
    `unicast ::/0 via fe80::1 dev 7 -1 ${present}`,
  ];
  assert.deepEqual(did(), ["reset", "link wan0 true", ...told(true), "wan0 down"]);
  network.link(link(7, "wan0"), true);
  assert.deepEqual(did(), ["link wan0 true", "wan0 up"], "once only");
  network.link(link(7, "wan0"), false);
  assert.deepEqual(did(), [...told(false), "link wan0 false"]);
});

test("what the kernel has on the device does not count, and an address is warned of", () => {
  const { network, did } = make();
  network.link(link(7, "wan0"), true);
  network.link(link(8, "lan0"), true);
  did();
  const route = { prefix: prefix("0.0.0.0/0"), gateway: undefined, metric: 0, type: "unicast" as const };
  for (const index of [7, 8]) {
    network.address(index, address("192.0.2.77"), 24, true);
    network.address(index, address("fe80::7"), 64, true);
    network.address(index, address("192.0.2.77"), 24, false);
    network.route({ ...route, index }, true);
    network.neighbour(index, address("192.0.2.2"), mac);
  }
  assert.deepEqual(did(), [
    "the kernel has the address 192.0.2.77/24 on wan0, where it hears nothing: ip address del 192.0.2.77/24 dev wan0",
    "address 8 192.0.2.77/24 true",
    "address 8 fe80::7/64 true",
    "address 8 192.0.2.77/24 false",
    "unicast 0.0.0.0/0 dev 8 0 true",
    "neighbour 8 192.0.2.2",
  ]);
});

test("a device to the kernel that is taken away is told of", () => {
  const { network, did } = make();
  network.link(link(9, "vita-ike0"), true);
  network.link(link(9, "vita-ike0"), false);
  assert.deepEqual(did(), ["link vita-ike0 true", "vita-ike0 is gone", "link vita-ike0 false"]);
});
