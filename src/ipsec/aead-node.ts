// AES-GCM through node:crypto, for machines on which libIPSec_MB is not to be had. One cipher object a packet: right,
// and some fifty times slower than the burst engine. It allocates; the gateway says so when it starts.

import { createCipheriv, createDecipheriv } from "node:crypto";
import type { Frames } from "../memory/frames.js";
import { type AeadBatch, type AeadEngine, MAX_BATCH } from "./aead.js";
import type { Sad } from "./sad.js";
import { saSlot } from "./sad-layout.js";

const KEY = saSlot.at.key;
const ICV_BYTES = 16;

const algorithms: Record<number, "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm"> = {
  16: "aes-128-gcm",
  24: "aes-192-gcm",
  32: "aes-256-gcm",
};

interface Packet {
  slot: number;
  keyLength: number;
  nonce: Buffer;
  aad: Buffer;
  text: number;
  length: number;
  authentic: boolean;
}

class NodeBatch implements AeadBatch {
  readonly #packets: Packet[] = Array.from({ length: MAX_BATCH }, () => ({
    slot: 0,
    keyLength: 0,
    nonce: Buffer.alloc(12),
    aad: Buffer.alloc(12),
    text: 0,
    length: 0,
    authentic: false,
  }));
  readonly #frames: Frames;
  readonly #sad: Sad;
  readonly #decrypt: boolean;
  readonly #aadLengths = new Uint8Array(MAX_BATCH);
  /** Of the run. */
  #sa = { slot: 0, keyLength: 0, salt: 0, spi: 0, extended: 0 };

  constructor(frames: Frames, sad: Sad, decrypt: boolean) {
    this.#frames = frames;
    this.#sad = sad;
    this.#decrypt = decrypt;
  }

  open(slot: number, keyLength: number, salt: number, spi: number, extended: number): void {
    this.#sa = { slot, keyLength, salt, spi, extended };
  }

  encrypt(i: number, high: number, low: number, text: number, length: number): void {
    this.decrypt(i, high, low, high, low, text, length);
  }

  decrypt(
    i: number,
    ivHigh: number,
    ivLow: number,
    high: number,
    low: number,
    text: number,
    length: number,
  ): void {
    const packet = this.#packets[i];
    const { slot, keyLength, salt, spi, extended } = this.#sa;
    packet.slot = slot;
    packet.keyLength = keyLength;
    packet.nonce.writeUInt32BE(salt >>> 0, 0);
    packet.nonce.writeUInt32BE(ivHigh >>> 0, 4);
    packet.nonce.writeUInt32BE(ivLow >>> 0, 8);
    packet.aad.writeUInt32BE(spi >>> 0, 0);
    packet.aad.writeUInt32BE((extended !== 0 ? high : low) >>> 0, 4);
    packet.aad.writeUInt32BE(low >>> 0, 8);
    this.#aadLengths[i] = extended !== 0 ? 12 : 8;
    packet.text = text;
    packet.length = length;
  }

  run(count: number): void {
    for (let i = 0; i < count; i++) {
      const { slot, keyLength, nonce, text, length } = this.#packets[i];
      const aad = this.#packets[i].aad.subarray(0, this.#aadLengths[i]);
      const key = this.#sad.region.bytes.subarray(slot + KEY, slot + KEY + keyLength);
      const { bytes } = this.#frames;
      const source = bytes.subarray(text, text + length);
      if (this.#decrypt) {
        const decipher = createDecipheriv(algorithms[keyLength], key, nonce, { authTagLength: ICV_BYTES });
        decipher.setAAD(aad);
        decipher.setAuthTag(bytes.subarray(text + length, text + length + ICV_BYTES));
        const plain = decipher.update(source);
        try {
          decipher.final();
          bytes.set(plain, text);
          this.#packets[i].authentic = true;
        } catch {
          this.#packets[i].authentic = false;
        }
        plain.fill(0);
      } else {
        const cipher = createCipheriv(algorithms[keyLength], key, nonce, { authTagLength: ICV_BYTES });
        cipher.setAAD(aad);
        bytes.set(cipher.update(source), text);
        cipher.final();
        bytes.set(cipher.getAuthTag(), text + length);
      }
    }
  }

  authentic(i: number): boolean {
    return this.#packets[i].authentic;
  }
}

export class NodeEngine implements AeadEngine {
  static readonly id = 2;
  readonly id = NodeEngine.id;
  readonly name = "node:crypto";
  readonly #sad: Sad;
  readonly #frames: Frames | undefined;

  constructor(sad: Sad, frames?: Frames) {
    this.#sad = sad;
    this.#frames = frames;
  }

  /** OpenSSL takes the key as it is. */
  expandKey(): void {}

  #batch(decrypt: boolean): AeadBatch {
    if (!this.#frames) throw new Error("this engine was made without frames: it only expands keys");
    return new NodeBatch(this.#frames, this.#sad, decrypt);
  }

  encryptor(): AeadBatch {
    return this.#batch(false);
  }

  decryptor(): AeadBatch {
    return this.#batch(true);
  }

  close(): void {}
}
