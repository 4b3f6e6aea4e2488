// What a station answers to, listens to and speaks from.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress } from "../net/address.js";
import { parseInterfaceAddress } from "../net/interface-address.js";
import { Station } from "./station.js";
import { address, MAC, PEER } from "./testing/owned-parts.js";

const stationOf = (...addresses: string[]) =>
  new Station(addresses.map((text) => parseInterfaceAddress(text)!));

test("the link-local address follows from the Ethernet address, and is there for IPv6 alone", () => {
  const station = stationOf("192.0.2.1/24", "2001:db8::1/64");
  station.setMac(MAC);
  assert.deepEqual(station.all().map(formatAddress), ["192.0.2.1", "2001:db8::1", "fe80::ff:fe00:1"]);
  station.setMac(PEER);
  assert.deepEqual(station.all().map(formatAddress), ["192.0.2.1", "2001:db8::1", "fe80::ff:fe00:2"]);
  const old = stationOf("192.0.2.1/24");
  old.setMac(MAC);
  assert.deepEqual(old.all().map(formatAddress), ["192.0.2.1"]);
  assert.deepEqual(old.groups(), []);
});

test("groups: all nodes, and each solicited-node group once", () => {
  const station = stationOf("2001:db8::5:1/64", "2001:db8:1::5:1/64", "192.0.2.1/24");
  station.setMac(MAC);
  assert.deepEqual(station.groups().map(formatAddress), ["ff02::1", "ff02::1:ff05:1", "ff02::1:ff00:1"]);
});

test("it knows its addresses in a packet, and those of an earlier Ethernet address no more", () => {
  const station = stationOf("192.0.2.1/24", "2001:db8::1/64");
  const has = (text: string) => {
    const bytes = new Uint8Array(20);
    const ip = address(text);
    bytes.set(ip, 2);
    const view = new DataView(bytes.buffer);
    return ip.length === 4 ? station.has4(view, 2) : station.has6(view, bytes, 2);
  };
  station.setMac(MAC);
  assert.ok(["192.0.2.1", "2001:db8::1", "fe80::ff:fe00:1"].every(has));
  assert.ok(!["192.0.2.2", "2001:db8::2", "fe80::ff:fe00:2"].some(has));
  station.setMac(PEER);
  assert.deepEqual([has("fe80::ff:fe00:1"), has("fe80::ff:fe00:2")], [false, true]);
  assert.ok(station.isMac(Uint8Array.of(0, ...PEER), 1));
  assert.ok(!station.isMac(Uint8Array.of(0, ...MAC), 1));
});

test("it asks for a neighbour from the address on the neighbour's link, else from any of the family", () => {
  const station = stationOf("192.0.2.1/24", "198.51.100.1/25", "2001:db8::1/64", "2001:db8:1::1/64");
  station.setMac(MAC);
  const from = (neighbour: string) => formatAddress(station.sourceFor(address(neighbour))!);
  assert.equal(from("198.51.100.9"), "198.51.100.1");
  assert.equal(from("198.51.100.200"), "192.0.2.1", "beyond the prefix");
  assert.equal(from("2001:db8:1::9"), "2001:db8:1::1");
  assert.equal(from("2001:db8:2::9"), "2001:db8::1");
  assert.equal(from("fe80::9"), "fe80::ff:fe00:1");
  assert.equal(stationOf("192.0.2.1/24").sourceFor(address("2001:db8::9")), undefined);
});
