// Intel's libIPSec_MB: its managers and the offsets that the burst interface needs. The numbers are those of version 1.3
// (Debian 12); a test compares them with the installed header, and `IpsecMb.load` refuses another version.

import koffi from "koffi";
import { MAP_PRIVATE_ANONYMOUS, mmap, mmapLow, munmap, window } from "./libc.js";

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
  /** In place of those two with an HMAC: the states of the hash behind the padded key. */
  hmacInner: 104,
  hmacOuter: 112,
  status: 128,
  cipherMode: 132,
  direction: 136,
  hashAlgorithm: 140,
  chainOrder: 144,
} as const;

/** Byte offsets in IMB_MGR, and its size. */
export const MANAGER = {
  size: 52520,
  keyExpansion128: 112,
  keyExpansion192: 120,
  keyExpansion256: 128,
  sha1Block: 160,
  sha256Block: 176,
  sha384Block: 184,
  sha512Block: 192,
  gcm128Pre: 448,
  gcm192Pre: 456,
  gcm256Pre: 464,
  getNextBurst: 952,
  submitBurst: 960,
  submitBurstNocheck: 968,
  flushBurst: 976,
  earliestJob: 1016,
  nextJob: 1020,
  jobs: 1024,
} as const;

export const CIPHER_CBC = 1;
export const CIPHER_GCM = 5;
export const CIPHER_CHACHA20_POLY1305 = 19;
export const HASH_HMAC_SHA1 = 1;
export const HASH_HMAC_SHA256 = 3;
export const HASH_HMAC_SHA384 = 4;
export const HASH_HMAC_SHA512 = 5;
export const HASH_GCM = 9;
export const HASH_CHACHA20_POLY1305 = 29;
export const DIRECTION_ENCRYPT = 1;
export const DIRECTION_DECRYPT = 2;
export const ORDER_CIPHER_HASH = 1;
export const ORDER_HASH_CIPHER = 2;
export const STATUS_COMPLETED = 3;
export const MAX_JOBS = 256;
export const MAX_BURST = 128;
export const GCM_KEY_DATA_SIZE = 1008;
const VERSION = 0x10300;

// Addresses are handed over as numbers (they have 48 bits): koffi takes those faster than anything else.
const burstParameters = "(uintptr_t manager, uint32_t count, uintptr_t jobs)";
const burstPrototype = koffi.proto(`uint32_t vita_imb_burst${burstParameters}`);
const keyPrototype = koffi.proto("void vita_imb_gcm_pre(void *key, void *schedule)");
const expansionPrototype = koffi.proto("void vita_imb_keyexp(void *key, void *encrypt, void *decrypt)");
const blockPrototype = koffi.proto("void vita_imb_one_block(void *block, void *state)");

/** One per instruction set; `init_mb_mgr_auto` puts the best one's functions into the manager. */
const VARIANTS = [
  "avx512_t2",
  "avx512_t1",
  "avx2_t2",
  "avx2_t1",
  "avx_t2",
  "avx_t1",
  "sse_t3",
  "sse_t2",
  "sse_t1",
];

export type Burst = (manager: number, count: number, jobs: number) => number;

