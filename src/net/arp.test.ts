import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ARP_BYTES, ARP_REPLY, arpAt, isArp, turnIntoArpReply, writeArpRequest } from "./arp.js";
import { ETHERNET_HEADER } from "./ethernet.js";

const us = Uint8Array.of(2, 0, 0, 0, 0, 1);
const them = Uint8Array.of(2, 0, 0, 0, 0, 2);
const ours = Uint8Array.of(192, 0, 2, 1);
const theirs = Uint8Array.of(192, 0, 2, 2);

function frame(size = 64): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(size);
  return { bytes, view: new DataView(bytes.buffer) };
}

test("a request is what RFC 826 wants, and becomes its reply", () => {
  const { bytes, view } = frame();
  const length = writeArpRequest(view, bytes, 4, them, theirs, ours);
  assert.equal(
    Buffer.from(bytes.subarray(4, 4 + length)).toString("hex"),
    `ffffffffffff0200000000020806${"0001080006040001"}020000000002c0000202000000000000c0000201`,
  );
  assert.ok(isArp(view, bytes, 4 + ETHERNET_HEADER, ARP_BYTES));
  assert.equal(turnIntoArpReply(view, bytes, 4, us), length);
  assert.equal(
    Buffer.from(bytes.subarray(4, 4 + length)).toString("hex"),
    `0200000000020200000000010806${"0001080006040002"}020000000001c0000201020000000002c0000202`,
  );
  assert.ok(isArp(view, bytes, 4 + ETHERNET_HEADER, ARP_BYTES));
  assert.equal(view.getUint16(4 + ETHERNET_HEADER + arpAt.operation), ARP_REPLY);
});

test("a request to a station that is known goes to it alone", () => {
  const { bytes, view } = frame();
  writeArpRequest(view, bytes, 0, us, ours, theirs, them);
  assert.deepEqual(bytes.subarray(0, 6), them);
});

test("other hardware, protocols, lengths and operations, and groups as senders, are no ARP", () => {
  const good = frame();
  writeArpRequest(good.view, good.bytes, 0, us, ours, theirs);
  const check = (at: number, value: number) => {
    const bytes = good.bytes.slice();
    bytes[ETHERNET_HEADER + at] = value;
    return isArp(new DataView(bytes.buffer), bytes, ETHERNET_HEADER, ARP_BYTES);
  };
  assert.ok(check(1, 1));
  for (const [at, value] of [
    [1, 6],
    [2, 9],
    [4, 8],
    [5, 16],
    [7, 0],
    [7, 3],
    [8, 1],
  ])
    assert.equal(check(at, value), false, `byte ${at} = ${value}`);
  assert.equal(isArp(good.view, good.bytes, ETHERNET_HEADER, ARP_BYTES - 1), false);
  good.bytes.fill(0, ETHERNET_HEADER + arpAt.senderMac, ETHERNET_HEADER + arpAt.senderMac + 6);
  assert.equal(isArp(good.view, good.bytes, ETHERNET_HEADER, ARP_BYTES), false, "sender of zeros");
});

test("whatever arrives, nothing is read behind its end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      isArp(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bytes, 0, bytes.length);
    }),
  );
});
