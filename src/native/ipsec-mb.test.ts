// The offsets in ipsec-mb.ts, compared with what the C compiler says of the installed header.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  CIPHER_CBC,
  CIPHER_CHACHA20_POLY1305,
  CIPHER_GCM,
  DIRECTION_DECRYPT,
  DIRECTION_ENCRYPT,
  GCM_KEY_DATA_SIZE,
  HASH_CHACHA20_POLY1305,
  HASH_GCM,
  HASH_HMAC_SHA1,
  HASH_HMAC_SHA256,
  HASH_HMAC_SHA384,
  HASH_HMAC_SHA512,
  JOB,
  MANAGER,
  MAX_BURST,
  MAX_JOBS,
  ORDER_CIPHER_HASH,
  ORDER_HASH_CIPHER,
  STATUS_COMPLETED,
} from "./ipsec-mb.js";

const job: Record<keyof typeof JOB, string> = {
  size: "sizeof(IMB_JOB)",
  encKeys: "offsetof(IMB_JOB, enc_keys)",
  decKeys: "offsetof(IMB_JOB, dec_keys)",
  keyLength: "offsetof(IMB_JOB, key_len_in_bytes)",
  src: "offsetof(IMB_JOB, src)",
  dst: "offsetof(IMB_JOB, dst)",
  cipherOffset: "offsetof(IMB_JOB, cipher_start_src_offset_in_bytes)",
  cipherLength: "offsetof(IMB_JOB, msg_len_to_cipher_in_bytes)",
  hashOffset: "offsetof(IMB_JOB, hash_start_src_offset_in_bytes)",
  hashLength: "offsetof(IMB_JOB, msg_len_to_hash_in_bytes)",
  iv: "offsetof(IMB_JOB, iv)",
  ivLength: "offsetof(IMB_JOB, iv_len_in_bytes)",
  tag: "offsetof(IMB_JOB, auth_tag_output)",
  tagLength: "offsetof(IMB_JOB, auth_tag_output_len_in_bytes)",
  aad: "offsetof(IMB_JOB, u.GCM.aad)",
  aadLength: "offsetof(IMB_JOB, u.GCM.aad_len_in_bytes)",
  hmacInner: "offsetof(IMB_JOB, u.HMAC._hashed_auth_key_xor_ipad)",
  hmacOuter: "offsetof(IMB_JOB, u.HMAC._hashed_auth_key_xor_opad)",
  status: "offsetof(IMB_JOB, status)",
  cipherMode: "offsetof(IMB_JOB, cipher_mode)",
  direction: "offsetof(IMB_JOB, cipher_direction)",
  hashAlgorithm: "offsetof(IMB_JOB, hash_alg)",
  chainOrder: "offsetof(IMB_JOB, chain_order)",
};

const manager: Record<keyof typeof MANAGER, string> = {
  size: "sizeof(IMB_MGR)",
  keyExpansion128: "offsetof(IMB_MGR, keyexp_128)",
  keyExpansion192: "offsetof(IMB_MGR, keyexp_192)",
  keyExpansion256: "offsetof(IMB_MGR, keyexp_256)",
  sha1Block: "offsetof(IMB_MGR, sha1_one_block)",
  sha256Block: "offsetof(IMB_MGR, sha256_one_block)",
  sha384Block: "offsetof(IMB_MGR, sha384_one_block)",
  sha512Block: "offsetof(IMB_MGR, sha512_one_block)",
  gcm128Pre: "offsetof(IMB_MGR, gcm128_pre)",
  gcm192Pre: "offsetof(IMB_MGR, gcm192_pre)",
  gcm256Pre: "offsetof(IMB_MGR, gcm256_pre)",
  getNextBurst: "offsetof(IMB_MGR, get_next_burst)",
  submitBurst: "offsetof(IMB_MGR, submit_burst)",
  submitBurstNocheck: "offsetof(IMB_MGR, submit_burst_nocheck)",
  flushBurst: "offsetof(IMB_MGR, flush_burst)",
  earliestJob: "offsetof(IMB_MGR, earliest_job)",
  nextJob: "offsetof(IMB_MGR, next_job)",
  jobs: "offsetof(IMB_MGR, jobs)",
};

const expected: [string, number][] = [
  ...Object.entries(job).map(([name, text]): [string, number] => [text, JOB[name as keyof typeof JOB]]),
  ...Object.entries(manager).map(([name, text]): [string, number] => [
    text,
    MANAGER[name as keyof typeof MANAGER],
  ]),
  ["IMB_CIPHER_CBC", CIPHER_CBC],
  ["IMB_CIPHER_GCM", CIPHER_GCM],
  ["IMB_CIPHER_CHACHA20_POLY1305", CIPHER_CHACHA20_POLY1305],
  ["IMB_AUTH_HMAC_SHA_1", HASH_HMAC_SHA1],
  ["IMB_AUTH_HMAC_SHA_256", HASH_HMAC_SHA256],
  ["IMB_AUTH_HMAC_SHA_384", HASH_HMAC_SHA384],
  ["IMB_AUTH_HMAC_SHA_512", HASH_HMAC_SHA512],
  ["IMB_AUTH_AES_GMAC", HASH_GCM],
  ["IMB_AUTH_CHACHA20_POLY1305", HASH_CHACHA20_POLY1305],
  // What one CHACHA20_POLY1305 job shares with one of AES-GCM.
  ["offsetof(IMB_JOB, u.CHACHA20_POLY1305.aad)", JOB.aad],
  ["offsetof(IMB_JOB, u.CHACHA20_POLY1305.aad_len_in_bytes)", JOB.aadLength],
  ["IMB_DIR_ENCRYPT", DIRECTION_ENCRYPT],
  ["IMB_DIR_DECRYPT", DIRECTION_DECRYPT],
  ["IMB_ORDER_CIPHER_HASH", ORDER_CIPHER_HASH],
  ["IMB_ORDER_HASH_CIPHER", ORDER_HASH_CIPHER],
  ["IMB_STATUS_COMPLETED", STATUS_COMPLETED],
  ["IMB_MAX_JOBS", MAX_JOBS],
  ["IMB_MAX_BURST_SIZE", MAX_BURST],
  ["sizeof(struct gcm_key_data)", GCM_KEY_DATA_SIZE],
];

test("offsets and numbers are those of the installed libIPSec_MB", () => {
  const directory = mkdtempSync(join(tmpdir(), "vita-ipsec-mb-"));
  try {
    const prints = expected.map(([text]) => `  printf("%zu\\n", (size_t)(${text}));`).join("\n");
    const source = join(directory, "print.c");
    writeFileSync(
      source,
      `#include <intel-ipsec-mb.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n${prints}\n  return 0;\n}\n`,
    );
    execFileSync("gcc", ["-w", source, "-o", join(directory, "print")]);
    const lines = execFileSync(join(directory, "print"), { encoding: "utf8" }).trim().split("\n").map(Number);
    expected.forEach(([text, value], i) => {
      assert.equal(value, lines[i], text);
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
