// vici messages: the documentation's own example, everything there and back, and what is not a message.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeMessage,
  encodeMessage,
  type ViciFields,
  ViciFormatError,
  type ViciSection,
} from "./vici-message.js";

/** A section as the fields that it was made of; values as Base64. */
function plain(section: ViciSection): unknown {
  return {
    values: Object.fromEntries([...section.values].map(([name, value]) => [name, value.toString("base64")])),
    lists: Object.fromEntries(
      [...section.lists].map(([name, items]) => [name, items.map((item) => item.toString("base64"))]),
    ),
    sections: Object.fromEntries([...section.sections].map(([name, inner]) => [name, plain(inner)])),
  };
}

test("encodes the example of the protocol's description", () => {
  const message = encodeMessage({
    key1: "value1",
    section1: { "sub-section": { key2: "value2" }, list1: ["item1", "item2"], left: undefined },
  });
  const bytes = (text: string) => [...Buffer.from(text)];
  const expected = [
    ...[3, 4, ...bytes("key1"), 0, 6, ...bytes("value1")],
    ...[1, 8, ...bytes("section1"), 1, 11, ...bytes("sub-section")],
    ...[3, 4, ...bytes("key2"), 0, 6, ...bytes("value2"), 2],
    ...[4, 5, ...bytes("list1"), 5, 0, 5, ...bytes("item1"), 5, 0, 5, ...bytes("item2"), 6, 2],
  ];
  assert.deepEqual([...message], expected);
  const decoded = decodeMessage(message);
  assert.equal(decoded.text("key1"), "value1");
  assert.deepEqual(decoded.section("section1").texts("list1"), ["item1", "item2"]);
  assert.equal(decoded.section("section1").section("sub-section").text("key2"), "value2");
  assert.equal(decoded.section("none").text("key2"), undefined);
});

const name = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme-ascii" });
const value = fc.uint8Array({ maxLength: 300 });
const { fields } = fc.letrec<{ fields: ViciFields; field: ViciFields[string] }>((tie) => ({
  fields: fc.dictionary(name, tie("field"), { maxKeys: 5, noNullPrototype: false }),
  field: fc.oneof({ maxDepth: 4 }, value, fc.array(value, { maxLength: 4 }), tie("fields")),
}));

function expected(input: ViciFields): unknown {
  const base64 = (bytes: unknown) => Buffer.from(bytes as Uint8Array).toString("base64");
  const entries = Object.entries(input);
  return {
    values: Object.fromEntries(
      entries.filter(([, f]) => f instanceof Uint8Array).map(([key, f]) => [key, base64(f)]),
    ),
    lists: Object.fromEntries(
      entries.filter(([, f]) => Array.isArray(f)).map(([key, f]) => [key, (f as Uint8Array[]).map(base64)]),
    ),
    sections: Object.fromEntries(
      entries
        .filter(([, f]) => !(f instanceof Uint8Array) && !Array.isArray(f))
        .map(([key, f]) => [key, expected(f as ViciFields)]),
    ),
  };
}

test("brings every message there and back", () => {
  fc.assert(
    fc.property(fields, (input) => {
      assert.deepEqual(plain(decodeMessage(encodeMessage(input))), expected(input));
    }),
  );
});

test("reads no message beyond its end, whatever the bytes", () => {
  fc.assert(
    fc.property(fields, fc.nat(), fc.nat(255), (input, at, byte) => {
      const message = Buffer.from(encodeMessage(input));
      if (message.length > 0) message[at % message.length] = byte;
      for (const bytes of [message, message.subarray(0, at % (message.length + 1))]) {
        try {
          decodeMessage(bytes);
        } catch (error) {
          assert(error instanceof ViciFormatError);
        }
      }
    }),
  );
});

for (const [what, bytes, reason] of [
  ["a value that is cut off", [3, 1, 97, 0, 9, 98], /ends in the middle/],
  ["a section without its end", [1, 1, 97], /ends in the middle/],
  ["an end without its section", [2], /element 2 stands where none can/],
  ["a value in a list", [4, 1, 97, 3, 1, 97, 0, 0, 6], /element 3 stands in a list/],
  ["an item outside of a list", [5, 0, 0], /element 5 stands where none can/],
  ["an element of no type", [77], /element 77/],
  ["a name that is no text", [3, 1, 7, 0, 0], /not printable/],
  [
    "too many sections in each other",
    Array.from({ length: 100 }, () => [1, 1, 97]).flat(),
    /more than 16 sections/,
  ],
] as const)
  test(`refuses ${what}`, () => {
    assert.throws(() => decodeMessage(Buffer.from(bytes)), reason);
  });

test("names like those of JavaScript's own objects are names like others", () => {
  const message = Buffer.from([3, 9, ...Buffer.from("__proto__"), 0, 1, 65]);
  assert.equal(decodeMessage(message).text("__proto__"), "A");
  assert.equal(decodeMessage(message).text("toString"), undefined);
});

test("refuses to send what is too long, and does not repeat it", () => {
  const secret = "s3cret".repeat(12_000);
  assert.throws(() => encodeMessage({ data: secret }), {
    name: "ViciFormatError",
    message: 'the value of "data" has 72000 bytes, but at most 65535 can be sent',
  });
  assert.throws(() => encodeMessage({ ["n".repeat(256)]: "" }), /must have 1 to 255 bytes/);
  assert.throws(() => encodeMessage({ list: Array(10).fill("x".repeat(60_000)) }), /at most 524288 bytes/);
});
