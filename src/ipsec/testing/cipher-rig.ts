// Both engines' batches on one SAD and one set of frames, without apps around them: ESP packets are put into frames byte by
// byte, encrypted or decrypted as one batch, and taken out.

import assert from "node:assert/strict";
import { FRAME_SIZE, Frames } from "../../memory/frames.js";
import { allocateRegion, type Region } from "../../memory/region.js";
import { makeScratch } from "../../memory/testing/scratch.js";
import {
  DIRECTION_ENCRYPT,
  HASH_HMAC_SHA1,
  HASH_HMAC_SHA256,
  HASH_HMAC_SHA384,
  HASH_HMAC_SHA512,
  IpsecMbManager,
  ipsecMbUnavailable,
  JOB,
  MANAGER,
  ORDER_HASH_CIPHER,
} from "../../native/ipsec-mb.js";
import { swap32 } from "../../net/byte-order.js";
import { type AeadEngine, type Batches, MAX_BATCH } from "../aead.js";
import { IpsecMbEngine } from "../aead-ipsec-mb.js";
import { NodeEngine } from "../aead-node.js";
import { PseudoKernel } from "../pseudo-kernel.js";
import { Sad } from "../sad.js";
import { cbcSchedule, SaFlag, saSlot } from "../sad-layout.js";
import { Spd } from "../spd.js";
import { hmacIcvBytes } from "../transforms.js";
import { type SaOptions, saRequest } from "./requests.js";
import { suiteRequest, suites } from "./suites.js";

export type EngineName = "ipsec-mb" | "node";
export const engineNames: EngineName[] = ipsecMbUnavailable() === undefined ? ["ipsec-mb", "node"] : ["node"];

/** One packet: SPI, sequence number, IV, text. */
export interface Packet {
  /** Slot of its SA. */
  sa: number;
  high: number;
  low: number;
  /** 8 or 16 bytes. To be encrypted: the sequence number, or with AES-CBC what the IV is made of. */
  iv: Uint8Array;
  text: Uint8Array;
  /** To be decrypted: what stands behind the text. */
  icv?: Uint8Array;
}

export interface Opened {
  text: Uint8Array;
  authentic: boolean;
}

/** libIPSec_MB's cipher that does nothing. */
const CIPHER_NULL = 3;
const HEADROOM = 192;
const ESP = 8;

export class CipherRig {
  readonly #scratch = makeScratch("ciphers");
  readonly frames = new Frames(MAX_BATCH);
  readonly sad: Sad;
  readonly #spd: Spd;
  readonly engines = new Map<EngineName, AeadEngine>();
  readonly encryptors = new Map<EngineName, Batches>();
  readonly #decryptors = new Map<EngineName, Batches>();
  readonly #kernel: PseudoKernel;

  constructor() {
    const main = engineNames[0] === "node" ? NodeEngine.id : IpsecMbEngine.id;
    this.sad = Sad.create(this.#scratch.file("sad"), 64, main);
    this.#spd = Spd.create(this.#scratch.file("spd"), 4);
    for (const name of engineNames) {
      const engine =
        name === "node" ? new NodeEngine(this.sad, this.frames) : new IpsecMbEngine(this.sad, this.frames);
      this.engines.set(name, engine);
      this.encryptors.set(name, engine.encryptor());
      this.#decryptors.set(name, engine.decryptor());
    }
    // The keys that node:crypto needs are there whichever engine expands them.
    const engine = this.engines.get(engineNames[0])!;
    this.#kernel = new PseudoKernel({ sad: this.sad, spd: this.#spd, engine, now: () => 1 });
  }

  /** Installs an outbound SA, whose keys serve both ways here. @returns its slot */
  addSa(options: SaOptions): number {
    const { status, reason } = this.#kernel.addSa(saRequest(options), 1n);
    assert.equal(status, 0, reason);
    for (let slot = 0; slot < this.sad.used; slot++) if (this.sad.spi(slot) === options.spi) return slot;
    throw new Error("the SA is not there");
  }

  /** Installs an SA for each suite, with extended sequence numbers or without. @returns their slots */
  addSuites(extendedSequenceNumbers: boolean, firstSpi: number): number[] {
    return suites.map((suite, i) => {
      const spi = firstSpi + i;
      return this.addSa({ spi, extendedSequenceNumbers, ...suiteRequest(suite, spi) });
    });
  }

  #word(sa: number, field: number): number {
    return this.sad.words[(this.sad.offset(sa) + field) >>> 2];
  }

