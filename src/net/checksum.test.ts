import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  finishChecksum,
  fold,
  pseudoHeader4,
  pseudoHeader6,
  sum16,
  sumPayload,
  update16,
} from "./checksum.js";

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** RFC 1071 §4.1, word for word. */
function reference(bytes: Uint8Array): number {
  let sum = 0n;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += BigInt((bytes[i] << 8) | bytes[i + 1]);
  if (bytes.length % 2 === 1) sum += BigInt(bytes[bytes.length - 1] << 8);
  while (sum >> 16n) sum = (sum & 0xffffn) + (sum >> 16n);
  return Number(~sum & 0xffffn);
}

test("the example of RFC 1071 §3", () => {
  const view = viewOf(hex("0001 f203 f4f5 f6f7"));
  assert.equal(fold(sum16(view, 0, 8, 0)), ~0xddf2 & 0xffff);
});

test("an IPv4 header from the wire", () => {
  const view = viewOf(hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7"));
  assert.equal(fold(sum16(view, 0, 20, 0)), 0);
  view.setUint16(10, 0);
  assert.equal(fold(sum16(view, 0, 20, 0)), 0xb861);
});

test("equals the reference for any bytes at any offset, the largest packet included", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(7), (bytes, lead) => {
      const padded = new Uint8Array(lead + bytes.length + 3).fill(0xa5);
      padded.set(bytes, lead);
      assert.equal(fold(sum16(viewOf(padded), lead, bytes.length, 0)), reference(bytes));
      assert.equal(fold(sumPayload(viewOf(padded), lead, bytes.length)), reference(bytes));
    }),
  );
  const largest = new Uint8Array(65535).fill(0xff);
  assert.equal(fold(sum16(viewOf(largest), 0, 65535, 0)), reference(largest));
  assert.equal(fold(sumPayload(viewOf(largest), 0, 65535)), reference(largest));
});

test("folds sums up to 2^53", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (sum) => {
      let expected = sum;
      while (expected > 0xffff) expected = (expected % 0x10000) + Math.floor(expected / 0x10000);
      assert.equal(fold(sum), ~expected & 0xffff);
    }),
  );
});

test("an incremental update gives what counting anew gives", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 20, maxLength: 20 }),
      fc.nat(4),
      fc.nat(0xffff),
      (bytes, word, short) => {
        bytes[0] = 0x45; // a header is never all zero, the one case in which the two differ (RFC 1624 §3)
        const view = viewOf(bytes);
        const before = fold(sum16(view, 0, 20, 0));
        const at = 4 + 2 * word;
        const oldShort = view.getUint16(at);
        view.setUint16(at, short);
        assert.equal(update16(before, oldShort, short), fold(sum16(view, 0, 20, 0)));
      },
    ),
  );
});

test("pseudo-headers: UDP over IPv4 and ICMPv6 over IPv6", () => {
  const udp = hex("4500 0020 0000 0000 4011 0000 0a000001 0a000002 1234 0035 000c 0000 61626364");
  const udpBytes = Uint8Array.from([...udp.subarray(12, 20), 0, 17, 0, 12, ...udp.subarray(20)]);
  assert.equal(fold(sum16(viewOf(udp), 20, 12, pseudoHeader4(viewOf(udp), 0, 17, 12))), reference(udpBytes));

  // Neighbour solicitation as a kernel sent it.
  const solicitation = hex(
    "6000000000203aff fe80000000000000 02005efffe000001 ff02000000000000 00000001ff000002" +
      "8700000000000000 fe80000000000000 02005efffe000002 0101 020000000001",
  );
  const pseudo = Uint8Array.from([...solicitation.subarray(8, 40), 0, 0, 0, 32, 0, 0, 0, 58]);
  assert.equal(
    fold(sum16(viewOf(solicitation), 40, 32, pseudoHeader6(viewOf(solicitation), 0, 58, 32))),
    reference(Uint8Array.from([...pseudo, ...solicitation.subarray(40)])),
  );
});

test("finishes a partial checksum, and never writes the zero that means none", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 64 }), (payload) => {
      const packet = new Uint8Array(20 + payload.length);
      packet.set(hex("4500 0000 0000 0000 4011 0000 0a000001 0a000002"));
      packet.set(payload, 20);
      const view = viewOf(packet);
      const pseudo = pseudoHeader4(view, 0, 17, payload.length);
      view.setUint16(26, ~fold(pseudo) & 0xffff);
      finishChecksum(view, 20, packet.length, 26);
      assert.notEqual(view.getUint16(26), 0);
      assert.equal(fold(sum16(view, 20, payload.length, pseudo)), 0);
    }),
  );
});
