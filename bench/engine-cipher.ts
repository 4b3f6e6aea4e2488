// A cipher in the engine, without apps: an SA, a frame for each packet of a burst, and the engine between them. For the
// `bursts` benchmark, and as the ceiling of the others.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AeadBatch, type Batches, type CbcBatch, MAX_BATCH } from "../src/ipsec/aead.js";
import { IpsecMbEngine } from "../src/ipsec/aead-ipsec-mb.js";
import { AEAD_HEADER, CBC_HEADER } from "../src/ipsec/esp-format.js";
import { PseudoKernel } from "../src/ipsec/pseudo-kernel.js";
import { Sad } from "../src/ipsec/sad.js";
import { SaFlag, saSlot } from "../src/ipsec/sad-layout.js";
import { Spd } from "../src/ipsec/spd.js";
import { saRequest } from "../src/ipsec/testing/requests.js";
import { type Suite, suiteOf, suiteRequest } from "../src/ipsec/testing/suites.js";
import { FRAME_SIZE, Frames, HEADROOM } from "../src/memory/frames.js";
import { medianRound, type Round, round3 } from "./rounds.js";
import { type FrameSize, frameSizes } from "./sizes.js";

export interface Row {
  cipher: string;
  size: FrameSize;
  burst: number;
  nsEncrypt: number;
  nsDecrypt: number;
  nsPerPacket: number;
}

export const BURSTS = [1, 8, 32, MAX_BATCH];
const PACKETS = 1024;
const WARM_UP = 4000;
const ETHERNET_HEADER = 14;

