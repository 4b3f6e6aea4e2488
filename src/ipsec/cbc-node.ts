// AES-CBC with an HMAC through node:crypto, where libIPSec_MB is not to be had. See aead-node.ts.

import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from "node:crypto";
import type { Frames } from "../memory/frames.js";
import { type CbcBatch, MAX_BATCH } from "./aead.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";
import { hashName, hmacIcvBytes, hmacKeyBytes } from "./transforms.js";

const at = saSlot.at;
const ESP = 8;
const IV = 16;
const TEXT = ESP + IV;
const noIv = Buffer.alloc(IV);

interface Packet {
  slot: number;
  esp: number;
  length: number;
  high: Buffer;
  authentic: boolean;
}

export class NodeCbcBatch implements CbcBatch {
  readonly #packets: Packet[] = Array.from({ length: MAX_BATCH }, () => ({
    slot: 0,
    esp: 0,
    length: 0,
    high: Buffer.alloc(4),
    authentic: false,
  }));
  readonly #frames: Frames;
  readonly #sad: Sad;
  readonly #decrypt: boolean;
  #slot = 0;

  constructor(frames: Frames, sad: Sad, decrypt: boolean) {
    this.#frames = frames;
    this.#sad = sad;
    this.#decrypt = decrypt;
  }

  open(slot: number): void {
    this.#slot = slot;
  }

  set(i: number, esp: number, length: number, high: number): void {
    const packet = this.#packets[i];
    packet.slot = this.#slot;
    packet.esp = esp;
    packet.length = length;
    packet.high.writeUInt32BE(high >>> 0);
  }

  run(count: number): void {
    for (let i = 0; i < count; i++) {
      if (this.#decrypt) this.#open(this.#packets[i]);
      else this.#protect(this.#packets[i]);
    }
  }

  authentic(i: number): boolean {
    return this.#packets[i].authentic;
  }

  #word(slot: number, field: number): number {
    return this.#sad.words[(slot + field) >>> 2];
  }

  #key(slot: number): Uint8Array {
    return this.#sad.region.bytes.subarray(slot + at.key, slot + at.key + this.#word(slot, at.keyLength));
  }

  #icv({ slot, esp, length, high }: Packet): Buffer {
    const integrity = this.#word(slot, at.integrity);
    const { bytes } = this.#sad.region;
    const key = bytes.subarray(slot + at.integrityKey, slot + at.integrityKey + hmacKeyBytes[integrity]);
    const hmac = createHmac(hashName(integrity), key);
    hmac.update(this.#frames.bytes.subarray(esp, esp + TEXT + length));
    // With extended sequence numbers their high half comes last, and is not sent (RFC 4303 §2.2.1).
    if ((this.#word(slot, at.flags) & SaFlag.extendedSequenceNumbers) !== 0) hmac.update(high);
    return hmac.digest().subarray(0, hmacIcvBytes[integrity]);
  }

  #protect(packet: Packet): void {
    const { slot, esp, length } = packet;
    const { bytes } = this.#frames;
    const key = this.#key(slot);
    // The block in front of the text is encrypted with it, and thus becomes its IV.
    const cipher = createCipheriv(`aes-${8 * key.length}-cbc`, key, noIv).setAutoPadding(false);
    bytes.set(cipher.update(bytes.subarray(esp + ESP, esp + TEXT + length)), esp + ESP);
    cipher.final();
    bytes.set(this.#icv(packet), esp + TEXT + length);
  }

  #open(packet: Packet): void {
    const { slot, esp, length } = packet;
    const { bytes } = this.#frames;
    const icv = this.#icv(packet);
    const end = esp + TEXT + length;
    packet.authentic = timingSafeEqual(icv, bytes.subarray(end, end + icv.length));
    if (!packet.authentic) return;
    const key = this.#key(slot);
    const iv = bytes.subarray(esp + ESP, esp + TEXT);
    const decipher = createDecipheriv(`aes-${8 * key.length}-cbc`, key, iv).setAutoPadding(false);
    const plain = decipher.update(bytes.subarray(esp + TEXT, end));
    bytes.set(plain, esp + TEXT);
    plain.fill(0);
    decipher.final();
  }
}
