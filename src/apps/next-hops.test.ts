// Next hops by themselves: made once, resolved while both Ethernet addresses are known, and bounded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NONE } from "../memory/frames.js";
import { formatAddress } from "../net/address.js";
import { NextHops, nextHopCounters } from "./next-hops.js";
import { address, MAC, PEER, THIRD } from "./testing/owned-parts.js";

const ports = [{ kind: "ethernet" }, { kind: "ethernet", owned: true }, { kind: "ip" }] as const;
const [LAN, OWNED, TUN] = [0, 1, 2];
const INDEX = 10;
const A4 = address("192.0.2.9");
const A6 = address("2001:db8::9");

function makeHops(capacity = 64) {
  const counters = new Float64Array(Object.keys(nextHopCounters).length);
  const hops = new NextHops(ports, counters, capacity);
  const header = (hop: number) =>
    hops.resolved[hop] === 1 ? [...new Uint8Array(hops.header.buffer, 16 * hop, 12)] : undefined;
  const unresolved = () => {
    const asked: string[] = [];
    hops.takeUnresolved((index, ip) => asked.push(`${index} ${formatAddress(ip)}`));
    return asked;
  };
  return { hops, counters, header, unresolved };
}

test("one entry for each port and address, however it is asked for", () => {
  const { hops, counters } = makeHops();
  const all = [hops.to(LAN, A4), hops.to(OWNED, A4), hops.to(LAN, A6), hops.device(TUN)];
  assert.equal(new Set(all).size, 4);
  assert.equal(hops.find(LAN, 4, 0xc0000209 | 0, 0, 0, 0), all[0]);
  assert.equal(hops.to(LAN, address("c000:209::")), hops.find(LAN, 6, 0xc0000209, 0, 0, 0));
  assert.notEqual(hops.to(LAN, address("c000:209::")), all[0], "another family with the same words");
  assert.deepEqual([hops.addressOf(all[0]), hops.addressOf(all[2])], [A4, A6]);
  assert.equal(counters[0], 5);
  assert.equal(hops.port[all[3]], TUN);
  assert.equal(hops.resolved[all[3]], 1, "a device needs nobody's address");
});

test("a hop is resolved while the neighbour and the interface are known, in whatever order", () => {
  const { hops, header } = makeHops();
  const hop = hops.to(LAN, A4);
  assert.equal(header(hop), undefined);
  hops.neighbour(INDEX, A4, PEER);
  assert.equal(header(hop), undefined);
  hops.setInterface(LAN, INDEX, MAC);
  assert.deepEqual(header(hop), [...PEER, ...MAC]);
  hops.neighbour(INDEX, A4, THIRD);
  assert.deepEqual(header(hop), [...THIRD, ...MAC]);
  hops.neighbour(INDEX + 1, A4, PEER);
  assert.deepEqual(header(hop), [...THIRD, ...MAC], "a neighbour on another interface");
  hops.setInterface(LAN, NONE, undefined);
  assert.equal(header(hop), undefined);
  hops.setInterface(LAN, INDEX, PEER);
  assert.deepEqual(header(hop), [...THIRD, ...PEER]);
  hops.neighbour(INDEX, A4, undefined);
  assert.equal(header(hop), undefined);
});

test("the kernel is asked once for each hop that packets wait for, and not where Vita asks itself", () => {
  const { hops, unresolved } = makeHops();
  hops.setInterface(LAN, INDEX, MAC);
  const [a, b] = [hops.to(LAN, A4), hops.to(LAN, A6)];
  for (const hop of [a, b, a, hops.to(OWNED, A4)]) hops.want(hop);
  assert.deepEqual(unresolved(), ["10 192.0.2.9", "10 2001:db8::9"]);
  assert.deepEqual(unresolved(), []);
  hops.want(a);
  hops.neighbour(INDEX, A4, PEER);
  assert.deepEqual(unresolved(), [], "resolved meanwhile");
});

test("whoever keeps the neighbours hears once of those in use", () => {
  const { hops } = makeHops();
  for (const hop of [hops.to(LAN, A4), hops.to(OWNED, A6), hops.device(TUN)]) hops.used[hop] = 1;
  const inUse = (owned: boolean) => {
    const told: string[] = [];
    hops.refreshUsed(owned, (port, ip) => told.push(`${port} ${formatAddress(ip)}`));
    return told;
  };
  assert.deepEqual([inUse(false), inUse(true)], [["0 192.0.2.9"], ["1 2001:db8::9"]]);
  assert.deepEqual([inUse(false), inUse(true)], [[], []]);
});

test("a full table is no place for more, and half a table none for strangers", () => {
  const { hops, counters } = makeHops(16);
  const neighbour = (i: number) => Uint8Array.of(192, 0, 2, i);
  for (let i = 0; i < 8; i++) hops.to(LAN, neighbour(i));
  assert.equal(hops.roomy, false);
  for (let i = 8; i < 16; i++) assert.notEqual(hops.to(LAN, neighbour(i)), NONE);
  assert.equal(hops.to(LAN, neighbour(16)), NONE);
  assert.deepEqual([...counters], [16, 1]);
  assert.notEqual(hops.to(LAN, neighbour(3)), NONE, "what is there stays");
});
