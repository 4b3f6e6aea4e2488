// The entries of a neighbour cache: a fixed number of them, found by address without allocating. IPv4 addresses stand in
// the first of four words, with 4 in front of their family.

import { NONE } from "../memory/frames.js";
import type { IpAddress } from "../net/address.js";

export class NeighbourTable {
  readonly family: Uint8Array;
  private readonly words: Int32Array;
  private readonly heads: Int32Array;
  /** Of the same hash; of the free ones. */
  private readonly next: Int32Array;
  private firstFree = 0;
  count = 0;

  /** @param capacity a power of two */
  constructor(readonly capacity: number) {
    this.family = new Uint8Array(capacity);
    this.words = new Int32Array(4 * capacity);
    this.heads = new Int32Array(capacity).fill(NONE);
    this.next = Int32Array.from({ length: capacity }, (_, i) => (i + 1 < capacity ? i + 1 : NONE));
  }

  private bucket(a: number, b: number, c: number, d: number): number {
    const mixed = Math.imul(
      a ^ Math.imul(b ^ Math.imul(c ^ Math.imul(d, 0x85ebca6b), 0xc2b2ae35), 0x27d4eb2f),
      0x9e3779b1,
    );
    return (mixed ^ (mixed >>> 15)) & (this.capacity - 1);
  }

  private lookup(family: number, a: number, b: number, c: number, d: number): number {
    const { words } = this;
    let entry = this.heads[this.bucket(a, b, c, d)];
    while (entry !== NONE) {
      const at = 4 * entry;
      if (
        words[at] === a &&
        words[at + 1] === b &&
        words[at + 2] === c &&
        words[at + 3] === d &&
        this.family[entry] === family
      )
        return entry;
      entry = this.next[entry];
    }
    return NONE;
  }

  /** The entry of the IPv4 address at `at`, or NONE. */
  find4(view: DataView, at: number): number {
    return this.lookup(4, view.getInt32(at), 0, 0, 0);
  }

  /** The entry of the IPv6 address at `at`, or NONE. */
  find6(view: DataView, at: number): number {
    return this.lookup(
      6,
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
  }

  find(address: IpAddress): number {
    const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
    return address.length === 4 ? this.find4(view, 0) : this.find6(view, 0);
  }

  /** Makes an entry for an address that has none; NONE when all are in use. */
  add(address: IpAddress): number {
    const entry = this.firstFree;
    if (entry === NONE) return NONE;
    this.firstFree = this.next[entry];
    const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
    const at = 4 * entry;
    for (let i = 0; i < 4; i++) this.words[at + i] = 4 * i < address.length ? view.getInt32(4 * i) : 0;
    this.family[entry] = address.length === 4 ? 4 : 6;
    const bucket = this.bucketOf(entry);
    this.next[entry] = this.heads[bucket];
    this.heads[bucket] = entry;
    this.count++;
    return entry;
  }

  private bucketOf(entry: number): number {
    const { words } = this;
    const at = 4 * entry;
    return this.bucket(words[at], words[at + 1], words[at + 2], words[at + 3]);
  }

  remove(entry: number): void {
    const bucket = this.bucketOf(entry);
    let before = NONE;
    let at = this.heads[bucket];
    while (at !== entry) {
      before = at;
      at = this.next[at];
    }
    if (before === NONE) this.heads[bucket] = this.next[entry];
    else this.next[before] = this.next[entry];
    this.family[entry] = 0;
    this.next[entry] = this.firstFree;
    this.firstFree = entry;
    this.count--;
  }

  addressOf(entry: number): IpAddress {
    const bytes = new Uint8Array(this.family[entry] === 4 ? 4 : 16);
    const view = new DataView(bytes.buffer);
    for (let i = 0; 4 * i < bytes.length; i++) view.setInt32(4 * i, this.words[4 * entry + i]);
    return bytes;
  }
}
