// The ciphers that softbench and crypto can be run with, under the names that swanctl.conf has for them, in charon's numbers.

import { suites } from "../src/ipsec/testing/suites.js";

export interface Cipher {
  readonly name: string;
  /** RFC 7296 §3.3.2, transform type 1, and the bytes of its key, salt included. */
  readonly encryption: number;
  readonly encryptionKey: number;
  /** Transform type 3, or charon's number for none beside an AEAD. */
  readonly integrity: number;
  readonly integrityKey: number;
}

export const ciphers: readonly Cipher[] = suites.map((suite) => ({
  name: suite.name,
  encryption: suite.encryption,
  encryptionKey: suite.keyLength,
  integrity: suite.integrity,
  integrityKey: suite.integrityKeyLength,
}));

export const aes128gcm16 = ciphers[0];

export function parseCipher(text: string): Cipher {
  const cipher = ciphers.find(({ name }) => name === text);
  if (cipher) return cipher;
  throw new Error(`--cipher "${text}" is none of ${ciphers.map(({ name }) => name).join(", ")}`);
}
