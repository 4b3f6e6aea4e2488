// A train says of a header what a look at the whole header says, or that the header is none of its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decrementTtl, isChecksumRight, ttlCountedDown } from "./ipv4.js";
import { Ipv4Train, ipv4Length } from "./ipv4-train.js";

const header = fc.record({
  first: fc.constantFrom(0x4500, 0x4502, 0x4600, 0x6500, 0x0000),
  length: fc.integer({ min: 0, max: 0xffff }),
  second: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
  third: fc.constantFrom(0x4011, 0x4006, 0x0111, 0x0011),
  source: fc.constantFrom(0x0a000001, 0x0a000002, 0xffffffff),
  destination: fc.constantFrom(0xac100001, 0xac100002, 0),
  /** Added to the right checksum. */
  wrong: fc.constantFrom(0, 0, 0, 1, 0x100, 0xffff),
});
type Header = typeof header extends fc.Arbitrary<infer T> ? T : never;

function write(view: DataView, at: number, fields: Header): void {
  view.setUint16(at, fields.first);
  view.setUint16(at + 2, fields.length);
  view.setInt32(at + 4, fields.second);
  view.setUint16(at + 8, fields.third);
  view.setUint16(at + 10, 0);
  view.setUint32(at + 12, fields.source);
  view.setUint32(at + 16, fields.destination);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(at + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at + 10, (~sum & 0xffff) ^ fields.wrong);
}

test("headers that continue a train have its fields, and their checksum is judged rightly", () => {
  let continued = 0;
  fc.assert(
    fc.property(header, header, fc.boolean(), fc.integer({ min: 0, max: 6 }), (a, other, alike, at) => {
      const { first: version, third: protocol, source, destination } = a;
      const b = alike ? { ...other, first: version, third: protocol, source, destination } : other;
      const view = new DataView(new ArrayBuffer(32));
      const train = new Ipv4Train();
      write(view, at, b);
      const words = () => [0, 4, 8, 12, 16].map((word) => view.getInt32(at + word, true));
      const continues = () => {
        const [first, , third, source, destination] = words();
        return train.continues(first, third, source, destination);
      };
      assert.ok(!continues(), "nothing has begun");
      write(view, at, a);
      const begun = words();
      train.begin(begun[0], begun[2], begun[3], begun[4]);
      write(view, at, b);
      const [first, second, third] = words();
      const same =
        a.first === b.first &&
        a.third === b.third &&
        a.source === b.source &&
        a.destination === b.destination;
      assert.equal(continues(), same);
      if (!same) return;
      continued++;
      assert.equal(train.isChecksumRight(first, second, third), isChecksumRight(view, at, 20));
      train.end();
      assert.ok(!continues(), "it has ended");
    }),
    { numRuns: 1000 },
  );
  assert.ok(continued > 300, `${continued} of 1000`);
});

test("a header whose TTL is counted down keeps a right checksum, and a wrong one stays wrong", () => {
  fc.assert(
    fc.property(header, (fields) => {
      const view = new DataView(new ArrayBuffer(20));
      write(view, 0, fields);
      const right = isChecksumRight(view, 0, 20);
      const word = ttlCountedDown(view.getInt32(8, true));
      if (!decrementTtl(view, 0, true)) return;
      assert.equal(view.getInt32(8, true), word);
      assert.equal(isChecksumRight(view, 0, 20), right);
    }),
  );
});

test("TTL and protocol are as they should be, with every checksum that a header can have", () => {
  const view = new DataView(new ArrayBuffer(20));
  for (let checksum = 0; checksum <= 0xffff; checksum++) {
    view.setUint32(8, 0x40110000 | checksum);
    const sum = checksum + 0x100;
    const next = sum >= 0xffff ? (sum + 1) & 0xffff : sum;
    view.setInt32(8, ttlCountedDown(view.getInt32(8, true)), true);
    assert.equal(view.getUint32(8), 0x3f110000 | next);
  }
});

test("the length is read from a first word as it lies in memory", () => {
  const view = new DataView(new ArrayBuffer(4));
  for (const length of [0, 1, 20, 255, 256, 1500, 0x8001, 0xffff]) {
    view.setUint32(0, 0x45b80000 + length);
    assert.equal(ipv4Length(view.getInt32(0, true)), length);
  }
});
