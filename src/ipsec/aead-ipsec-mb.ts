// AES-GCM and ChaCha20-Poly1305 through libIPSec_MB's burst interface. The jobs are filled in the library's own ring, in memory shared with
// it. Job i of a burst always works on the same line of scratch memory, and what never changes (modes, lengths, high
// halves of addresses, scratch pointers) is written once, so that a packet costs a dozen stores.

import { type Frames, NONE } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { allocateRegion, type Region } from "../memory/region.js";
import {
  type Burst,
  CIPHER_CHACHA20_POLY1305,
  CIPHER_GCM,
  DIRECTION_DECRYPT,
  DIRECTION_ENCRYPT,
  HASH_CHACHA20_POLY1305,
  HASH_GCM,
  IpsecMbManager,
  JOB,
  MANAGER,
  MAX_BURST,
  ORDER_CIPHER_HASH,
  ORDER_HASH_CIPHER,
} from "../native/ipsec-mb.js";
import type { AeadBatch, AeadEngine, Batches } from "./aead.js";
import { CBC_SCRATCH, expandCbcKeys, IpsecMbCbcBatch } from "./cbc-ipsec-mb.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";

const KEY = saSlot.at.key;
const SCHEDULE = saSlot.at.schedule;

/** MAX_BATCH of aead.ts; constants of this module are compiled in, those of others looked up at each use. */
const MAX_BATCH = MAX_BURST;

/**
 * Scratch bytes of one packet: nonce at 0, additional data up to 28, computed ICV at 32. One cache line. The additional data
 * begins four bytes later when the sequence number in it has 32 bits, so that the low half always stands in the same place.
 */
const SCRATCH_SHIFT = 6;
const SCRATCH = 1 << SCRATCH_SHIFT;
const AAD = 16;
const LOW = AAD + 8;
const ICV = 32;
/** Behind the packets' scratch: pointers to the jobs. */
const POINTERS = MAX_BATCH * SCRATCH;
const BATCH_SCRATCH = POINTERS + 8 * MAX_BATCH;

/** Word indices in the manager and its jobs. */
const JOBS = MANAGER.jobs >>> 2;
const JOB_WORDS = JOB.size >>> 2;
const ENC_KEYS = JOB.encKeys >>> 2;
const DEC_KEYS = JOB.decKeys >>> 2;
const KEY_LENGTH = JOB.keyLength >>> 2;
const SRC = JOB.src >>> 2;
const DST = JOB.dst >>> 2;
const CIPHER_LENGTH = JOB.cipherLength >>> 2;
const HASH_LENGTH = JOB.hashLength >>> 2;
const TAG = JOB.tag >>> 2;
const AAD_POINTER = JOB.aad >>> 2;
const AAD_LENGTH = JOB.aadLength >>> 2;

/** What sets the two apart in a job. */
interface Aead {
  mode: number;
  hash: number;
  /** Which of a job's pointers to keys is read to decrypt. */
  decryptKeys: number;
}
const GCM: Aead = { mode: CIPHER_GCM, hash: HASH_GCM, decryptKeys: DEC_KEYS };
const CHACHA20: Aead = {
  mode: CIPHER_CHACHA20_POLY1305,
  hash: HASH_CHACHA20_POLY1305,
  decryptKeys: ENC_KEYS,
};

