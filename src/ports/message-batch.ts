// An array of struct mmsghdr over frame memory for sendmmsg and recvmmsg. Each message gathers from, or scatters to, a
// virtio header of its own (linux/virtio_net.h; the kernel puts it in front of packets on sockets with PACKET_VNET_HDR)
// and one packet.

import type { Region } from "../memory/region.js";
import { MAP_PRIVATE_ANONYMOUS, mmap, munmap, window } from "../native/libc.js";

const MESSAGE_BYTES = 64;
const VECTOR_BYTES = 16;
export const VIRTIO_BYTES = 10;
const VIRTIO_STRIDE = 16;

/** Offsets in struct mmsghdr. */
const VECTORS = 16;
const VECTOR_COUNT = 24;
const FLAGS = 48;
const LENGTH = 56;

export const MSG_TRUNC = 0x20;

const NEEDS_CHECKSUM = 1;

export class MessageBatch {
  /** Address of the array, for the system call. */
  readonly address: bigint;
  readonly count: number;
  readonly #size: number;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #low: number;
  readonly #high: number;
  readonly #vectors: number;
  readonly #headers: number;

  /** @param region the memory that the packets are in */
  constructor(region: Region, count: number) {
    this.count = count;
    this.#vectors = count * MESSAGE_BYTES;
    this.#headers = this.#vectors + count * 2 * VECTOR_BYTES;
    this.#size = this.#headers + count * VIRTIO_STRIDE;
    this.address = mmap(this.#size, MAP_PRIVATE_ANONYMOUS);
    const memory = window(this.address, this.#size);
    this.#words = new Uint32Array(memory);
    this.#view = new DataView(memory);
    this.#low = region.addressLow;
    this.#high = region.addressHigh;
    for (let i = 0; i < count; i++) {
      const vectors = this.#vectors + i * 2 * VECTOR_BYTES;
      const header = this.#headers + i * VIRTIO_STRIDE;
      this.#view.setBigUint64(i * MESSAGE_BYTES + VECTORS, this.address + BigInt(vectors), true);
      this.#view.setBigUint64(i * MESSAGE_BYTES + VECTOR_COUNT, 2n, true);
      this.#view.setBigUint64(vectors, this.address + BigInt(header), true);
      this.#view.setBigUint64(vectors + 8, BigInt(VIRTIO_BYTES), true);
    }
  }

  /** Points message `i` at `length` bytes of the region, beginning at `offset`. */
  set(i: number, offset: number, length: number): void {
    const at = (this.#vectors >>> 2) + (i << 3) + 4;
    this.#words[at] = this.#low + offset;
    this.#words[at + 1] = this.#high;
    this.#words[at + 2] = length;
  }

  /** Address of message `i`, for a call that goes on there. Allocates: not for each packet. */
  from(i: number): bigint {
    return this.address + BigInt(i * MESSAGE_BYTES);
  }

  /** Bytes of packet that message `i` received. */
  length(i: number): number {
    return (this.#words[(i << 4) + (LENGTH >>> 2)] | 0) - VIRTIO_BYTES;
  }

  /** Whether the packet of message `i` was larger than its frame. */
  truncated(i: number): boolean {
    return (this.#words[(i << 4) + (FLAGS >>> 2)] & MSG_TRUNC) !== 0;
  }

  /** Whether message `i` received several packets that the kernel has joined, or not yet taken apart. */
  joined(i: number): boolean {
    return this.#view.getUint8(this.#headers + i * VIRTIO_STRIDE + 1) !== 0;
  }

  /** Whether the packet of message `i` has a checksum that nobody has worked out yet. */
  needsChecksum(i: number): boolean {
    return (this.#view.getUint8(this.#headers + i * VIRTIO_STRIDE) & NEEDS_CHECKSUM) !== 0;
  }

  /** Where the coverage of that checksum begins, from the packet's first byte on. */
  checksumStart(i: number): number {
    return this.#view.getUint16(this.#headers + i * VIRTIO_STRIDE + 6, true);
  }

  /** Where that checksum stands, from the beginning of its coverage on. */
  checksumOffset(i: number): number {
    return this.#view.getUint16(this.#headers + i * VIRTIO_STRIDE + 8, true);
  }

  unmap(): void {
    munmap(this.address, this.#size);
  }
}
