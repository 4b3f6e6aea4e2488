// crypto: the ceiling of every ESP benchmark. libIPSec_MB encrypts and decrypts, in bursts and in place, as many texts as
// softbench sends packets, of the lengths that ESP gives them, with AES-128-GCM and the additional data of extended
// sequence numbers. The jobs are prepared once and submitted over and over, so that what is measured is the library and
// one foreign call a burst, and not what it costs to fill jobs.

import { parseArgs } from "node:util";
import { FRAME_SIZE, Frames, HEADROOM } from "../src/memory/frames.js";
import { allocateRegion, type Region } from "../src/memory/region.js";
import {
  CIPHER_GCM,
  DIRECTION_DECRYPT,
  DIRECTION_ENCRYPT,
  GCM_KEY_DATA_SIZE,
  HASH_GCM,
  IpsecMbManager,
  JOB,
  MANAGER,
  MAX_BURST,
  ORDER_CIPHER_HASH,
  ORDER_HASH_CIPHER,
} from "../src/native/ipsec-mb.js";
import { aes128gcm16, type Cipher, parseCipher } from "./ciphers.js";
import { EngineCeiling } from "./engine-cipher.js";
import { count, medianRound, packetsPerRound, type Round, round3 } from "./rounds.js";
import { type FrameSize, frameSizes, parseSize } from "./sizes.js";

export interface CryptoResult {
  bench: "crypto";
  size: FrameSize;
  cipher: string;
  packets: number;
  mpps: number;
  nsPerPacket: number;
  verified: boolean;
}

const ETHERNET_HEADER = 14;
const ICV = 16;
/** Scratch memory, bytes: nonce, additional data and computed ICV of each job, then the job pointers, then the key. */
const LINE = 64;
const AAD = 16;
const TAG = 32;
const POINTERS = MAX_BURST * LINE;
const KEY = POINTERS + 2 * 8 * MAX_BURST;
const SCHEDULE = KEY + 64;

const WARM_UP = 20_000;
const ROUNDS = 9;

/** Bytes that ESP encrypts of a frame: IP packet, padding to a multiple of four, pad length and next header. */
function textLength(frameLength: number): number {
  const length = frameLength - ETHERNET_HEADER;
  return length + ((2 - length) & 3) + 2;
}

export class CryptoBench implements Ceiling {
  readonly size: FrameSize;
  private readonly lengths: number[];
  private readonly frames = new Frames(MAX_BURST);
  private readonly scratch: Region;
  private readonly encrypt = new IpsecMbManager();
  private readonly decrypt = new IpsecMbManager();
  private readonly pointers: number;
  /** Which of the mix's lengths job 0 has: bursts are no multiple of the mix, and go on where the last one ended. */
  private phase = 0;

  constructor(size: FrameSize) {
    this.size = size;
    this.lengths = frameSizes(size).map(textLength);
    const scratch = allocateRegion(SCHEDULE + GCM_KEY_DATA_SIZE);
    this.scratch = scratch;
    this.pointers = scratch.addressNumber + POINTERS;
    const { buffer } = scratch.view;
    this.encrypt.writeJobPointers(new BigUint64Array(buffer as ArrayBuffer, POINTERS, MAX_BURST), MAX_BURST);
    this.decrypt.writeJobPointers(
      new BigUint64Array(buffer as ArrayBuffer, POINTERS + 8 * MAX_BURST, MAX_BURST),
      MAX_BURST,
    );
    for (let i = 0; i < 16; i++) scratch.bytes[KEY + i] = 7 * i;
    this.encrypt.expandGcmKey(scratch.address + BigInt(KEY), 16, scratch.address + BigInt(SCHEDULE));
    for (let i = 0; i < MAX_BURST; i++) scratch.view.setUint32(i * LINE + 8, i + 1);
    for (let i = 0; i < this.frames.bytes.length; i++) this.frames.bytes[i] = i * 7 + (i >>> 11);
    this.prepare();
  }

  private text(i: number): number {
    // Where softbench's inner packets begin: behind an Ethernet header.
    return i * FRAME_SIZE + HEADROOM + ETHERNET_HEADER;
  }

  private length(i: number): number {
    return this.lengths[(i + this.phase) % this.lengths.length];
  }

