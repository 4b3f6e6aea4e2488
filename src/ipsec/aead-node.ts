// AES-GCM and ChaCha20-Poly1305 through node:crypto, for machines on which libIPSec_MB is not to be had. One cipher object a packet: right,
// and some fifty times slower than the burst engine. It allocates; the gateway says so when it starts.

import { createCipheriv, createDecipheriv } from "node:crypto";
import type { Frames } from "../memory/frames.js";
import { swap32 } from "../net/byte-order.js";
import { type AeadBatch, type AeadEngine, type Batches, MAX_BATCH } from "./aead.js";
import { NodeCbcBatch } from "./cbc-node.js";
import type { Sad } from "./sad.js";
import { saSlot } from "./sad-layout.js";

const KEY = saSlot.at.key;
const ICV_BYTES = 16;

/** By length of the key. */
type Algorithms = Record<number, "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm" | "chacha20-poly1305">;
const GCM: Algorithms = { 16: "aes-128-gcm", 24: "aes-192-gcm", 32: "aes-256-gcm" };
const CHACHA20: Algorithms = { 32: "chacha20-poly1305" };
const options = { authTagLength: ICV_BYTES };

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
  readonly #algorithms: Algorithms;
  readonly #decrypt: boolean;
  readonly #aadLengths = new Uint8Array(MAX_BATCH);
  /** Of the run. */
  #sa = { slot: 0, keyLength: 0, salt: 0, spi: 0, extended: 0 };
  /** As it lies in memory. */
  #high = 0;

  constructor(frames: Frames, sad: Sad, algorithms: Algorithms, decrypt: boolean) {
    this.#frames = frames;
    this.#sad = sad;
    this.#algorithms = algorithms;
    this.#decrypt = decrypt;
  }

  open(slot: number, keyLength: number, salt: number, spi: number, extended: number): void {
    this.#sa = { slot, keyLength, salt, spi, extended };
  }

  turn(high: number): void {
    this.#high = swap32(high);
  }

  encrypt(i: number, low: number, text: number, length: number): void {
    this.decrypt(i, this.#high, low, low, text, length);
  }

  decrypt(i: number, ivHigh: number, ivLow: number, low: number, text: number, length: number): void {
    const packet = this.#packets[i];
    const { slot, keyLength, salt, spi, extended } = this.#sa;
    packet.slot = slot;
    packet.keyLength = keyLength;
    packet.nonce.writeUInt32BE(salt >>> 0, 0);
    packet.nonce.writeInt32LE(ivHigh, 4);
    packet.nonce.writeInt32LE(ivLow, 8);
    packet.aad.writeUInt32BE(spi >>> 0, 0);
    packet.aad.writeInt32LE(extended !== 0 ? this.#high : low, 4);
    packet.aad.writeInt32LE(low, 8);
    this.#aadLengths[i] = extended !== 0 ? 12 : 8;
    packet.text = text;
    packet.length = length;
  }

  run(count: number): void {
    for (let i = 0; i < count; i++) {
      const { slot, keyLength, nonce, text, length } = this.#packets[i];
      // The types of node:crypto tell GCM and the other one apart; what is called is the same.
      const algorithm = this.#algorithms[keyLength] as "aes-128-gcm";
      const aad = this.#packets[i].aad.subarray(0, this.#aadLengths[i]);
      const key = this.#sad.region.bytes.subarray(slot + KEY, slot + KEY + keyLength);
      const { bytes } = this.#frames;
      const source = bytes.subarray(text, text + length);
      if (this.#decrypt) {
        const decipher = createDecipheriv(algorithm, key, nonce, options);
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
        const cipher = createCipheriv(algorithm, key, nonce, options);
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
  expandKeys(): void {}

  #batches(decrypt: boolean): Batches {
    const [frames, sad] = [this.#frames, this.#sad];
    if (!frames) throw new Error("this engine was made without frames: it only expands keys");
    return {
      gcm: new NodeBatch(frames, sad, GCM, decrypt),
      chacha20: new NodeBatch(frames, sad, CHACHA20, decrypt),
      cbc: new NodeCbcBatch(frames, sad, decrypt),
    };
  }

  encryptor(): Batches {
    return this.#batches(false);
  }

  decryptor(): Batches {
    return this.#batches(true);
  }

  close(): void {}
}
