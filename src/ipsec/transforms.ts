// The IKEv2 transforms (RFC 7296 §3.3.2, IANA) that ESP packets can be protected with, and names for messages to people.

import type { AddSaRequest } from "./kernel.js";

export const ENCR_AES_CBC = 12;
export const ENCR_AES_GCM_16 = 20;
export const ENCR_CHACHA20_POLY1305 = 28;

/** Behind the keys of the AEADs (RFC 4106 §8.1, RFC 7634 §2). */
export const SALT_BYTES = 4;

const AES_KEYS = [16, 24, 32];
const CHACHA20_KEYS = [32];
/** "No integrity transform": AEADs bring their own. */
const INTEGRITY_NONE = [0, 1024];

/** An integrity transform that goes with AES-CBC (RFC 2404, RFC 4868). */
interface Hmac {
  /** In charon's words. */
  name: string;
  keyBytes: number;
  icvBytes: number;
}

const hmacs: Record<number, Hmac> = {
  2: { name: "sha1", keyBytes: 20, icvBytes: 12 },
  12: { name: "sha256", keyBytes: 32, icvBytes: 16 },
  13: { name: "sha384", keyBytes: 48, icvBytes: 24 },
  14: { name: "sha512", keyBytes: 64, icvBytes: 32 },
};

/** By integrity transform: bytes of its ICV. */
export const hmacIcvBytes = Uint8Array.from({ length: 16 }, (_, i) => hmacs[i]?.icvBytes ?? 0);

/** By integrity transform: bytes of its key. */
export const hmacKeyBytes = Uint8Array.from({ length: 16 }, (_, i) => hmacs[i]?.keyBytes ?? 0);

/** By integrity transform: the name of its hash, for OpenSSL as well. */
export function hashName(integrity: number): string {
  return hmacs[integrity]?.name ?? "";
}

const encryptionNames: Record<number, string> = {
  3: "3DES-CBC",
  7: "Blowfish-CBC",
  11: "NULL encryption",
  12: "AES-CBC",
  13: "AES-CTR",
  14: "AES-CCM with an 8-byte ICV",
  15: "AES-CCM with a 12-byte ICV",
  16: "AES-CCM with a 16-byte ICV",
  18: "AES-GCM with an 8-byte ICV",
  19: "AES-GCM with a 12-byte ICV",
  20: "AES-GCM",
  21: "AES-GMAC",
  23: "Camellia-CBC",
  28: "ChaCha20-Poly1305",
};

/** From 1024 on they are strongSwan's own. */
const integrityNames: Record<number, string> = {
  1: "HMAC-MD5-96",
  2: "HMAC-SHA-1-96",
  5: "AES-XCBC-96",
  6: "HMAC-MD5-128",
  7: "HMAC-SHA-1-160",
  8: "AES-CMAC-96",
  9: "AES-GMAC",
  10: "AES-GMAC",
  11: "AES-GMAC",
  12: "HMAC-SHA-256-128",
  13: "HMAC-SHA-384-192",
  14: "HMAC-SHA-512-256",
};
const HMAC_SHA256_96 = 1026;

const PROPOSALS =
  "set esp_proposals to aesNgcm16, chacha20poly1305, or aesN with sha256, sha384, sha512 or sha1 (N: 128, 192 or 256)";

/** Why packets cannot be protected with an SA's transforms and keys; undefined when they can. Never tells key material. */
export function refuseTransforms(
  request: Pick<AddSaRequest, "encryption" | "encryptionKey" | "integrity" | "integrityKey">,
): string | undefined {
  const { encryption, encryptionKey, integrity, integrityKey } = request;
  const name = encryptionNames[encryption] ?? `encryption transform ${encryption}`;
  if (encryption === ENCR_AES_CBC) {
    if (!AES_KEYS.includes(encryptionKey.length))
      return `AES-CBC keys have 16, 24 or 32 bytes, not ${encryptionKey.length}`;
    return refuseIntegrity(integrity, integrityKey.length);
  }
  const keys = { [ENCR_AES_GCM_16]: AES_KEYS, [ENCR_CHACHA20_POLY1305]: CHACHA20_KEYS }[encryption];
  if (keys === undefined) return `${name} is not supported: ${PROPOSALS}`;
  if (!keys.includes(encryptionKey.length - SALT_BYTES)) {
    const lengths = keys.map((length) => length + SALT_BYTES).join(", ");
    return `${name} keys have ${lengths} bytes with their salt, not ${encryptionKey.length}`;
  }
  if (!INTEGRITY_NONE.includes(integrity) || integrityKey.length > 0)
    return `integrity transform ${integrity} cannot be combined with ${name}`;
  return undefined;
}

function refuseIntegrity(integrity: number, keyLength: number): string | undefined {
  if (integrity === HMAC_SHA256_96) return "HMAC-SHA-256 cut to 96 bits is not supported: set sha256_96 = no";
  if (INTEGRITY_NONE.includes(integrity)) return `AES-CBC without integrity is not secure: ${PROPOSALS}`;
  const name = integrityNames[integrity] ?? `integrity transform ${integrity}`;
  const hmac = hmacs[integrity];
  if (hmac === undefined) return `${name} is not supported: ${PROPOSALS}`;
  if (keyLength !== hmac.keyBytes) return `${name} keys have ${hmac.keyBytes} bytes, not ${keyLength}`;
  return undefined;
}

/** What charon calls an SA's algorithms in its configuration. @param keyLength bytes, without salt */
export function proposalName(encryption: number, keyLength: number, integrity: number): string {
  if (encryption === ENCR_AES_CBC) return `aes${8 * keyLength}-${hashName(integrity)}`;
  return encryption === ENCR_CHACHA20_POLY1305 ? "chacha20poly1305" : `aes${8 * keyLength}gcm16`;
}
