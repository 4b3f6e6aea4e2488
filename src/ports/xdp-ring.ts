// One of the four rings that an AF_XDP socket shares with the kernel: a producer and a consumer index, free-running 32-bit
// numbers each written by one side alone, and descriptors between them (linux/if_xdp.h, Documentation/networking/af_xdp.rst).
//
// The side that writes an index stores it after the descriptors that it covers, the other side loads it before it looks
// at them; `Atomics` gives both orders.

import { MAP_POPULATE, MAP_SHARED, mmap, munmap, window } from "../native/libc.js";

/** Offsets in the mapping, from getsockopt(XDP_MMAP_OFFSETS). */
export interface RingOffsets {
  readonly producer: number;
  readonly consumer: number;
  readonly descriptors: number;
  readonly flags: number;
}

export const RING_NEED_WAKEUP = 1;

export class XdpRing {
  /** Descriptors that fit, a power of two. */
  readonly size: number;
  readonly mask: number;
  /** One word each. */
  readonly producer: Int32Array;
  readonly consumer: Int32Array;
  readonly flags: Int32Array;
  /** The descriptors as 32-bit words. Addresses stay below 2^31, their high words are always 0. */
  readonly words: Int32Array;

  readonly #address: bigint;
  readonly #length: number;

  /**
   * @param page the page offset that names the ring to mmap
   * @param descriptorBytes 8 (an address) or 16 (address, length, options)
   */
  constructor(fd: number, page: number, offsets: RingOffsets, size: number, descriptorBytes: 8 | 16) {
    this.size = size;
    this.mask = size - 1;
    this.#length = offsets.descriptors + size * descriptorBytes;
    this.#address = mmap(this.#length, MAP_SHARED | MAP_POPULATE, fd, page);
    const memory = window(this.#address, this.#length);
    this.producer = new Int32Array(memory, offsets.producer, 1);
    this.consumer = new Int32Array(memory, offsets.consumer, 1);
    this.flags = new Int32Array(memory, offsets.flags, 1);
    this.words = new Int32Array(memory, offsets.descriptors, (size * descriptorBytes) >>> 2);
  }

  /** Descriptors that were produced and not yet consumed. */
  get pending(): number {
    return (Atomics.load(this.producer, 0) - Atomics.load(this.consumer, 0)) | 0;
  }

  /** True when the kernel wants to be woken by a system call before it looks at the ring. */
  get needsWakeup(): boolean {
    return (Atomics.load(this.flags, 0) & RING_NEED_WAKEUP) !== 0;
  }

  unmap(): void {
    munmap(this.#address, this.#length);
  }
}
