// Intel's libIPSec_MB: its managers and the offsets that the burst interface needs. The numbers are those of version 1.3
// (Debian 12); a test compares them with the installed header, and `IpsecMb.load` refuses another version.

import koffi from "koffi";
import { window } from "./libc.js";

/** Byte offsets in IMB_JOB, and its size. */
export const JOB = {
  size: 200,
  encKeys: 0,
  decKeys: 8,
  keyLength: 16,
  src: 24,
  dst: 32,
  cipherOffset: 40,
  cipherLength: 48,
  hashOffset: 56,
  hashLength: 64,
  iv: 72,
  ivLength: 80,
  tag: 88,
  tagLength: 96,
  aad: 104,
  aadLength: 112,
  status: 128,
  cipherMode: 132,
  direction: 136,
  hashAlgorithm: 140,
  chainOrder: 144,
} as const;

/** Byte offsets in IMB_MGR, and its size. */
export const MANAGER = {
  size: 52520,
  gcm128Pre: 448,
  gcm192Pre: 456,
  gcm256Pre: 464,
  getNextBurst: 952,
  submitBurst: 960,
  submitBurstNocheck: 968,
  flushBurst: 976,
  jobs: 1024,
} as const;

export const CIPHER_GCM = 5;
export const HASH_GCM = 9;
export const DIRECTION_ENCRYPT = 1;
export const DIRECTION_DECRYPT = 2;
export const ORDER_CIPHER_HASH = 1;
export const ORDER_HASH_CIPHER = 2;
export const STATUS_COMPLETED = 3;
export const MAX_JOBS = 256;
export const MAX_BURST = 128;
export const GCM_KEY_DATA_SIZE = 1008;
const VERSION = 0x10300;

const burstPrototype = koffi.proto("uint32_t vita_imb_burst(void *manager, uint32_t count, void *jobs)");
const keyPrototype = koffi.proto("void vita_imb_gcm_pre(void *key, void *schedule)");

interface Library {
  alloc(flags: number): bigint;
  init(manager: bigint, arch: Uint32Array): void;
  free(manager: bigint): void;
}

let library: Library | undefined;

function loadLibrary(): Library {
  if (library) return library;
  const mb = koffi.load("libIPSec_MB.so.1");
  const version: number = mb.func("uint32_t imb_get_version()")();
  if (version !== VERSION)
    throw new Error(
      `libIPSec_MB has version 0x${version.toString(16)}; Vita knows the layout of 0x${VERSION.toString(16)}`,
    );
  const alloc = mb.func("uintptr_t alloc_mb_mgr(uint64_t flags)");
  library = {
    alloc: (flags) => BigInt(alloc(flags)),
    init: mb.func("void init_mb_mgr_auto(void *manager, void *arch)"),
    free: mb.func("void free_mb_mgr(void *manager)"),
  };
  return library;
}

/** Why libIPSec_MB cannot be used on this machine; undefined when it can. */
export function ipsecMbUnavailable(): string | undefined {
  try {
    loadLibrary();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** One manager: a ring of 256 jobs, used by one thread. */
export class IpsecMbManager {
  readonly address: bigint;
  /** The manager's memory: the jobs are in it. */
  readonly words: Uint32Array;
  private readonly view: DataView;
  private readonly getFunction: bigint;
  private readonly submitFunction: bigint;

  /** @throws when the library is missing or of another version */
  constructor() {
    const lib = loadLibrary();
    this.address = lib.alloc(0);
    if (this.address === 0n) throw new Error("libIPSec_MB: alloc_mb_mgr failed (out of memory)");
    lib.init(this.address, new Uint32Array(1));
    const buffer = window(this.address, MANAGER.size);
    this.words = new Uint32Array(buffer);
    this.view = new DataView(buffer);
    this.getFunction = this.view.getBigUint64(MANAGER.getNextBurst, true);
    this.submitFunction = this.view.getBigUint64(MANAGER.submitBurstNocheck, true);
  }

  /** Expands an AES key of 16, 24 or 32 bytes into `struct gcm_key_data`. */
  expandGcmKey(key: bigint, keyLength: number, schedule: bigint): void {
    const slot = { 16: MANAGER.gcm128Pre, 24: MANAGER.gcm192Pre, 32: MANAGER.gcm256Pre }[keyLength];
    if (slot === undefined) throw new Error(`AES has no keys of ${keyLength} bytes`);
    koffi.call(this.view.getBigUint64(slot, true), keyPrototype, key, schedule);
  }

  /** Writes pointers to the next `count` free jobs to the array at `jobs`; returns how many there are — data path. */
  getNextBurst(count: number, jobs: bigint): number {
    return koffi.call(this.getFunction, burstPrototype, this.address, count, jobs);
  }

  /** Works off the jobs at `jobs` without looking whether their fields make sense; returns how many — data path. */
  submitBurst(count: number, jobs: bigint): number {
    return koffi.call(this.submitFunction, burstPrototype, this.address, count, jobs);
  }

  free(): void {
    loadLibrary().free(this.address);
  }
}
