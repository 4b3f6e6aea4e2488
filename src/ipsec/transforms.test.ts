// Which transforms and keys an SA can have, and what is said of others.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { AddSaRequest } from "./kernel.js";
import { suiteRequest, suites } from "./testing/suites.js";
import { proposalName, refuseTransforms, SALT_BYTES } from "./transforms.js";

const GCM = 20;
const CBC = 12;
const CHACHA20 = 28;

type Transforms = Pick<AddSaRequest, "encryption" | "encryptionKey" | "integrity" | "integrityKey">;

function transforms(
  encryption: number,
  keyLength: number,
  integrity = 1024,
  integrityKeyLength = 0,
): Transforms {
  const key = (length: number) => new Uint8Array(length).fill(0xd7);
  return { encryption, encryptionKey: key(keyLength), integrity, integrityKey: key(integrityKeyLength) };
}

test("each suite is accepted, and is called what charon calls it", () => {
  for (const suite of suites) {
    assert.equal(refuseTransforms(suiteRequest(suite, 1)), undefined, suite.name);
    const { encryption, keyLength, integrity, name } = suite;
    assert.equal(
      proposalName(encryption, keyLength - (encryption === CBC ? 0 : SALT_BYTES), integrity),
      name,
    );
  }
});

const set = "set esp_proposals to aesNgcm16";
const refused: [Transforms, string][] = [
  [transforms(GCM, 19), "AES-GCM keys have 20, 28, 36 bytes with their salt, not 19"],
  [transforms(GCM, 16), "not 16"],
  [transforms(GCM, 20, 12, 32), "integrity transform 12 cannot be combined with AES-GCM"],
  [transforms(GCM, 20, 1024, 32), "integrity transform 1024 cannot be combined with AES-GCM"],
  [transforms(CHACHA20, 32), "ChaCha20-Poly1305 keys have 36 bytes with their salt, not 32"],
  [transforms(CHACHA20, 36, 2, 20), "integrity transform 2 cannot be combined with ChaCha20-Poly1305"],
  [transforms(CBC, 20, 12, 32), "AES-CBC keys have 16, 24 or 32 bytes, not 20"],
  [transforms(CBC, 16), `AES-CBC without integrity is not secure: ${set}`],
  [transforms(CBC, 16, 0), "AES-CBC without integrity is not secure"],
  [transforms(CBC, 16, 12, 31), "HMAC-SHA-256-128 keys have 32 bytes, not 31"],
  // Longer than the slot has room for.
  [transforms(CBC, 16, 14, 128), "HMAC-SHA-512-256 keys have 64 bytes, not 128"],
  [transforms(CBC, 16, 1026, 32), "HMAC-SHA-256 cut to 96 bits is not supported: set sha256_96 = no"],
  [transforms(CBC, 16, 5, 16), `AES-XCBC-96 is not supported: ${set}`],
  [transforms(CBC, 16, 1, 16), `HMAC-MD5-96 is not supported: ${set}`],
  [transforms(CBC, 16, 77, 16), `integrity transform 77 is not supported: ${set}`],
  [transforms(11, 0, 12, 32), `NULL encryption is not supported: ${set}`],
  [transforms(3, 24, 2, 20), `3DES-CBC is not supported: ${set}`],
  [transforms(19, 20), `AES-GCM with a 12-byte ICV is not supported: ${set}`],
  [transforms(99, 20), `encryption transform 99 is not supported: ${set}`],
];
for (const [request, reason] of refused)
  test(`refused: ${reason}`, () => {
    const told = refuseTransforms(request) ?? "";
    assert.ok(told.includes(reason), told);
    assert.ok(!/d7|215/.test(told), "nothing of a key");
  });