class IpsecMbBatch implements AeadBatch {
  private readonly manager: IpsecMbManager;
  private readonly submit: Burst;
  private readonly managerAddress: number;
  protected readonly job: Uint32Array;
  private readonly view: DataView;
  /** Lanes (see memory/lanes.ts) of the scratch: a packet's nonce, the end of its additional data, and its computed ICV. */
  private readonly ivHigh: Int32Array;
  private readonly ivLow: Int32Array;
  private readonly aadLow: Int32Array;
  private readonly icv0: Int32Array;
  private readonly icv1: Int32Array;
  private readonly icv2: Int32Array;
  private readonly icv3: Int32Array;
  /** Lanes of the jobs. */
  private readonly src: Int32Array;
  private readonly dst: Int32Array;
  private readonly cipherLength: Int32Array;
  private readonly tag: Int32Array;
  private readonly packets: Lanes;
  /** Address of the pointers to the jobs, which stand behind the scratch of the packets. */
  private readonly jobs: number;
  private readonly framesLow: number;
  private readonly scratchLow: number;
  /** Low half of the address of a key schedule in slot 0. */
  private readonly scheduleLow: number;
  private readonly isDecryptor: boolean;
  /** Which of a job's pointers to keys is read. */
  private readonly keys: number;

  // The run's SA, and a number for it: jobs that have the number in `templates` were filled for it already. What the
  // number stands for is not the key, which is read where it lies, but where that is.
  private slot = NONE;
  private spi = 0;
  private salt = 0;
  private keyLength = 0;
  private extended = 0;
  private high = 0;
  private template = 0;
  private readonly templates = new Int32Array(MAX_BATCH).fill(NONE);

  /** @param scratchAt where in `scratch` its BATCH_SCRATCH bytes are, at a multiple of SCRATCH */
  constructor(
    frames: Frames,
    sad: Sad,
    aead: Aead,
    isDecryptor: boolean,
    scratch: Region,
    scratchAt: number,
  ) {
    const manager = new IpsecMbManager();
    this.manager = manager;
    this.submit = manager.submit;
    this.managerAddress = manager.addressNumber;
    this.job = manager.words;
    this.view = new DataView(scratch.view.buffer, scratchAt, BATCH_SCRATCH);
    const scratchLane = (bytes: number) =>
      new Int32Array(scratch.view.buffer as ArrayBuffer, scratchAt + bytes, POINTERS >>> 2);
    this.ivHigh = scratchLane(4);
    this.ivLow = scratchLane(8);
    this.aadLow = scratchLane(LOW);
    this.icv0 = scratchLane(ICV);
    this.icv1 = scratchLane(ICV + 4);
    this.icv2 = scratchLane(ICV + 8);
    this.icv3 = scratchLane(ICV + 12);
    const jobLane = (word: number) =>
      new Int32Array(manager.words.buffer as ArrayBuffer, 4 * word, JOBS + MAX_BATCH * JOB_WORDS);
    this.src = jobLane(SRC);
    this.dst = jobLane(DST);
    this.cipherLength = jobLane(CIPHER_LENGTH);
    this.tag = jobLane(TAG);
    this.packets = frames.lanes;
    this.jobs = scratch.addressNumber + scratchAt + POINTERS;
    this.framesLow = frames.region.addressLow | 0;
    this.scratchLow = (scratch.addressLow + scratchAt) | 0;
    this.scheduleLow = (sad.region.addressLow + SCHEDULE) | 0;
    this.isDecryptor = isDecryptor;
    this.keys = isDecryptor ? aead.decryptKeys : ENC_KEYS;
    manager.writeJobPointers(
      new BigUint64Array(scratch.view.buffer as ArrayBuffer, scratchAt + POINTERS, MAX_BATCH),
      MAX_BATCH,
    );
    for (let i = 0; i < MAX_BATCH; i++) {
      const job = JOBS + i * JOB_WORDS;
      // The library does not: the high halves of lengths would be what the heap held before.
      manager.words.fill(0, job, job + JOB_WORDS);
      const word = (offset: number, value: number) => {
        manager.words[job + (offset >>> 2)] = value;
      };
      const line = scratch.addressLow + scratchAt + i * SCRATCH;
      word(JOB.encKeys + 4, sad.region.addressHigh);
      word(JOB.decKeys + 4, sad.region.addressHigh);
      word(JOB.src + 4, frames.region.addressHigh);
      word(JOB.dst + 4, frames.region.addressHigh);
      word(JOB.iv, line);
      word(JOB.iv + 4, scratch.addressHigh);
      word(JOB.ivLength, 12);
      word(JOB.tag, line + ICV);
      word(JOB.tag + 4, isDecryptor ? scratch.addressHigh : frames.region.addressHigh);
      word(JOB.tagLength, 16);
      word(JOB.aad + 4, scratch.addressHigh);
      word(JOB.cipherMode, aead.mode);
      word(JOB.direction, isDecryptor ? DIRECTION_DECRYPT : DIRECTION_ENCRYPT);
      word(JOB.hashAlgorithm, aead.hash);
      word(JOB.chainOrder, isDecryptor ? ORDER_HASH_CIPHER : ORDER_CIPHER_HASH);
    }
  }

