// AES-CBC with an HMAC through libIPSec_MB's burst interface. One packet's blocks depend on each other, in the cipher as in
// the hash; so the library works on blocks of many packets at a time, each in a lane of the wide registers. The more jobs
// a burst has, the fuller are the lanes.
//
// A job goes from the cipher's lanes to the hash's, or back, and is complete when both have had it, in whatever order.
// Jobs that wait for others to come are pushed through at the end of the burst. Like with the AEADs, the jobs are filled
// in the library's own ring, and what never changes is written once.

import type { Frames } from "../memory/frames.js";
import type { Region } from "../memory/region.js";
import {
  type Burst,
  CIPHER_CBC,
  DIRECTION_DECRYPT,
  DIRECTION_ENCRYPT,
  HASH_HMAC_SHA1,
  HASH_HMAC_SHA256,
  HASH_HMAC_SHA384,
  HASH_HMAC_SHA512,
  IpsecMbManager,
  JOB,
  MANAGER,
  MAX_BURST,
  ORDER_CIPHER_HASH,
  ORDER_HASH_CIPHER,
  STATUS_COMPLETED,
} from "../native/ipsec-mb.js";
import type { CbcBatch } from "./aead.js";
import type { Sad } from "./sad.js";
import { cbcSchedule, SaFlag, saSlot } from "./sad-layout.js";
import { hmacIcvBytes } from "./transforms.js";

// Names of this module's own, which V8 compiles in.
const MAX_BATCH = MAX_BURST;
const COMPLETED = STATUS_COMPLETED;
const icvBytesOf = hmacIcvBytes;
const EXTENDED = SaFlag.extendedSequenceNumbers;
const at = saSlot.at;
const FLAGS = at.flags >>> 2;
const KEY_BYTES = at.keyLength >>> 2;
const INTEGRITY = at.integrity >>> 2;

/** By integrity transform: what the library calls it. */
const hashes = new Uint8Array(16);
hashes.set([HASH_HMAC_SHA256, HASH_HMAC_SHA384, HASH_HMAC_SHA512], 12);
hashes[2] = HASH_HMAC_SHA1;

const ESP = 8;
const IV = 16;
const TEXT = ESP + IV;

/** Scratch bytes: computed ICVs, 64 for each job; pointers to the jobs; room for those that a flush returns; an IV of zeros. */
const TAG_SHIFT = 6;
const POINTERS = MAX_BATCH << TAG_SHIFT;
const FLUSHED = POINTERS + 8 * MAX_BATCH;
const ZEROS = FLUSHED + 8 * MAX_BATCH;
export const CBC_SCRATCH = ZEROS + IV;

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
const IV_POINTER = JOB.iv >>> 2;
const TAG = JOB.tag >>> 2;
const TAG_LENGTH = JOB.tagLength >>> 2;
const INNER = JOB.hmacInner >>> 2;
const OUTER = JOB.hmacOuter >>> 2;
const STATUS = JOB.status >>> 2;
const HASH = JOB.hashAlgorithm >>> 2;

export class IpsecMbCbcBatch implements CbcBatch {
  private readonly manager = new IpsecMbManager();
  private readonly submit: Burst;
  private readonly flush: Burst;
  private readonly managerAddress: number;
  private readonly job: Uint32Array;
  private readonly scratch: DataView;
  private readonly framesView: DataView;
  private readonly slots: Uint32Array;
  private readonly pointers: number;
  private readonly flushed: number;
  private readonly framesLow: number;
  /** Low half of the address of a key schedule in slot 0. */
  private readonly scheduleLow: number;
  private readonly decrypt: boolean;

  // The SA of the packets to come: low halves of addresses, and what the jobs have in common.
  private keys = 0;
  private inner = 0;
  private outer = 0;
  private keyLength = 0;
  private hash = 0;
  private icvLength = 0;
  /** Bytes of the sequence number's high half that are hashed behind the text: 4 or 0. */
  private highLength = 0;

