// Algorithms: IANA's numbers for IKEv2's transforms, as RFC 9061 has them, and the model's names.
//
// An AEAD's key is the whole key material of RFC 4106, section 8.1, and RFC 7634, section 2: the key, and the salt behind it.

import type { Aead, StaticSa } from "../../config/configuration.js";
import type { EspAlgorithms, SadEntry } from "./entries.js";

type Esp = SadEntry["ipsec-sa-config"]["esp-sa"];
type Keys = Pick<StaticSa, "aead" | "key" | "salt" | "integrity-key">;

interface Suite {
  aead: Aead;
  encryption: number;
  /** Of AES-CBC. */
  integrity?: number;
  /** Where it has but one length; without the salt. */
  keyDigits?: number;
}

/** The first one of those with the same numbers is taken for new SAs. */
const suites: readonly Suite[] = [
  { aead: "aes-gcm-16-icv", encryption: 20 },
  { aead: "aes-256-gcm-16-icv", encryption: 20, keyDigits: 64 },
  { aead: "chacha20-poly1305", encryption: 28 },
  { aead: "aes-cbc-hmac-sha2-256-128", encryption: 12, integrity: 12 },
  { aead: "aes-cbc-hmac-sha2-384-192", encryption: 12, integrity: 13 },
  { aead: "aes-cbc-hmac-sha2-512-256", encryption: 12, integrity: 14 },
];
const SALT_DIGITS = 8;

export const isAead = (encryption: number): boolean =>
  suites.some((suite) => suite.encryption === encryption && suite.integrity === undefined);

const suiteOf = (aead: Aead) => suites.find((suite) => suite.aead === aead) as Suite;

export function espOf(sa: Keys): Esp {
  const { encryption, integrity } = suiteOf(sa.aead);
  return {
    encryption: { "encryption-algorithm": encryption, key: hexString(sa.key + (sa.salt ?? "")) },
    ...(integrity !== undefined && {
      integrity: { "integrity-algorithm": integrity, key: hexString(sa["integrity-key"] ?? "") },
    }),
  };
}

export function algorithmsOf(sa: Keys): EspAlgorithms {
  const { encryption, integrity } = suiteOf(sa.aead);
  const entry = { id: 1, "algorithm-type": encryption, "key-length": sa.key.length * 4 };
  return { ...(integrity !== undefined && { integrity: [integrity] }), encryption: [entry] };
}

/** @param former the SA that is changed, whose name for the same algorithm is kept; undefined for what Vita lacks */
export function keysOf(esp: Esp, former: Keys | undefined): Keys | undefined {
  const { "encryption-algorithm": encryption, key } = esp.encryption;
  const digits = plainDigits(key);
  const integrity = esp.integrity?.["integrity-algorithm"] ?? 12;
  const fitting = suites.filter(
    (suite) =>
      suite.encryption === encryption &&
      (suite.integrity === undefined || suite.integrity === integrity) &&
      (suite.keyDigits === undefined || suite.keyDigits + SALT_DIGITS === digits.length),
  );
  const suite = fitting.find(({ aead }) => aead === former?.aead) ?? fitting[0];
  if (!suite) return undefined;
  const { aead } = suite;
  if (suite.integrity !== undefined) {
    const integrityKey = plainDigits(esp.integrity?.key ?? "");
    return { aead, key: digits, ...(integrityKey !== "" && { "integrity-key": integrityKey }) };
  }
  return { aead, key: digits.slice(0, -SALT_DIGITS), salt: digits.slice(-SALT_DIGITS) };
}

const integrityBytes: Record<number, number> = { 12: 32, 13: 48, 14: 64 };

/** What is wrong with the lengths of the keys of an algorithm that Vita has, and with which of them. */
export function wrongKey({ encryption, integrity }: Esp): { leaf: string; message: string } | undefined {
  const algorithm = encryption["encryption-algorithm"];
  const bytes = (text: string | undefined) => plainDigits(text ?? "").length / 2;
  const lengths = algorithm === 12 ? [16, 24, 32] : algorithm === 28 ? [36] : [20, 28, 36];
  const salt = algorithm === 12 ? "" : ", the last 4 of them its salt";
  if (!lengths.includes(bytes(encryption.key)))
    return { leaf: "encryption/key", message: `must have ${lengths.join(" or ")} bytes${salt}` };
  if (algorithm !== 12) return undefined;
  const wanted = integrityBytes[integrity?.["integrity-algorithm"] ?? 12];
  if (bytes(integrity?.key) === wanted) return undefined;
  return { leaf: "integrity/key", message: `must have ${wanted} bytes` };
}

/** `yang:hex-string`. */
const hexString = (digits: string) => (digits.toLowerCase().match(/../g) ?? []).join(":");
const plainDigits = (text: string) => text.replaceAll(":", "");