  open(slot: number, keyLength: number, salt: number, spi: number, extended: number): void {
    if (
      slot === this.slot &&
      spi === this.spi &&
      salt === this.salt &&
      keyLength === this.keyLength &&
      extended === this.extended
    )
      return;
    this.slot = slot;
    this.spi = spi;
    this.salt = salt;
    this.keyLength = keyLength;
    this.extended = extended;
    this.renew();
  }

  turn(high: number): void {
    if (high === this.high) return;
    this.high = high;
    this.renew();
  }

  /** No job is filled for what follows. */
  private renew(): void {
    this.template = (this.template + 1) | 0;
    // The numbers begin anew. A job that was not used for so long must not pass for one of the new ones.
    if (this.template !== NONE) return;
    this.template = 0;
    this.templates.fill(NONE);
  }

  /** Writes into job `i` what all packets of the run have in common. */
  private fillTemplate(i: number): void {
    this.templates[i] = this.template;
    const { view, job } = this;
    const scratch = i << SCRATCH_SHIFT;
    view.setInt32(scratch, this.salt);
    const isExtended = this.extended !== 0;
    const begin = isExtended ? AAD : AAD + 4;
    view.setInt32(scratch + begin, this.spi);
    // An IV is the sequence number when it is ours, and written with each packet when it is not.
    if (isExtended) view.setInt32(scratch + (AAD + 4), this.high);
    if (!this.isDecryptor) view.setInt32(scratch + 4, this.high);
    const j = JOBS + i * JOB_WORDS;
    job[j + AAD_POINTER] = (this.scratchLow + scratch + begin) | 0;
    job[j + AAD_LENGTH] = isExtended ? 12 : 8;
    job[j + KEY_LENGTH] = this.keyLength;
    job[j + this.keys] = (this.scheduleLow + this.slot) | 0;
  }

  encrypt(i: number, low: number, text: number, length: number): void {
    if (this.templates[i] !== this.template) this.fillTemplate(i);
    const scratch = i << (SCRATCH_SHIFT - 2);
    this.ivLow[scratch] = low;
    this.aadLow[scratch] = low;
    const job = (JOBS + Math.imul(i, JOB_WORDS)) | 0;
    const address = (this.framesLow + text) | 0;
    this.src[job] = address;
    this.dst[job] = address;
    this.cipherLength[job] = length;
    this.tag[job] = (address + length) | 0;
  }

  decrypt(i: number, ivHigh: number, ivLow: number, low: number, text: number, length: number): void {
    if (this.templates[i] !== this.template) this.fillTemplate(i);
    const scratch = i << (SCRATCH_SHIFT - 2);
    this.ivHigh[scratch] = ivHigh;
    this.ivLow[scratch] = ivLow;
    this.aadLow[scratch] = low;
    const job = (JOBS + Math.imul(i, JOB_WORDS)) | 0;
    const address = (this.framesLow + text) | 0;
    this.src[job] = address;
    this.dst[job] = address;
    this.cipherLength[job] = length;
  }

  run(count: number): void {
    if (count > 0) this.submit(this.managerAddress, count, this.jobs);
  }