  // Decryption, by packet: how long the ICV is, and its first four bytes, which the high half of the sequence number may
  // have taken the place of.
  private readonly icvLengths = new Uint8Array(MAX_BATCH);
  private readonly icvFirst = new Int32Array(MAX_BATCH);

  /** @param scratchAt where in `region` its CBC_SCRATCH bytes are, at a multiple of 64 */
  constructor(frames: Frames, sad: Sad, decrypt: boolean, region: Region, scratchAt: number) {
    const { manager } = this;
    this.submit = manager.submit;
    this.flush = manager.flush;
    this.managerAddress = manager.addressNumber;
    this.job = manager.words;
    const { buffer } = region.view;
    this.scratch = new DataView(buffer, scratchAt, CBC_SCRATCH);
    this.framesView = frames.view;
    this.slots = sad.words;
    this.pointers = region.addressNumber + scratchAt + POINTERS;
    this.flushed = region.addressNumber + scratchAt + FLUSHED;
    this.framesLow = frames.region.addressLow | 0;
    this.scheduleLow = (sad.region.addressLow + at.schedule) | 0;
    this.decrypt = decrypt;
    const pointers = new BigUint64Array(buffer as ArrayBuffer, scratchAt + POINTERS, MAX_BATCH);
    manager.writeJobPointers(pointers, MAX_BATCH);
    for (let i = 0; i < MAX_BATCH; i++) {
      const job = JOBS + i * JOB_WORDS;
      manager.words.fill(0, job, job + JOB_WORDS);
      const word = (offset: number, value: number) => {
        manager.words[job + (offset >>> 2)] = value;
      };
      for (const field of [JOB.encKeys, JOB.decKeys, JOB.hmacInner, JOB.hmacOuter])
        word(field + 4, sad.region.addressHigh);
      word(JOB.src + 4, frames.region.addressHigh);
      word(JOB.dst + 4, frames.region.addressHigh);
      word(JOB.cipherOffset, decrypt ? TEXT : ESP);
      if (!decrypt) word(JOB.iv, region.addressLow + scratchAt + ZEROS);
      word(JOB.iv + 4, decrypt ? frames.region.addressHigh : region.addressHigh);
      word(JOB.ivLength, IV);
      if (decrypt) word(JOB.tag, region.addressLow + scratchAt + (i << TAG_SHIFT));
      word(JOB.tag + 4, decrypt ? region.addressHigh : frames.region.addressHigh);
      word(JOB.cipherMode, CIPHER_CBC);
      word(JOB.direction, decrypt ? DIRECTION_DECRYPT : DIRECTION_ENCRYPT);
      word(JOB.chainOrder, decrypt ? ORDER_HASH_CIPHER : ORDER_CIPHER_HASH);
    }
  }

  open(slot: number): void {
    const { slots } = this;
    const word = slot >>> 2;
    const integrity = slots[word + INTEGRITY];
    const schedule = (this.scheduleLow + slot) | 0;
    this.keys = (schedule + (this.decrypt ? cbcSchedule.decrypt : cbcSchedule.encrypt)) | 0;
    this.inner = (schedule + cbcSchedule.inner) | 0;
    this.outer = (schedule + cbcSchedule.outer) | 0;
    this.keyLength = slots[word + KEY_BYTES] | 0;
    this.hash = hashes[integrity];
    this.icvLength = icvBytesOf[integrity];
    this.highLength = (slots[word + FLAGS] & EXTENDED) !== 0 ? 4 : 0;
  }

