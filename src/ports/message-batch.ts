// An array of struct mmsghdr over frame memory for sendmmsg and recvmmsg. Each message gathers from, or scatters to, a
// virtio header of its own (virtio-header.ts; the kernel puts it in front of packets on sockets with PACKET_VNET_HDR)
// and one packet. What a received packet has more than fits in a frame goes to the annex, a place for each message.

import type { Region } from "../memory/region.js";
import { MAP_PRIVATE_ANONYMOUS, mmap, munmap, window } from "../native/libc.js";
import {
  NEEDS_CHECKSUM,
  VIRTIO_BYTES,
  VIRTIO_CHECKSUM_OFFSET,
  VIRTIO_CHECKSUM_START,
  VIRTIO_FLAGS,
  VIRTIO_GSO_SIZE,
  VIRTIO_GSO_TYPE,
} from "./virtio-header.js";

const MESSAGE_BYTES = 64;
const VECTOR_BYTES = 16;
const VIRTIO_STRIDE = 16;

/** Offsets in struct mmsghdr. */
const VECTORS = 16;
const VECTOR_COUNT = 24;
const FLAGS = 48;
const LENGTH = 56;

export const MSG_TRUNC = 0x20;

/** Each message has room for three vectors, and a fourth that keeps the distance a power of two. */
const VECTOR_STRIDE = 4 * VECTOR_BYTES;

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

  /**
   * @param region the memory that the packets are in
   * @param annex byte offset in the region of the first message's place there, and bytes of each; none for messages that
   *   are sent
   */
  constructor(region: Region, count: number, annex?: { offset: number; size: number }) {
    this.count = count;
    this.#vectors = count * MESSAGE_BYTES;
    this.#headers = this.#vectors + count * VECTOR_STRIDE;
    this.#size = this.#headers + count * VIRTIO_STRIDE;
    this.address = mmap(this.#size, MAP_PRIVATE_ANONYMOUS);
    const memory = window(this.address, this.#size);
    this.#words = new Uint32Array(memory);
    this.#view = new DataView(memory);
    this.#low = region.addressLow;
    this.#high = region.addressHigh;
    for (let i = 0; i < count; i++) {
      const vectors = this.#vectors + i * VECTOR_STRIDE;
      const header = this.#headers + i * VIRTIO_STRIDE;
      this.#view.setBigUint64(i * MESSAGE_BYTES + VECTORS, this.address + BigInt(vectors), true);
      this.#view.setBigUint64(i * MESSAGE_BYTES + VECTOR_COUNT, annex ? 3n : 2n, true);
      this.#view.setBigUint64(vectors, this.address + BigInt(header), true);
      this.#view.setBigUint64(vectors + 8, BigInt(VIRTIO_BYTES), true);
      if (!annex) continue;
      this.#view.setBigUint64(vectors + 32, region.address + BigInt(annex.offset + i * annex.size), true);
      this.#view.setBigUint64(vectors + 40, BigInt(annex.size), true);
    }
  }

  /** Points message `i` at `length` bytes of the region, beginning at `offset`. */
  set(i: number, offset: number, length: number): void {
    const at = (this.#vectors >>> 2) + (i << 4) + 4;
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

  /** How the packets that are joined in message `i` are to be cut: GSO_NONE, or a type of segmentation. */
  gsoType(i: number): number {
    return this.#view.getUint8(this.#headers + i * VIRTIO_STRIDE + VIRTIO_GSO_TYPE);
  }

  /** Bytes of payload in each of them. */
  gsoSize(i: number): number {
    return this.#view.getUint16(this.#headers + i * VIRTIO_STRIDE + VIRTIO_GSO_SIZE, true);
  }

  flags(i: number): number {
    return this.#view.getUint8(this.#headers + i * VIRTIO_STRIDE + VIRTIO_FLAGS);
  }

  /** Whether the packet of message `i` has a checksum that nobody has worked out yet. */
  needsChecksum(i: number): boolean {
    return (this.flags(i) & NEEDS_CHECKSUM) !== 0;
  }

  /** Where the coverage of that checksum begins, from the packet's first byte on. */
  checksumStart(i: number): number {
    return this.#view.getUint16(this.#headers + i * VIRTIO_STRIDE + VIRTIO_CHECKSUM_START, true);
  }

  /** Where that checksum stands, from the beginning of its coverage on. */
  checksumOffset(i: number): number {
    return this.#view.getUint16(this.#headers + i * VIRTIO_STRIDE + VIRTIO_CHECKSUM_OFFSET, true);
  }

  unmap(): void {
    munmap(this.address, this.#size);
  }
}
