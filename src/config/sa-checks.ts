// Static SAs: keys must fit their algorithms, and no key may be used, with one salt, by two SAs. Nothing here tells a key.

import type { Aead, Configuration, StaticSa } from "./configuration.js";
import { entryAt, type Tell } from "./tell.js";

/** Lengths of keys in bytes; for AES-CBC, of the HMAC's key too. */
const algorithms: Record<Aead, { keys: readonly number[]; integrityKey?: number }> = {
  "aes-gcm-16-icv": { keys: [16, 24, 32] },
  "aes-256-gcm-16-icv": { keys: [32] },
  "chacha20-poly1305": { keys: [32] },
  "aes-cbc-hmac-sha2-256-128": { keys: [16, 24, 32], integrityKey: 32 },
  "aes-cbc-hmac-sha2-384-192": { keys: [16, 24, 32], integrityKey: 48 },
  "aes-cbc-hmac-sha2-512-256": { keys: [16, 24, 32], integrityKey: 64 },
};

export function checkStaticSas(configuration: Configuration, tell: Tell): void {
  const used = new Map<string, string>();
  for (const list of ["inbound-sa", "outbound-sa"] as const)
    for (const sa of configuration[list]) checkSa(sa, entryAt(list, "spi", sa.spi), used, tell);
}

/** @param used where each key with its salt was seen first */
function checkSa(sa: StaticSa, at: string, used: Map<string, string>, tell: Tell): void {
  const { aead, key, salt, "integrity-key": integrityKey } = sa;
  const { keys, integrityKey: integrityLength } = algorithms[aead];
  const length = key.length / 2;
  if (!keys.includes(length))
    tell(
      `${at}/key`,
      `has ${length} bytes, and ${aead} takes ${keys.join(", ").replace(/, (\d+)$/, " or $1")}`,
    );
  if (integrityLength === undefined) {
    if (salt === undefined) tell(`${at}/salt`, `is missing, and ${aead} needs it`);
  } else if (salt !== undefined) tell(`${at}/salt`, `has no use: ${aead} has no salt`);
  else if (integrityKey === undefined) tell(`${at}/integrity-key`, `is missing, and ${aead} needs it`);
  else if (integrityKey.length / 2 !== integrityLength)
    tell(`${at}/integrity-key`, `has ${integrityKey.length / 2} bytes, and ${aead} takes ${integrityLength}`);
  // RFC 4106, section 3: two packets with one key and one nonce give both away, and two SAs count through the same nonces.
  // Those of AES-CBC have no nonce in common, but one line in the file of sequence marks.
  const material = `${key}/${salt ?? ""}`.toLowerCase();
  const other = used.get(material);
  if (other !== undefined)
    tell(`${at}/key`, `is already at ${other}/key${salt === undefined ? "" : ", with the same salt"}`);
  used.set(material, at);
}