  private prepare(): void {
    for (const manager of [this.encrypt, this.decrypt]) {
      const isDecrypt = manager === this.decrypt;
      const { words } = manager;
      for (let i = 0; i < MAX_BURST; i++) {
        const job = (MANAGER.jobs + i * JOB.size) >>> 2;
        const number = (offset: number, value: number) => {
          words[job + (offset >>> 2)] = value;
        };
        const pointer = (offset: number, region: Region, at: number) => {
          number(offset, region.addressLow + at);
          number(offset + 4, region.addressHigh);
        };
        words.fill(0, job, job + (JOB.size >>> 2));
        const { region } = this.frames;
        const text = this.text(i);
        const length = this.length(i);
        pointer(JOB.encKeys, this.scratch, SCHEDULE);
        pointer(JOB.decKeys, this.scratch, SCHEDULE);
        number(JOB.keyLength, 16);
        pointer(JOB.src, region, text);
        pointer(JOB.dst, region, text);
        number(JOB.cipherLength, length);
        number(JOB.hashLength, length);
        pointer(JOB.iv, this.scratch, i * LINE);
        number(JOB.ivLength, 12);
        if (isDecrypt) pointer(JOB.tag, this.scratch, i * LINE + TAG);
        else pointer(JOB.tag, region, text + length);
        number(JOB.tagLength, ICV);
        pointer(JOB.aad, this.scratch, i * LINE + AAD);
        number(JOB.aadLength, 12);
        number(JOB.cipherMode, CIPHER_GCM);
        number(JOB.direction, isDecrypt ? DIRECTION_DECRYPT : DIRECTION_ENCRYPT);
        number(JOB.hashAlgorithm, HASH_GCM);
        number(JOB.chainOrder, isDecrypt ? ORDER_HASH_CIPHER : ORDER_CIPHER_HASH);
      }
    }
  }

  /** Encrypts and decrypts at least so many packets. */
  send(packets: number): Round {
    const { encrypt, decrypt, pointers } = this;
    const cycle = this.lengths.length === 1 ? 1 : this.lengths.length / 4;
    const bursts = Math.ceil(packets / (MAX_BURST * cycle));
    let nanoseconds = 0;
    // A burst of 128 jobs ends in the middle of the mix; `cycle` bursts after each other hold each length equally often.
    for (let part = 0; part < cycle; part++) {
      const begin = process.hrtime.bigint();
      for (let i = 0; i < bursts; i++) {
        encrypt.submitBurst(MAX_BURST, pointers);
        decrypt.submitBurst(MAX_BURST, pointers + 8 * MAX_BURST);
      }
      nanoseconds += Number(process.hrtime.bigint() - begin);
      if (cycle > 1) {
        this.phase = (this.phase + MAX_BURST) % this.lengths.length;
        this.prepare();
      }
    }
    return { packets: bursts * cycle * MAX_BURST, nanoseconds };
  }

  /** Does encryption change every text, and decryption give it back, with equal ICVs? */
  verify(): boolean {
    const before = this.frames.bytes.slice();
    const same = (from: number, to: number) =>
      Buffer.compare(this.frames.bytes.subarray(from, to), before.subarray(from, to)) === 0;
    let right = this.encrypt.submitBurst(MAX_BURST, this.pointers) === MAX_BURST;
    for (let i = 0; i < MAX_BURST; i++) if (same(this.text(i), this.text(i) + this.length(i))) right = false;
    right = this.decrypt.submitBurst(MAX_BURST, this.pointers + 8 * MAX_BURST) === MAX_BURST && right;
    for (let i = 0; i < MAX_BURST; i++) {
      const end = this.text(i) + this.length(i);
      const icv = this.frames.bytes.subarray(end, end + ICV);
      const computed = this.scratch.bytes.subarray(i * LINE + TAG, i * LINE + TAG + ICV);
      if (!same(this.text(i), end) || Buffer.compare(icv, computed) !== 0) right = false;
    }
    return right;
  }

  warmUp(): void {
    this.send(WARM_UP);
  }

  close(): void {
    this.encrypt.free();
    this.decrypt.free();
    this.scratch.unmap();
    this.frames.region.unmap();
  }
}

/** The library alone with a cipher. What is measured is prepared for it by hand with AES-128-GCM, by the engine with others. */
export interface Ceiling {
  warmUp(): void;
  /** Encrypts and decrypts at least so many packets. */
  send(packets: number): Round;
  /** Does encryption change every text, and decryption give it back, authentic? */
  verify(): boolean;
  close(): void;
}

export function ceilingOf(cipher: Cipher, size: FrameSize): Ceiling {
  return cipher === aes128gcm16 ? new CryptoBench(size) : new EngineCeiling(cipher.name, size);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", default: "IMIX" },
      packets: { type: "string", default: "10000000" },
      cipher: { type: "string", default: aes128gcm16.name },
      json: { type: "boolean", default: false },
    },
  });
  const each = packetsPerRound(count(values.packets, "packets", 1e9), ROUNDS);
  const size = parseSize(values.size);
  const cipher = parseCipher(values.cipher);
  const bench = ceilingOf(cipher, size);
  try {
    bench.warmUp();
    const rounds = Array.from({ length: ROUNDS }, () => bench.send(each));
    const { packets, nanoseconds } = medianRound(rounds);
    const result: CryptoResult = {
      bench: "crypto",
      size,
      cipher: cipher.name,
      packets: rounds.reduce((sum, round) => sum + round.packets, 0),
      mpps: round3((packets / nanoseconds) * 1e3),
      nsPerPacket: round3(nanoseconds / packets),
      verified: bench.verify(),
    };
    if (values.json) console.log(JSON.stringify(result));
    else
      console.log(
        `crypto ${result.size}: ${result.mpps} Mpps, ${result.nsPerPacket} ns a packet, ` +
          `results ${result.verified ? "verified" : "DIFFER"}`,
      );
    if (!result.verified) process.exitCode = 1;
  } finally {
    bench.close();
  }
}
