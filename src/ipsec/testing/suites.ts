// Every set of transforms that an SA can have, for tests.

import { keyOf, type SaOptions } from "./requests.js";

/** Transforms with the lengths of their keys, salt included. */
export interface Suite {
  name: string;
  encryption: number;
  keyLength: number;
  integrity: number;
  integrityKeyLength: number;
}

const hmacs: [string, number, number][] = [
  ["sha1", 2, 20],
  ["sha256", 12, 32],
  ["sha384", 13, 48],
  ["sha512", 14, 64],
];

/** All that charon can ask for. */
export const suites: Suite[] = [
  ...[16, 24, 32].map((length) => ({
    name: `aes${8 * length}gcm16`,
    encryption: 20,
    keyLength: length + 4,
    integrity: 1024,
    integrityKeyLength: 0,
  })),
  { name: "chacha20poly1305", encryption: 28, keyLength: 36, integrity: 1024, integrityKeyLength: 0 },
  ...[16, 24, 32].flatMap((length) =>
    hmacs.map(([hash, integrity, integrityKeyLength]) => ({
      name: `aes${8 * length}-${hash}`,
      encryption: 12,
      keyLength: length,
      integrity,
      integrityKeyLength,
    })),
  ),
];

export type SuiteRequest = Required<
  Pick<SaOptions, "encryption" | "encryptionKey" | "integrity" | "integrityKey">
>;

export function suiteOf(name: string): Suite {
  const suite = suites.find((each) => each.name === name);
  if (!suite) throw new Error(`there is no suite ${name}`);
  return suite;
}

/** What an SA request says of a suite; the keys depend on the SPI. */
export function suiteRequest(suite: Suite, spi: number): SuiteRequest {
  return {
    encryption: suite.encryption,
    encryptionKey: keyOf(spi, suite.keyLength),
    integrity: suite.integrity,
    integrityKey: keyOf(spi ^ 0x5a5a, suite.integrityKeyLength),
  };
}