  isCbc(sa: number): boolean {
    return (this.#word(sa, saSlot.at.flags) & SaFlag.cbc) !== 0;
  }

  icvLength(sa: number): number {
    return this.isCbc(sa) ? hmacIcvBytes[this.#word(sa, saSlot.at.integrity)] : 16;
  }

  /** Where in the SAD's file an SA's key begins and ends. */
  cipherKey(sa: number): [from: number, to: number] {
    const from = this.sad.offset(sa) + saSlot.at.key;
    return [from, from + this.#word(sa, saSlot.at.keyLength)];
  }

  /** What libIPSec_MB's HMAC makes of a text with the keys in an SA's slot. */
  hmac(sa: number, text: Uint8Array): Uint8Array {
    const { frames, sad } = this;
    const manager = new IpsecMbManager();
    const job = MANAGER.jobs >>> 2;
    const number = (field: number, value: number) => {
      manager.words[job + (field >>> 2)] = value;
    };
    const pointer = (field: number, region: Region, at: number) => {
      number(field, region.addressLow + at);
      number(field + 4, region.addressHigh);
    };
    manager.words.fill(0, job, job + (JOB.size >>> 2));
    const schedule = sad.offset(sa) + saSlot.at.schedule;
    const integrity = this.#word(sa, saSlot.at.integrity);
    const tag = 1024;
    frames.bytes.set(text, 0);
    number(JOB.cipherMode, CIPHER_NULL);
    number(JOB.direction, DIRECTION_ENCRYPT);
    number(JOB.chainOrder, ORDER_HASH_CIPHER);
    number(
      JOB.hashAlgorithm,
      [HASH_HMAC_SHA256, HASH_HMAC_SHA384, HASH_HMAC_SHA512][integrity - 12] ?? HASH_HMAC_SHA1,
    );
    pointer(JOB.src, frames.region, 0);
    pointer(JOB.dst, frames.region, 0);
    number(JOB.hashLength, text.length);
    number(JOB.tagLength, hmacIcvBytes[integrity]);
    pointer(JOB.tag, frames.region, tag);
    pointer(JOB.hmacInner, sad.region, schedule + cbcSchedule.inner);
    pointer(JOB.hmacOuter, sad.region, schedule + cbcSchedule.outer);
    const pointers = allocateRegion(8);
    manager.writeJobPointers(new BigUint64Array(pointers.view.buffer as ArrayBuffer, 0, 1), 1);
    let done = manager.submitBurst(1, pointers.addressNumber);
    if (done === 0) done = manager.flush(manager.addressNumber, 1, pointers.addressNumber);
    assert.equal(done, 1);
    pointers.unmap();
    manager.free();
    return frames.bytes.slice(tag, tag + hmacIcvBytes[integrity]);
  }

  /** Puts the packets into frames, and sets them up in the batches and runs those. */
  #load(batches: Batches, packets: readonly Packet[]): { at: number; job: number }[] {
    const { view, bytes } = this.frames;
    const counts = { gcm: 0, chacha20: 0, cbc: 0 };
    const places = packets.map((packet, i) => {
      const { sa, high, low, iv, text, icv } = packet;
      const esp = i * FRAME_SIZE + HEADROOM;
      const at = esp + ESP + iv.length;
      bytes.fill(0xee, i * FRAME_SIZE, (i + 1) * FRAME_SIZE);
      view.setUint32(esp, this.sad.spi(sa));
      view.setUint32(esp + 4, low);
      bytes.set(iv, esp + ESP);
      bytes.set(text, at);
      if (icv) bytes.set(icv, at + text.length);
      const slot = this.sad.offset(sa);
      const flags = this.#word(sa, saSlot.at.flags);
      if ((flags & SaFlag.cbc) !== 0) {
        batches.cbc.open(slot);
        batches.cbc.set(counts.cbc, esp, text.length, high);
        return { at, job: counts.cbc++ };
      }
      const kind = (flags & SaFlag.chacha20) !== 0 ? "chacha20" : "gcm";
      const [keyLength, salt] = [this.#word(sa, saSlot.at.keyLength), this.#word(sa, saSlot.at.salt)];
      batches[kind].open(
        slot,
        keyLength,
        salt | 0,
        view.getInt32(esp),
        flags & SaFlag.extendedSequenceNumbers,
      );
      batches[kind].turn(high);
      if (icv === undefined) batches[kind].encrypt(counts[kind], swap32(low), at, text.length);
      else {
        const [ivHigh, ivLow] = [view.getInt32(esp + ESP, true), view.getInt32(esp + ESP + 4, true)];
        batches[kind].decrypt(counts[kind], ivHigh, ivLow, swap32(low), at, text.length);
      }
      return { at, job: counts[kind]++ };
    });
    for (const kind of ["gcm", "chacha20", "cbc"] as const) batches[kind].run(counts[kind]);
    return places;
  }

  /** Encrypts packets in one batch. @returns them with IV, text and ICV as they go out */
  encrypt(engine: EngineName, packets: readonly Packet[]): Packet[] {
    const places = this.#load(this.encryptors.get(engine)!, packets);
    const { bytes } = this.frames;
    return packets.map((packet, i) => {
      const { at } = places[i];
      const end = at + packet.text.length;
      const icvLength = this.icvLength(packet.sa);
      assert.equal(bytes[end + icvLength], 0xee, "nothing is written behind the ICV");
      assert.equal(bytes[at - packet.iv.length - ESP - 1], 0xee, "nor in front of the ESP header");
      return {
        ...packet,
        iv: bytes.slice(at - packet.iv.length, at),
        text: bytes.slice(at, end),
        icv: bytes.slice(end, end + icvLength),
      };
    });
  }

  /** Decrypts packets in one batch. */
  decrypt(engine: EngineName, packets: readonly Packet[]): Opened[] {
    const batches = this.#decryptors.get(engine)!;
    const places = this.#load(batches, packets);
    return packets.map(({ sa, text }, i) => {
      const { at, job } = places[i];
      const flags = this.#word(sa, saSlot.at.flags);
      const batch =
        (flags & SaFlag.cbc) !== 0
          ? batches.cbc
          : (flags & SaFlag.chacha20) !== 0
            ? batches.chacha20
            : batches.gcm;
      return {
        text: this.frames.bytes.slice(at, at + text.length),
        authentic: batch.authentic(job, at + text.length),
      };
    });
  }

  close(): void {
    for (const engine of this.engines.values()) engine.close();
    this.sad.close();
    this.#spd.close();
    this.frames.region.unmap();
    this.#scratch.remove();
  }
}
