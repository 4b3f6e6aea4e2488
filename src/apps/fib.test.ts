// Next hops of routes; and routes of domains: each has those through its own ports, from whatever table, and the one
// without a binding has the main table.

import assert from "node:assert/strict";
import { test } from "node:test";
import { address } from "../ipsec/testing/requests.js";
import { NONE } from "../memory/frames.js";
import { formatAddress, parsePrefix } from "../net/address.js";
import { Fib, LOCAL, UNREACHABLE } from "./fib.js";
import { nextHopCounters } from "./next-hops.js";

const bound = (interfaceId: number) => ({ interfaceId, mark: 0, interfaceIdIn: interfaceId, markIn: 0 });
const ports = [
  { name: "wan0", kind: "ethernet", side: "public" },
  { name: "lan0", kind: "ethernet", side: "private" },
  { name: "red", kind: "ethernet", side: "private", binding: bound(1) },
  { name: "blue", kind: "ethernet", side: "private", binding: bound(2) },
  { name: "blue2", kind: "ethernet", side: "private", binding: bound(2) },
] as const;
const [WAN, LAN, RED, BLUE, BLUE2] = [10, 11, 12, 13, 14];

function makeFib() {
  const fib = new Fib(ports, new Float64Array(Object.keys(nextHopCounters).length), 64);
  const local: string[] = [];
  fib.onLocal = (address, present, domain) =>
    local.push(`${present ? "+" : "-"}${formatAddress(address)} ${domain}`);
  ports.forEach(({ name }, i) => {
    fib.link({ index: 10 + i, name, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500, up: true }, true);
  });
  const route = (prefix: string, index: number, more: object = {}, present = true) =>
    fib.route(
      {
        prefix: parsePrefix(prefix)!,
        gateway: undefined,
        index,
        metric: 0,
        type: "unicast",
        table: 254,
        ...more,
      },
      present,
    );
  /** Name of the port that the domain's route to an address leaves by. */
  const way = (domain: number, text: string) => {
    const packet = new DataView(new ArrayBuffer(40));
    const isIpv4 = !text.includes(":");
    address(text).forEach((byte, i) => {
      packet.setUint8((isIpv4 ? 16 : 24) + i, byte);
    });
    const found = fib.routeIn(domain, packet, 0, isIpv4);
    return found === LOCAL ? "local" : found === UNREACHABLE ? "none" : ports[fib.routePort(found)].name;
  };
  return { fib, local, route, way };
}

test("one prefix on three devices: each domain has its own", () => {
  const { route, way } = makeFib();
  route("10.0.0.0/24", RED);
  route("10.0.0.0/24", BLUE, { behind: true });
  route("0.0.0.0/0", WAN);
  assert.deepEqual(
    [0, 1, 2].map((domain) => way(domain, "10.0.0.9")),
    ["wan0", "red", "blue"],
  );
  assert.deepEqual(
    [0, 1, 2].map((domain) => way(domain, "10.9.0.9")),
    ["wan0", "none", "none"],
  );
  route("10.0.0.0/24", LAN, { behind: true });
  assert.equal(way(0, "10.0.0.9"), "lan0");
  route("10.0.0.0/24", RED, {}, false);
  assert.deepEqual(
    [0, 1, 2].map((domain) => way(domain, "10.0.0.9")),
    ["lan0", "none", "blue"],
  );
});

test("other tables serve the domains of their ports alone", () => {
  const { route, way } = makeFib();
  route("2001:db8:7::/48", BLUE, { table: 1001 });
  route("2001:db8:7::/48", LAN, { table: 1002 });
  route("2001:db8::1/128", BLUE, { table: 1001, type: "local" });
  assert.deepEqual(
    [0, 1, 2].map((domain) => way(domain, "2001:db8:7::9")),
    ["none", "none", "blue"],
  );
  assert.deepEqual(
    [0, 2].map((domain) => way(domain, "2001:db8::1")),
    ["none", "local"],
  );
});

test("metrics first, then the kernel's order", () => {
  const { route, way } = makeFib();
  route("10.0.0.0/24", BLUE, { metric: 5 });
  route("10.0.0.0/24", BLUE2, { metric: 5, behind: true });
  assert.equal(way(2, "10.0.0.9"), "blue");
  route("10.0.0.0/24", BLUE2, { metric: 4 });
  assert.equal(way(2, "10.0.0.9"), "blue2");
});

test("addresses belong to the domain of their interface", () => {
  const { fib, local, way, route } = makeFib();
  for (const index of [RED, BLUE]) {
    fib.address(index, address("10.0.0.1"), 24, true);
    route("10.0.0.1/32", index, { type: "local", table: 255 });
  }
  route("10.0.0.255/32", RED, { type: "broadcast", table: 255 });
  fib.address(1, address("192.0.2.99"), 32, true);
  assert.deepEqual(local, ["+10.0.0.1 1", "+10.0.0.1 2", "+10.0.0.255 1", "+192.0.2.99 0"]);
  assert.deepEqual(
    [0, 1, 2].map((domain) => way(domain, "10.0.0.1")),
    ["none", "local", "local"],
  );
  assert.equal(formatAddress(fib.localAddress(4, 4)!), "10.0.0.1", "of another port of the domain");
  assert.equal(fib.localAddress(1, 4), undefined, "of no other domain");
  fib.address(RED, address("10.0.0.1"), 24, false);
  assert.equal(local.at(-1), "-10.0.0.1 1");
});

const numberOf = (text: string) => new DataView(Uint8Array.from(address(text)).buffer).getInt32(0);

/** Next hop towards an IPv4 address, as the address that it has, or undefined. */
function hopTowards(fib: Fib, text: string): string | undefined {
  const number = numberOf(text);
  const route = fib.route4(number);
  const hop = route === UNREACHABLE || route === LOCAL ? NONE : fib.hop4(route, number);
  return hop === NONE ? undefined : formatAddress(fib.hops.addressOf(hop));
}

test("packets go to the gateway of their route, or to where they are going on the link", () => {
  const { fib, route } = makeFib();
  route("198.51.100.0/24", WAN);
  route("0.0.0.0/0", WAN, { gateway: address("198.51.100.1") });
  assert.equal(hopTowards(fib, "198.51.100.7"), "198.51.100.7");
  assert.equal(hopTowards(fib, "203.0.113.9"), "198.51.100.1");
  assert.deepEqual(
    ["198.51.100.7", "203.0.113.9"].map((text) => fib.isGateway(fib.route4(numberOf(text)))),
    [false, true],
  );
  route("203.0.113.0/24", WAN, { gateway: address("198.51.100.2") });
  assert.equal(hopTowards(fib, "203.0.113.9"), "198.51.100.2");
  route("203.0.113.0/24", WAN, { gateway: address("198.51.100.2") }, false);
  assert.equal(hopTowards(fib, "203.0.113.9"), "198.51.100.1");
  const { generation } = fib;
  fib.link({ index: WAN, name: "wan0", mac: undefined, mtu: 1500, up: false }, false);
  assert.ok(fib.generation > generation, "what was looked up before is wrong now");
  assert.equal(hopTowards(fib, "203.0.113.9"), undefined, "the interface is gone");
});

test("a gateway for which the table has no room is no reason to look for its packets on the link", () => {
  const { fib, route } = makeFib();
  for (let i = 0; i < 1000; i++) fib.hops.to(0, Uint8Array.of(10, 9, i >> 8, i & 0xff));
  route("0.0.0.0/0", WAN, { gateway: address("198.51.100.1") });
  assert.equal(hopTowards(fib, "10.9.0.5"), undefined);
});