  set(i: number, esp: number, length: number, high: number): void {
    const { job, highLength, icvLength } = this;
    const icv = (esp + TEXT + length) | 0;
    const j = (JOBS + Math.imul(i, JOB_WORDS)) | 0;
    const address = (this.framesLow + esp) | 0;
    job[j + SRC] = address;
    job[j + KEY_LENGTH] = this.keyLength;
    job[j + HASH_LENGTH] = TEXT + length + highLength;
    job[j + INNER] = this.inner;
    job[j + OUTER] = this.outer;
    job[j + TAG_LENGTH] = icvLength;
    job[j + HASH] = this.hash;
    if (this.decrypt) {
      job[j + DEC_KEYS] = this.keys;
      job[j + IV_POINTER] = address + ESP;
      job[j + DST] = address + TEXT;
      job[j + CIPHER_LENGTH] = length;
      this.icvLengths[i] = icvLength;
      this.icvFirst[i] = this.framesView.getInt32(icv);
    } else {
      job[j + ENC_KEYS] = this.keys;
      // With an IV of zeros the block in front of the text becomes the encryption of what stands there, and the text follows
      // as if that had been its IV.
      job[j + DST] = address + ESP;
      job[j + CIPHER_LENGTH] = IV + length;
      job[j + TAG] = (this.framesLow + icv) | 0;
    }
    // The high half of the sequence number is authenticated behind the text, and not sent (RFC 4303 §2.2.1). It stands where
    // the ICV goes once the hash has read it.
    if (highLength !== 0) this.framesView.setInt32(icv, high);
  }

  run(count: number): void {
    if (count === 0) return;
    const { job, managerAddress } = this;
    let done = this.submit(managerAddress, count, this.pointers);
    while (done < count) {
      const more = this.flush(managerAddress, count - done, this.flushed);
      if (more === 0) break;
      done += more;
    }
    let wrong = done ^ count;
    for (let i = 0, j = JOBS + STATUS; i < count; i++, j += JOB_WORDS) wrong |= job[j] ^ COMPLETED;
    // A packet that is not encrypted must not leave. What the library would do next nobody knows either: the worker ends,
    // and another one takes its place.
    if (wrong !== 0) fail(count);
  }

  authentic(i: number, icv: number): boolean {
    const { scratch, framesView } = this;
    const computed = i << TAG_SHIFT;
    const length = this.icvLengths[i];
    let difference = scratch.getInt32(computed) ^ this.icvFirst[i];
    for (let n = 4; n < length; n += 4)
      difference |= scratch.getInt32(computed + n) ^ framesView.getInt32(icv + n);
    return difference === 0;
  }

  close(): void {
    this.manager.free();
  }
}

function fail(count: number): never {
  throw new Error(`libIPSec_MB has not completed ${count} jobs of AES-CBC with an HMAC`);
}

/** Bytes that SHA-512 takes in at a time; the others take less. */
const BLOCK = 128;
const HMAC_KEY = 64;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/** Expands the keys in a slot into its schedule. @param manager one that runs no jobs: their memory serves as scratch */
export function expandCbcKeys(manager: IpsecMbManager, sad: Sad, slot: number): void {
  const { bytes, words, address } = sad.region;
  const base = address + BigInt(slot);
  const schedule = base + BigInt(at.schedule);
  manager.expandAesKey(
    base + BigInt(at.key),
    words[(slot >>> 2) + KEY_BYTES],
    schedule + BigInt(cbcSchedule.encrypt),
    schedule + BigInt(cbcSchedule.decrypt),
  );
  // RFC 2104: the key, with zeros behind it up to a whole block, xor the padding. None of the keys is longer than a block.
  const hash = hashes[words[(slot >>> 2) + INTEGRITY]];
  const block = new Uint8Array(manager.words.buffer, MANAGER.jobs, BLOCK);
  for (const [pad, field] of [
    [INNER_PAD, cbcSchedule.inner],
    [OUTER_PAD, cbcSchedule.outer],
  ] as const) {
    block.fill(0);
    block.set(bytes.subarray(slot + at.integrityKey, slot + at.integrityKey + HMAC_KEY));
    for (let i = 0; i < BLOCK; i++) block[i] ^= pad;
    manager.hashBlock(hash, manager.address + BigInt(MANAGER.jobs), schedule + BigInt(field));
  }
  block.fill(0);
}
