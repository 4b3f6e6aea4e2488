import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LocalAddresses } from "./local-addresses.js";

test("behaves like a set of addresses, also where IPv6 addresses have the same sum", () => {
  const byte = fc.constantFrom(0, 1, 2, 255);
  const words = fc.array(byte, { minLength: 4, maxLength: 4 });
  const address = fc.oneof(
    words,
    words.map((word) => [...word, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    words.map((word) => [0, 0, 0, 0, 0, 0, 0, 0, ...word, 0, 0, 0, 0]),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(address, fc.boolean())), address, (changes, asked) => {
      const set = new LocalAddresses();
      const model = new Set<string>();
      for (const [bytes, present] of changes) {
        set.set(Uint8Array.from(bytes), present);
        if (present) model.add(bytes.join());
        else model.delete(bytes.join());
      }
      for (const bytes of [...changes.map(([changed]) => changed), asked]) {
        const packet = Uint8Array.from([9, 9, ...bytes]);
        const view = new DataView(packet.buffer);
        const found = bytes.length === 4 ? set.has4(view, 2) : set.has6(view, packet, 2);
        assert.equal(found, model.has(bytes.join()));
      }
    }),
  );
});