  authentic(i: number, icv: number): boolean {
    const computed = i << (SCRATCH_SHIFT - 2);
    const { at1, at2, at3, at4 } = this.packets;
    // The word in front of it is looked at as well, see decapsulate.ts.
    const word = ((icv >> 2) - 1) | 0;
    return (
      ((this.icv0[computed] ^ at1[word]) |
        (this.icv1[computed] ^ at2[word]) |
        (this.icv2[computed] ^ at3[word]) |
        (this.icv3[computed] ^ at4[word])) ===
      0
    );
  }

  close(): void {
    this.manager.free();
  }
}

class IpsecMbChaCha20Batch extends IpsecMbBatch {
  constructor(frames: Frames, sad: Sad, decrypt: boolean, scratch: Region, scratchAt: number) {
    super(frames, sad, CHACHA20, decrypt, scratch, scratchAt);
  }

  // AES-GCM hashes what it ciphers; of this one the library wants to be told the length.

  override encrypt(i: number, low: number, text: number, length: number): void {
    super.encrypt(i, low, text, length);
    this.job[JOBS + Math.imul(i, JOB_WORDS) + HASH_LENGTH] = length;
  }

  override decrypt(
    i: number,
    ivHigh: number,
    ivLow: number,
    low: number,
    text: number,
    length: number,
  ): void {
    super.decrypt(i, ivHigh, ivLow, low, text, length);
    this.job[JOBS + Math.imul(i, JOB_WORDS) + HASH_LENGTH] = length;
  }
}

/** @throws when libIPSec_MB is missing or of another version. */
export class IpsecMbEngine implements AeadEngine {
  static readonly id = 1;
  readonly id = IpsecMbEngine.id;
  readonly name = "ipsec-mb";
  private readonly sad: Sad;
  private readonly frames: Frames | undefined;
  private readonly manager = new IpsecMbManager();
  private readonly batches: { close(): void }[] = [];
  private readonly scratches: Region[] = [];

  /** @param frames not needed by a process that only expands keys */
  constructor(sad: Sad, frames?: Frames) {
    this.sad = sad;
    this.frames = frames;
  }

  expandKeys(slot: number): void {
    const { manager, sad } = this;
    const { address, bytes, words } = sad.region;
    const flags = words[(slot + saSlot.at.flags) >>> 2];
    const keyLength = words[(slot + saSlot.at.keyLength) >>> 2];
    if ((flags & SaFlag.cbc) !== 0) expandCbcKeys(manager, sad, slot);
    else if ((flags & SaFlag.chacha20) !== 0)
      bytes.copyWithin(slot + SCHEDULE, slot + KEY, slot + KEY + keyLength);
    else {
      const base = address + BigInt(slot);
      manager.expandGcmKey(base + BigInt(KEY), keyLength, base + BigInt(SCHEDULE));
    }
  }

  private makeBatches(decrypt: boolean): Batches {
    const { frames, sad, batches } = this;
    if (!frames) throw new Error("this engine was made without frames: it only expands keys");
    const scratch = allocateRegion(2 * BATCH_SCRATCH + CBC_SCRATCH);
    const gcm = new IpsecMbBatch(frames, sad, GCM, decrypt, scratch, 0);
    const chacha20 = new IpsecMbChaCha20Batch(frames, sad, decrypt, scratch, BATCH_SCRATCH);
    const cbc = new IpsecMbCbcBatch(frames, sad, decrypt, scratch, 2 * BATCH_SCRATCH);
    batches.push(gcm, chacha20, cbc);
    this.scratches.push(scratch);
    return { gcm, chacha20, cbc };
  }

  encryptor(): Batches {
    return this.makeBatches(false);
  }

  decryptor(): Batches {
    return this.makeBatches(true);
  }

  close(): void {
    for (const batch of this.batches) batch.close();
    for (const scratch of this.scratches) {
      scratch.bytes.fill(0);
      scratch.unmap();
    }
    this.manager.free();
  }
}
