import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fold, pseudoHeader6, sum16 } from "./checksum.js";
import { turnIntoEchoReply4, turnIntoEchoReply6 } from "./icmp-echo.js";
import { writeIpv6 } from "./ipv6.js";

const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

test("an IPv4 echo request becomes a reply with the same content and right checksums", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      octets(8),
      fc.integer({ min: 1, max: 255 }),
      (data, ends, ttl) => {
        const bytes = new Uint8Array(28 + data.length);
        const view = new DataView(bytes.buffer);
        view.setUint32(0, 0x45000000 | bytes.length);
        view.setUint16(8, (ttl << 8) | 1);
        bytes.set(ends, 12);
        view.setUint16(10, fold(sum16(view, 0, 20, 0)));
        view.setUint32(20, 0x08000000);
        view.setUint32(24, 0x12340007);
        bytes.set(data, 28);
        view.setUint16(22, fold(sum16(view, 20, 8 + data.length, 0)));
        turnIntoEchoReply4(view, 0);
        assert.equal(fold(sum16(view, 0, 20, 0)), 0);
        assert.equal(fold(sum16(view, 20, 8 + data.length, 0)), 0);
        assert.deepEqual([bytes[8], bytes[20]], [64, 0]);
        assert.deepEqual([...bytes.subarray(12, 20)], [...ends.subarray(4), ...ends.subarray(0, 4)]);
        assert.deepEqual(bytes.subarray(28), data);
      },
    ),
  );
});

test("an IPv6 echo request becomes a reply with the same content and a right checksum", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), octets(32), (data, ends) => {
      const bytes = new Uint8Array(48 + data.length);
      const view = new DataView(bytes.buffer);
      const length = 8 + data.length;
      writeIpv6(view, bytes, 0, ends.subarray(0, 16), ends.subarray(16), 58, 3, length);
      view.setUint32(40, 0x80000000);
      bytes.set(data, 48);
      view.setUint16(42, fold(sum16(view, 40, length, pseudoHeader6(view, 0, 58, length))));
      turnIntoEchoReply6(view, 0);
      assert.equal(fold(sum16(view, 40, length, pseudoHeader6(view, 0, 58, length))), 0);
      assert.deepEqual([bytes[7], bytes[40]], [64, 129]);
      assert.deepEqual([...bytes.subarray(8, 40)], [...ends.subarray(16), ...ends.subarray(0, 16)]);
    }),
  );
});