/** One SA, and a frame for each packet of a burst. */
export class EngineCipher {
  readonly #isCbc: boolean;
  readonly #slot: number;
  readonly #texts: Int32Array;
  /** Bytes of the texts: the mix, over and over, from its beginning on; bursts go on in it where the last one has ended. */
  readonly #lengths: Int32Array;
  readonly #mix: number;
  #phase = 0;
  /** By burst. */
  readonly #rounds = new Map(
    BURSTS.map((burst) => [burst, { encrypt: [] as Round[], decrypt: [] as Round[] }]),
  );

  constructor(
    readonly suite: Suite,
    readonly size: FrameSize,
    readonly rig: EngineRig,
    spi: number,
  ) {
    this.#slot = rig.addSa(suite, spi);
    this.#isCbc = (rig.sad.words[(this.#slot + saSlot.at.flags) >>> 2] & SaFlag.cbc) !== 0;
    const lengths = frameSizes(size);
    const unit = this.#isCbc ? 16 : 4;
    const header = this.#isCbc ? CBC_HEADER : AEAD_HEADER;
    this.#mix = lengths.length;
    this.#lengths = Int32Array.from({ length: MAX_BATCH + this.#mix }, (_, i) => {
      const packet = lengths[i % lengths.length] - ETHERNET_HEADER;
      return Math.ceil((packet + 2) / unit) * unit;
    });
    this.#texts = Int32Array.from({ length: MAX_BATCH }, (_, i) => i * FRAME_SIZE + HEADROOM + header);
  }

  #fill(batches: Batches, burst: number): void {
    const [texts, lengths, slot, phase] = [this.#texts, this.#lengths, this.#slot, this.#phase];
    if (this.#isCbc) {
      batches.cbc.open(slot);
      for (let i = 0; i < burst; i++) batches.cbc.set(i, texts[i] - CBC_HEADER, lengths[phase + i], 0);
      return;
    }
    const { words } = this.rig.sad;
    const keyLength = words[(slot + saSlot.at.keyLength) >>> 2];
    const salt = words[(slot + saSlot.at.salt) >>> 2] | 0;
    const aead = this.#batch(batches) as AeadBatch;
    aead.open(slot, keyLength, salt, 7, 1);
    if (batches === this.rig.encrypt)
      for (let i = 0; i < burst; i++) aead.encrypt(i, i + 1, texts[i], lengths[phase + i]);
    else for (let i = 0; i < burst; i++) aead.decrypt(i, 0, i + 1, i + 1, texts[i], lengths[phase + i]);
  }

  #batch({ gcm, chacha20, cbc }: Batches): AeadBatch | CbcBatch {
    return this.#isCbc ? cbc : this.suite.encryption === 20 ? gcm : chacha20;
  }

  #run(batches: Batches, burst: number): void {
    this.#fill(batches, burst);
    this.#batch(batches).run(burst);
  }

  #time(batches: Batches, burst: number, packets: number): Round {
    const bursts = Math.ceil(packets / burst);
    const begin = process.hrtime.bigint();
    for (let i = 0; i < bursts; i++) {
      this.#run(batches, burst);
      this.#phase = (this.#phase + burst) % this.#mix;
    }
    return { packets: bursts * burst, nanoseconds: Number(process.hrtime.bigint() - begin) };
  }

  /**
   * The library alone, both ways: jobs that are filled once and submitted over and over. Bursts of a mix hold it a whole
   * number of times.
   */
  alone(packets: number): Round {
    const { encrypt, decrypt } = this.rig;
    const burst = MAX_BATCH - (MAX_BATCH % this.#mix);
    this.#phase = 0;
    for (const batches of [encrypt, decrypt]) this.#fill(batches, burst);
    const [one, other] = [this.#batch(encrypt), this.#batch(decrypt)];
    const bursts = Math.ceil(packets / burst);
    const begin = process.hrtime.bigint();
    for (let i = 0; i < bursts; i++) {
      one.run(burst);
      other.run(burst);
    }
    return { packets: bursts * burst, nanoseconds: Number(process.hrtime.bigint() - begin) };
  }

  warmUp(): void {
    for (const burst of [1, MAX_BATCH]) {
      this.#time(this.rig.encrypt, burst, WARM_UP);
      this.#time(this.rig.decrypt, burst, WARM_UP);
    }
  }

  round(): void {
    for (const [burst, { encrypt, decrypt }] of this.#rounds) {
      encrypt.push(this.#time(this.rig.encrypt, burst, PACKETS));
      decrypt.push(this.#time(this.rig.decrypt, burst, PACKETS));
    }
  }

  /** Does encryption change every text, and decryption give it back, authentic? */
  verify(): boolean {
    const { bytes } = this.rig.frames;
    this.#phase = 0;
    for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7 + (i >>> 11);
    const text = (i: number) => bytes.slice(this.#texts[i], this.#texts[i] + this.#lengths[i]);
    const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
    const before = Array.from(this.#texts, (_, i) => text(i));
    this.#run(this.rig.encrypt, MAX_BATCH);
    const changed = before.every((bytes, i) => !same(bytes, text(i)));
    this.#run(this.rig.decrypt, MAX_BATCH);
    const batch = this.#batch(this.rig.decrypt);
    return (
      changed &&
      before.every(
        (bytes, i) => same(bytes, text(i)) && batch.authentic(i, this.#texts[i] + this.#lengths[i]),
      )
    );
  }

  rows(): Row[] {
    return Array.from(this.#rounds, ([burst, rounds]) => {
      const each = ({ packets, nanoseconds }: Round) => nanoseconds / packets;
      const encrypt = each(medianRound(rounds.encrypt));
      const decrypt = each(medianRound(rounds.decrypt));
      return {
        cipher: this.suite.name,
        size: this.size,
        burst,
        nsEncrypt: round3(encrypt),
        nsDecrypt: round3(decrypt),
        nsPerPacket: round3(encrypt + decrypt),
      };
    });
  }
}

/** The engine with a SAD that nobody else has. */
export class EngineRig {
  readonly sad: Sad;
  readonly frames = new Frames(MAX_BATCH);
  readonly encrypt: Batches;
  readonly decrypt: Batches;
  readonly #spd: Spd;
  readonly #engine: IpsecMbEngine;
  readonly #kernel: PseudoKernel;

  constructor() {
    const directory = mkdtempSync(
      join(process.platform === "linux" ? "/dev/shm" : tmpdir(), "vita-ciphers-"),
    );
    this.sad = Sad.create(join(directory, "sad"), 128, IpsecMbEngine.id);
    this.#spd = Spd.create(join(directory, "spd"), 4);
    rmSync(directory, { recursive: true });
    this.#engine = new IpsecMbEngine(this.sad, this.frames);
    this.encrypt = this.#engine.encryptor();
    this.decrypt = this.#engine.decryptor();
    this.#kernel = new PseudoKernel({ sad: this.sad, spd: this.#spd, engine: this.#engine, now: () => 1 });
  }

  /** @returns the byte offset of its slot; its keys serve both ways here */
  addSa(suite: Suite, spi: number): number {
    const { status, reason } = this.#kernel.addSa(saRequest({ spi, ...suiteRequest(suite, spi) }), 0n);
    if (status !== 0) throw new Error(reason ?? `status ${status}`);
    for (let slot = 0; slot < this.sad.used; slot++)
      if (this.sad.spi(slot) === spi) return this.sad.offset(slot);
    throw new Error("the SA is not there");
  }

  close(): void {
    this.#engine.close();
    this.sad.close();
    this.#spd.close();
    this.frames.region.unmap();
  }
}

/** The ceiling of softbench with a cipher: the library alone (see crypto.ts). */
export class EngineCeiling {
  readonly #rig = new EngineRig();
  readonly #cipher: EngineCipher;

  constructor(name: string, size: FrameSize) {
    this.#cipher = new EngineCipher(suiteOf(name), size, this.#rig, 0x1000);
  }

  warmUp(): void {
    this.#cipher.warmUp();
  }

  send(packets: number): Round {
    return this.#cipher.alone(packets);
  }

  verify(): boolean {
    return this.#cipher.verify();
  }

  close(): void {
    this.#rig.close();
  }
}
