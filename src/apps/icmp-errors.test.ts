// The errors that a router owes: what they say and quote, to whom they go, and who is told nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress } from "../net/address.js";
import { fold, pseudoHeader6, sum16 } from "../net/checksum.js";
import { Fib } from "./fib.js";
import { IcmpErrors } from "./icmp-errors.js";
import {
  address,
  type IpOptions,
  ipFrame,
  ipOf,
  MAC,
  OwnedParts,
  PEER4,
  PEER6,
} from "./testing/owned-parts.js";

const FAR4 = address("10.9.0.1");
const FAR6 = address("2001:db8:9::1");

function makeErrors() {
  const parts = new OwnedParts();
  const output = parts.link();
  const fib = new Fib([{ name: "lan0", kind: "ethernet", side: "private" }], new Float64Array(2), 16);
  fib.link({ index: 1, name: "lan0", mac: MAC, mtu: 1500, up: true }, true);
  for (const [text, bits] of [
    ["10.1.0.1", 24],
    ["fe80::1", 64],
    ["2001:db8:1::1", 64],
  ] as const)
    fib.address(1, address(text), bits, true);
  const errors = new IcmpErrors(parts.context, fib, output);
  const put = (options: Partial<IpOptions>) => {
    const frame = parts.frame(ipOf(ipFrame({ to: FAR4, protocol: 17, payload: [1, 2, 3, 4], ...options })));
    parts.frames.port[frame] = 0;
    parts.frames.sa[frame] = 4;
    return frame;
  };
  return { parts, output, fib, errors, put };
}

test("IPv4: time exceeded and fragmentation needed, from an address of the port, with the beginning of the packet", () => {
  const { parts, output, errors, put } = makeErrors();
  const quoted = ipOf(ipFrame({ to: FAR4, protocol: 17, payload: new Array(1000).fill(7), ttl: 1 }));
  errors.timeExceeded(put({ payload: new Array(1000).fill(7), ttl: 1 }));
  errors.tooBig(put({}), 1400);
  const [exceeded, needed] = parts.take(output);
  const view = new DataView(exceeded.buffer);
  assert.equal(exceeded.length, 576);
  assert.equal(view.getUint16(2), 576);
  assert.equal(fold(sum16(view, 0, 20, 0)), 0);
  assert.equal(fold(sum16(view, 20, 556, 0)), 0);
  assert.equal(formatAddress(exceeded.subarray(12, 16)), "10.1.0.1");
  assert.deepEqual(exceeded.subarray(16, 20), PEER4);
  assert.deepEqual([...exceeded.subarray(20, 22)], [11, 0]);
  assert.deepEqual(exceeded.subarray(28), quoted.subarray(0, 548));
  assert.deepEqual([...needed.subarray(20, 22)], [3, 4]);
  assert.equal(new DataView(needed.buffer).getUint16(26), 1400, "RFC 1191: the MTU of the next hop");
  assert.deepEqual(parts.counted("icmp-errors"), { time_exceeded: 1, too_big: 1 });
  parts.done();
});

test("IPv6: the same, and never from a link-local address", () => {
  const { parts, output, errors, put } = makeErrors();
  errors.timeExceeded(put({ to: FAR6 }));
  errors.tooBig(put({ to: FAR6, payload: new Array(1400).fill(7) }), 1300);
  const [exceeded, tooBig] = parts.take(output);
  for (const packet of [exceeded, tooBig]) {
    const view = new DataView(packet.buffer);
    const length = packet.length - 40;
    assert.equal(view.getUint16(4), length);
    assert.equal(formatAddress(packet.subarray(8, 24)), "2001:db8:1::1");
    assert.deepEqual(packet.subarray(24, 40), PEER6);
    assert.equal(fold(sum16(view, 40, length, pseudoHeader6(view, 0, 58, length))), 0);
  }
  assert.deepEqual([...exceeded.subarray(40, 42)], [3, 0]);
  assert.deepEqual([...tooBig.subarray(40, 42)], [2, 0]);
  assert.equal(new DataView(tooBig.buffer).getUint32(44), 1300);
  assert.equal(tooBig.length, 1280);
  parts.done();
});

test("nobody is told about errors, later fragments, and packets without one sender or receiver", () => {
  const { parts, output, errors, put } = makeErrors();
  const silent: Partial<IpOptions>[] = [
    { protocol: 1, payload: [3, 0, 0, 0, 0, 0, 0, 0] },
    { protocol: 1, payload: [11, 0, 0, 0, 0, 0, 0, 0] },
    { fragment: 1 },
    ...["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"].map((from) => ({ from: address(from) })),
    { to: address("224.0.0.5") },
    { to: FAR6, protocol: 58, payload: [1, 0, 0, 0] },
    { to: FAR6, from: address("::") },
    { to: FAR6, from: address("ff02::1") },
    { to: address("ff02::1") },
  ];
  for (const options of silent) errors.timeExceeded(put(options));
  assert.deepEqual(parts.counted("icmp-errors"), { "drop.silent": silent.length });
  // Echo requests and first fragments are packets like any other.
  errors.timeExceeded(put({ protocol: 1, payload: [8, 0, 0, 0, 0, 0, 0, 0] }));
  errors.timeExceeded(put({ to: FAR6, protocol: 58, payload: [128, 0, 0, 0] }));
  errors.timeExceeded(put({ fragment: 0x2000 }));
  assert.equal(parts.take(output).length, 3);
  parts.done();
});

test("no more than a burst of 100, then 1,000 a second; none without an address to speak from", () => {
  const { parts, output, errors, put, fib } = makeErrors();
  for (let i = 0; i < 150; i++) errors.timeExceeded(put({}));
  assert.equal(parts.take(output).length, 100);
  errors.refill(10);
  for (let i = 0; i < 20; i++) errors.timeExceeded(put({}));
  assert.equal(parts.take(output).length, 10);
  errors.refill(1000);
  fib.address(1, address("10.1.0.1"), 24, false);
  errors.timeExceeded(put({}));
  assert.deepEqual(parts.counted("icmp-errors"), {
    time_exceeded: 110,
    "drop.rate": 60,
    "drop.no_address": 1,
  });
  parts.done();
});
