// ESP as a peer could make it, with Node's cryptography and nothing of Vita's: whatever stands in the text is sealed as if it
// were right.

import { createCipheriv, createHmac } from "node:crypto";
import { keyOf } from "../../src/ipsec/testing/requests.js";
import { suiteOf } from "../../src/ipsec/testing/suites.js";
import { u32 } from "../../src/ports/testing/flow-packets.js";

const HASHES: Record<number, [string, number]> = { 12: ["sha256", 16], 14: ["sha512", 32] };

/** How long the parts of an ESP packet are, and of what the text is a multiple. */
export interface Shape {
  header: number;
  icv: number;
  block: number;
}

export function shapeOf(ciphers: string): Shape {
  const { encryption, integrity } = suiteOf(ciphers);
  return encryption === 12
    ? { header: 24, icv: HASHES[integrity][1], block: 16 }
    : { header: 16, icv: 16, block: 4 };
}

/** The payload with its trailer: `more` blocks of padding beyond what is needed, as long as that can be told. */
export function textOf(payload: Uint8Array, nextHeader: number, block: number, more: number): Uint8Array {
  const least = -(payload.length + 2) & (block - 1);
  const pad = Math.min(least + block * more, 255 - ((255 - least) % block));
  const padding = Array.from({ length: pad }, (_, i) => i + 1);
  return Uint8Array.from([...payload, ...padding, pad, nextHeader]);
}

/**
 * Eight bytes for the IV of an AEAD, and a text behind it that, together, are one padding: it begins in front of the text.
 * @param length bytes of the text
 */
export function endlessPadding(length: number, nextHeader: number): { iv: Uint8Array; text: Uint8Array } {
  const bytes = Uint8Array.from({ length: 8 + length - 2 }, (_, i) => i + 1);
  return { iv: bytes.slice(0, 8), text: Uint8Array.of(...bytes.slice(8), bytes.length, nextHeader) };
}

/**
 * An ESP packet with this text; keys are those that `suiteRequest` gives the SPI.
 * @param ownIv of an AEAD; what Vita would take when left out
 */
export function seal(
  ciphers: string,
  esn: boolean,
  spi: number,
  number: number,
  text: Uint8Array,
  ownIv?: Uint8Array,
): Buffer {
  const suite = suiteOf(ciphers);
  const key = keyOf(spi, suite.keyLength);
  const high = u32(Math.floor(number / 2 ** 32));
  const low = u32(number % 2 ** 32);
  const head = Buffer.from([...u32(spi), ...low]);
  if (suite.encryption === 12) {
    const iv = Buffer.from([...low, ...low, ...u32(spi), ...high]);
    const cipher = createCipheriv(`aes-${8 * key.length}-cbc`, key, iv).setAutoPadding(false);
    const sealed = Buffer.concat([head, iv, cipher.update(text), cipher.final()]);
    const [hash, length] = HASHES[suite.integrity];
    const hmac = createHmac(hash, keyOf(spi ^ 0x5a5a, suite.integrityKeyLength)).update(sealed);
    if (esn) hmac.update(Buffer.from(high));
    return Buffer.concat([sealed, hmac.digest().subarray(0, length)]);
  }
  const iv = Buffer.from(ownIv ?? [...high, ...low]);
  const nonce = Buffer.concat([key.subarray(-4), iv]);
  const secret = key.subarray(0, -4);
  const aad = Buffer.from([...u32(spi), ...(esn ? high : []), ...low]);
  const options = { authTagLength: 16 };
  const cipher =
    suite.encryption === 28
      ? createCipheriv("chacha20-poly1305", secret, nonce, options)
      : createCipheriv(`aes-${8 * secret.length}-gcm` as "aes-128-gcm", secret, nonce, options);
  cipher.setAAD(aad, { plaintextLength: text.length });
  const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
  return Buffer.concat([head, iv, sealed, cipher.getAuthTag()]);
}
