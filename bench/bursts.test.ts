// The bench `bursts` measures what it says: real encryption, and lanes that are full in bursts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ipsecMbUnavailable } from "../src/native/ipsec-mb.js";
import { compareBursts } from "./bursts.js";
import { EngineCeiling } from "./engine-cipher.js";

const skip = ipsecMbUnavailable() ?? false;

test("in bursts a packet of AES-CBC costs a fraction of what it costs alone", { skip }, () => {
  const { rows, gain, ofGcm, verified } = compareBursts(["aes128gcm16", "aes128-sha256"], ["60", "IMIX"]);
  assert.ok(verified);
  assert.equal(rows.length, 2 * 2 * 4);
  // It is 8 to 16 times with wide registers; four lanes of the narrowest ones would do for this.
  for (const size of ["60", "IMIX"]) assert.ok(gain[`aes128-sha256/${size}`] > 1.5, JSON.stringify(gain));
  assert.ok(Object.values(ofGcm).every((ratio) => ratio > 0));
});

test("the library alone, with a cipher of one's own choice", { skip }, () => {
  const ceiling = new EngineCeiling("aes128-sha256", "IMIX");
  try {
    const { packets, nanoseconds } = ceiling.send(2000);
    assert.ok(packets >= 2000 && nanoseconds > 0);
    assert.ok(ceiling.verify());
  } finally {
    ceiling.close();
  }
});
