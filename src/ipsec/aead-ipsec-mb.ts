// AES-GCM through libIPSec_MB's burst interface. The jobs are filled in the library's own ring, in shared memory with
// it; what never changes (modes, lengths, high halves of addresses) is written once for all 256 jobs, so that a packet
// costs about ten stores.

import type { Frames } from "../memory/frames.js";
import { allocateRegion, type Region } from "../memory/region.js";
import {
  CIPHER_GCM,
  DIRECTION_DECRYPT,
  DIRECTION_ENCRYPT,
  HASH_GCM,
  IpsecMbManager,
  JOB,
  MANAGER,
  MAX_JOBS,
  ORDER_CIPHER_HASH,
  ORDER_HASH_CIPHER,
} from "../native/ipsec-mb.js";
import { type AeadBatch, type AeadEngine, MAX_BATCH } from "./aead.js";
import type { Sad } from "./sad.js";
import { saSlot } from "./sad-layout.js";

const KEY = saSlot.at.key;
const SCHEDULE = saSlot.at.schedule;

/** Scratch bytes of one packet: nonce at 0, additional data at 16, computed ICV at 32. One cache line. */
const SCRATCH = 64;
const AAD = 16;
const ICV = 32;

class IpsecMbBatch implements AeadBatch {
  private readonly manager: IpsecMbManager;
  private readonly job: Uint32Array;
  private readonly scratch: Region;
  private readonly view: DataView;
  private readonly frames: Frames;
  /** Pointers to the batch's jobs, as the library hands them out, behind the scratch of the packets. */
  private readonly jobs: Uint32Array;
  private readonly jobsAddress: bigint;
  private readonly managerLow: number;
  private readonly framesLow: number;
  private readonly sadLow: number;
  private readonly scratchLow: number;
  private readonly decrypt: boolean;

  constructor(frames: Frames, sad: Sad, decrypt: boolean) {
    const manager = new IpsecMbManager();
    const scratch = allocateRegion(MAX_BATCH * SCRATCH + MAX_BATCH * 8);
    this.manager = manager;
    this.job = manager.words;
    this.scratch = scratch;
    this.view = scratch.view;
    this.frames = frames;
    this.jobs = new Uint32Array(scratch.view.buffer as ArrayBuffer, MAX_BATCH * SCRATCH, MAX_BATCH * 2);
    this.jobsAddress = scratch.address + BigInt(MAX_BATCH * SCRATCH);
    this.managerLow = Number(manager.address & 0xffffffffn);
    this.framesLow = frames.region.addressLow;
    this.sadLow = sad.region.addressLow;
    this.scratchLow = scratch.addressLow;
    this.decrypt = decrypt;
    for (let i = 0; i < MAX_JOBS; i++) {
      const job = (MANAGER.jobs + i * JOB.size) >>> 2;
      // The library does not: the high halves of lengths would be what the heap held before.
      this.job.fill(0, job, job + (JOB.size >>> 2));
      const word = (offset: number, value: number) => {
        this.job[job + (offset >>> 2)] = value;
      };
      word(JOB.encKeys + 4, sad.region.addressHigh);
      word(JOB.decKeys + 4, sad.region.addressHigh);
      word(JOB.src + 4, frames.region.addressHigh);
      word(JOB.dst + 4, frames.region.addressHigh);
      word(JOB.iv + 4, scratch.addressHigh);
      word(JOB.ivLength, 12);
      word(JOB.tag + 4, decrypt ? scratch.addressHigh : frames.region.addressHigh);
      word(JOB.tagLength, 16);
      word(JOB.aad + 4, scratch.addressHigh);
      word(JOB.cipherMode, CIPHER_GCM);
      word(JOB.direction, decrypt ? DIRECTION_DECRYPT : DIRECTION_ENCRYPT);
      word(JOB.hashAlgorithm, HASH_GCM);
      word(JOB.chainOrder, decrypt ? ORDER_HASH_CIPHER : ORDER_CIPHER_HASH);
    }
  }

  begin(count: number): void {
    this.manager.getNextBurst(count, this.jobsAddress);
  }

  set(
    i: number,
    slot: number,
    keyLength: number,
    salt: number,
    ivHigh: number,
    ivLow: number,
    spi: number,
    extended: number,
    high: number,
    low: number,
    text: number,
    length: number,
  ): void {
    const view = this.view;
    const scratch = i * SCRATCH;
    view.setUint32(scratch, salt);
    view.setUint32(scratch + 4, ivHigh);
    view.setUint32(scratch + 8, ivLow);
    view.setUint32(scratch + AAD, spi);
    if (extended !== 0) {
      view.setUint32(scratch + AAD + 4, high);
      view.setUint32(scratch + AAD + 8, low);
    } else view.setUint32(scratch + AAD + 4, low);
    const job = this.job;
    const j = ((this.jobs[2 * i] - this.managerLow) >>> 0) >>> 2;
    const key = this.sadLow + slot + SCHEDULE;
    job[j + (JOB.encKeys >>> 2)] = key;
    job[j + (JOB.decKeys >>> 2)] = key;
    job[j + (JOB.keyLength >>> 2)] = keyLength;
    const address = this.framesLow + text;
    job[j + (JOB.src >>> 2)] = address;
    job[j + (JOB.dst >>> 2)] = address;
    job[j + (JOB.cipherLength >>> 2)] = length;
    job[j + (JOB.hashLength >>> 2)] = length;
    const line = this.scratchLow + scratch;
    job[j + (JOB.iv >>> 2)] = line;
    job[j + (JOB.tag >>> 2)] = this.decrypt ? line + ICV : address + length;
    job[j + (JOB.aad >>> 2)] = line + AAD;
    job[j + (JOB.aadLength >>> 2)] = extended !== 0 ? 12 : 8;
    if (this.decrypt) this.icvOffsets[i] = text + length;
  }

  private readonly icvOffsets = new Uint32Array(MAX_BATCH);

  run(count: number): void {
    if (count > 0) this.manager.submitBurst(count, this.jobsAddress);
  }

  authentic(i: number): boolean {
    const computed = i * SCRATCH + ICV;
    const received = this.icvOffsets[i];
    const mine = this.view;
    const other = this.frames.view;
    return (
      ((mine.getInt32(computed) ^ other.getInt32(received)) |
        (mine.getInt32(computed + 4) ^ other.getInt32(received + 4)) |
        (mine.getInt32(computed + 8) ^ other.getInt32(received + 8)) |
        (mine.getInt32(computed + 12) ^ other.getInt32(received + 12))) ===
      0
    );
  }

  close(): void {
    this.scratch.bytes.fill(0);
    this.scratch.unmap();
    this.manager.free();
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
  private readonly batches: IpsecMbBatch[] = [];

  /** @param frames not needed by a process that only expands keys */
  constructor(sad: Sad, frames?: Frames) {
    this.sad = sad;
    this.frames = frames;
  }

  expandKey(slotOffset: number, keyLength: number): void {
    const address = this.sad.region.address + BigInt(slotOffset);
    this.manager.expandGcmKey(address + BigInt(KEY), keyLength, address + BigInt(SCHEDULE));
  }

  private makeBatch(decrypt: boolean): AeadBatch {
    if (!this.frames) throw new Error("this engine was made without frames: it only expands keys");
    const batch = new IpsecMbBatch(this.frames, this.sad, decrypt);
    this.batches.push(batch);
    return batch;
  }

  encryptor(): AeadBatch {
    return this.makeBatch(false);
  }

  decryptor(): AeadBatch {
    return this.makeBatch(true);
  }

  close(): void {
    for (const batch of this.batches) batch.close();
    this.manager.free();
  }
}
