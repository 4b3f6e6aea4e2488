import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, parsePcap, pcapHeader, pcapRecord } from "./pcap.js";

function file(little: boolean, magic: number, linkType: number, records: [number, number, Uint8Array][]) {
  const total = 24 + records.reduce((sum, [, , packet]) => sum + 16 + packet.length, 0);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, little);
  view.setUint32(20, linkType, little);
  let at = 24;
  for (const [seconds, fraction, packet] of records) {
    view.setUint32(at, seconds, little);
    view.setUint32(at + 4, fraction, little);
    view.setUint32(at + 8, packet.length, little);
    view.setUint32(at + 12, packet.length + 1, little);
    bytes.set(packet, at + 16);
    at += 16 + packet.length;
  }
  return bytes;
}

test("reads both byte orders and both units of time", () => {
  for (const little of [true, false])
    for (const [magic, nanoseconds] of [
      [0xa1b2c3d4, 5000],
      [0xa1b23c4d, 5],
    ] as const) {
      const capture = parsePcap(file(little, magic, 1, [[7, 5, Uint8Array.of(1, 2, 3)]]));
      assert.equal(capture.linkType, LINKTYPE_ETHERNET);
      assert.deepEqual(capture.packets, [
        { seconds: 7, nanoseconds, bytes: Uint8Array.of(1, 2, 3), originalLength: 4 },
      ]);
    }
});

test("what it writes it reads", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.uint8Array({ maxLength: 60 }), fc.nat(0xffffffff), fc.nat(999))),
      (packets) => {
        const records = packets.map(([bytes, s, ms]) => pcapRecord(bytes, s * 1000 + ms));
        const capture = parsePcap(Buffer.concat([pcapHeader(LINKTYPE_RAW), ...records]));
        assert.equal(capture.linkType, LINKTYPE_RAW);
        assert.equal(capture.truncated, false);
        assert.deepEqual(
          capture.packets.map((p) => [[...p.bytes], p.seconds, p.nanoseconds, p.originalLength]),
          packets.map(([bytes, s, ms]) => [[...bytes], s, ms * 1e6, bytes.length]),
        );
      },
    ),
  );
});

test("takes a file that was cut off, and says what is wrong with others", () => {
  const whole = file(true, 0xa1b2c3d4, 101, [
    [1, 0, new Uint8Array(20)],
    [2, 0, new Uint8Array(20)],
  ]);
  for (let length = 24; length <= whole.length; length++) {
    const capture = parsePcap(whole.subarray(0, length));
    assert.equal(capture.packets.length, length < 60 ? 0 : length < 96 ? 1 : 2);
    assert.equal(capture.truncated, length !== 24 && length !== 60 && length !== 96);
  }
  assert.throws(() => parsePcap(new Uint8Array(10)), /10 bytes are too few/);
  assert.throws(() => parsePcap(new Uint8Array(24)), /begins with 0x00000000/);
  assert.throws(() => parsePcap(file(true, 0x0a0d0d0a, 0, [])), /pcapng/);
  new DataView(whole.buffer).setUint32(24 + 8, 1 << 30, true);
  assert.throws(() => parsePcap(whole), /1073741824 bytes at offset 24/);
});
