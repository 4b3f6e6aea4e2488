// An array of struct iovec over frame memory, for system calls that gather and scatter. It is filled with the two 32-bit
// halves of each address, which no arithmetic on the way makes larger than 32 bits (see memory/region.ts).

import type { Region } from "../memory/region.js";
import { MAP_PRIVATE_ANONYMOUS, mmap, munmap, window } from "../native/libc.js";

const VECTOR_BYTES = 16;

export class IoVectors {
  /** Address of the array, for the system call. */
  readonly address: bigint;
  readonly #bytes: number;
  readonly #words: Uint32Array;
  readonly #low: number;
  readonly #high: number;

  /** @param region the memory that the vectors point into */
  constructor(region: Region, count: number) {
    this.#bytes = count * VECTOR_BYTES;
    this.address = mmap(this.#bytes, MAP_PRIVATE_ANONYMOUS);
    this.#words = new Uint32Array(window(this.address, this.#bytes));
    this.#low = region.addressLow;
    this.#high = region.addressHigh;
  }

  /** Points vector `i` at `length` bytes of the region, beginning at `offset`. */
  set(i: number, offset: number, length: number): void {
    const at = i << 2;
    this.#words[at] = this.#low + offset;
    this.#words[at + 1] = this.#high;
    this.#words[at + 2] = length;
    this.#words[at + 3] = 0;
  }

  unmap(): void {
    munmap(this.address, this.#bytes);
  }
}