interface Library {
  /** The function that a manager holds a pointer to, one of `NAME_VARIANT`. */
  burst(name: string, address: bigint): Burst;
  /** Memory for a manager, not yet initialised. @throws when there is none */
  alloc(): bigint;
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
  const managerSize: () => bigint | number = mb.func("size_t imb_get_mb_mgr_size()");
  const setPointers = mb.func(
    "uintptr_t imb_set_pointers_mb_mgr(uintptr_t memory, uint64_t flags, uint32_t reset)",
  );
  library = {
    burst: (name, address) => {
      for (const variant of VARIANTS) {
        try {
          if (mb.symbol(`${name}_${variant}`, "void *") === address)
            return mb.func(`uint32_t ${name}_${variant}${burstParameters}`);
        } catch {
          // Not built into this library.
        }
      }
      // Calls the pointer itself, which takes koffi three times as long as calling an exported function.
      return (manager, count, jobs) => koffi.call(address, burstPrototype, manager, count, jobs);
    },
    // In place of `alloc_mb_mgr`: see `reserve` in memory/region.ts, why addresses below 2^31 are better.
    alloc: () => {
      const size = Number(managerSize());
      const address = mmapLow(size) ?? mmap(size, MAP_PRIVATE_ANONYMOUS);
      if (BigInt(setPointers(address, 0, 1)) !== address) {
        munmap(address, size);
        throw new Error("libIPSec_MB: imb_set_pointers_mb_mgr failed");
      }
      return address;
    },
    init: mb.func("void init_mb_mgr_auto(void *manager, void *arch)"),
    free: (manager) => munmap(manager, Number(managerSize())),
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

/**
 * One manager: a ring of 256 jobs, used by one thread.
 *
 * AES-GCM and ChaCha20-Poly1305 jobs are complete when `submitBurst` returns; those with an HMAC when `flushBurst` has
 * returned the others. The ring is empty then, and the library begins the next burst at job 0, so that the jobs of a burst
 * are always jobs 0 to `count` - 1: `get_next_burst` need not be asked for them.
 */
export class IpsecMbManager {
  readonly address: bigint;
  /** The manager's memory: the jobs are in it. */
  readonly words: Uint32Array;
  /** `submitBurst(manager, count, jobs)`: see there. */
  readonly submit: Burst;
  /** `flushBurst(manager, count, jobs)`: completes at most `count` jobs, and writes pointers to them into `jobs`. */
  readonly flush: Burst;
  /** The manager's address as a number. */
  readonly addressNumber: number;
  private readonly view: DataView;

  /** @throws when the library is missing or of another version */
  constructor() {
    const lib = loadLibrary();
    const address = lib.alloc();
    lib.init(address, new Uint32Array(1));
    const view = new DataView(window(address, MANAGER.size));
    this.address = address;
    this.addressNumber = Number(address);
    this.words = new Uint32Array(view.buffer);
    this.view = view;
    this.submit = lib.burst("submit_burst_nocheck", view.getBigUint64(MANAGER.submitBurstNocheck, true));
    this.flush = lib.burst("flush_burst", view.getBigUint64(MANAGER.flushBurst, true));
    // The library's self-test leaves the empty ring somewhere in the middle.
    if (view.getInt32(MANAGER.earliestJob, true) !== -1)
      throw new Error("libIPSec_MB: a new manager has jobs");
    view.setInt32(MANAGER.nextJob, 0, true);
  }

  /** Expands an AES key of 16, 24 or 32 bytes into `struct gcm_key_data`. */
  expandGcmKey(key: bigint, keyLength: number, schedule: bigint): void {
    const slot = { 16: MANAGER.gcm128Pre, 24: MANAGER.gcm192Pre, 32: MANAGER.gcm256Pre }[keyLength];
    if (slot === undefined) throw new Error(`AES has no keys of ${keyLength} bytes`);
    koffi.call(this.view.getBigUint64(slot, true), keyPrototype, key, schedule);
  }

  /** Expands an AES key of 16, 24 or 32 bytes into round keys, 240 bytes each way. */
  expandAesKey(key: bigint, keyLength: number, encrypt: bigint, decrypt: bigint): void {
    const slot = {
      16: MANAGER.keyExpansion128,
      24: MANAGER.keyExpansion192,
      32: MANAGER.keyExpansion256,
    }[keyLength];
    if (slot === undefined) throw new Error(`AES has no keys of ${keyLength} bytes`);
    koffi.call(this.view.getBigUint64(slot, true), expansionPrototype, key, encrypt, decrypt);
  }

  /**
   * Hashes the first block of a text, and writes what state the hash is in then.
   * @param algorithm a HASH_HMAC_…
   * @param block 128 bytes with SHA-384 and SHA-512, 64 with the others
   * @param state 64 bytes with SHA-384 and SHA-512, 32 with SHA-256, 20 with SHA-1
   */
  hashBlock(algorithm: number, block: bigint, state: bigint): void {
    const slot = {
      [HASH_HMAC_SHA1]: MANAGER.sha1Block,
      [HASH_HMAC_SHA256]: MANAGER.sha256Block,
      [HASH_HMAC_SHA384]: MANAGER.sha384Block,
      [HASH_HMAC_SHA512]: MANAGER.sha512Block,
    }[algorithm];
    if (slot === undefined) throw new Error(`no HMAC has number ${algorithm}`);
    koffi.call(this.view.getBigUint64(slot, true), blockPrototype, block, state);
  }

  /** Writes pointers to jobs 0 to `count` - 1 into `jobs`, 64 bits each: what `submitBurst` wants to be given. */
  writeJobPointers(jobs: BigUint64Array, count: number): void {
    for (let i = 0; i < count; i++) jobs[i] = this.address + BigInt(MANAGER.jobs + i * JOB.size);
  }

  /**
   * Works off jobs 0 to `count` - 1, of which pointers stand at `jobs` (an address), without looking whether their
   * fields make sense; returns how many — data path.
   */
  submitBurst(count: number, jobs: number): number {
    return this.submit(this.addressNumber, count, jobs);
  }

  free(): void {
    loadLibrary().free(this.address);
  }
}
