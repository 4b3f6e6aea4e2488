// Longest prefix match for IPv4 and IPv6: a multibit trie with a root of 2^16 entries and blocks of 2^8 below it, leaves
// pushed down (DIR-16-8-8 for IPv4). A look-up reads one word per level, and no more levels than the longest prefix
// around the address needs. Values are numbers from 0 on; NO_MATCH is -1.

import type { IpAddress, Prefix } from "./address.js";

export const NO_MATCH = -1;

const ROOT_SIZE = 1 << 16;
const BLOCK_SIZE = 256;

export class Lpm {
  /** A leaf's value + 1 (0 for no match), or the complement of a block's number (negative). */
  private nodes = new Int32Array(ROOT_SIZE + 16 * BLOCK_SIZE);
  /** For each leaf the length of the prefix that owns it, + 1. */
  private lengths = new Uint8Array(ROOT_SIZE + 16 * BLOCK_SIZE);
  /** Per block: how many prefixes end inside it or below. */
  private uses: number[] = [];
  private freeBlocks: number[] = [];
  private blocks = 0;
  private sorted = new Map<string, number>();

  /** Value of the longest prefix around an IPv4 address (a number), or NO_MATCH. */
  lookup4(address: number): number {
    const nodes = this.nodes;
    let node = nodes[address >>> 16];
    if (node >= 0) return node - 1;
    node = nodes[ROOT_SIZE + (~node << 8) + ((address >>> 8) & 0xff)];
    if (node >= 0) return node - 1;
    node = nodes[ROOT_SIZE + (~node << 8) + (address & 0xff)];
    return node - 1;
  }

  /** Value of the longest prefix around the IPv6 address at `offset`, or NO_MATCH. */
  lookup6(view: DataView, offset: number): number {
    const nodes = this.nodes;
    let node = nodes[view.getUint16(offset)];
    for (let i = 2; node < 0; i++) node = nodes[ROOT_SIZE + (~node << 8) + view.getUint8(offset + i)];
    return node - 1;
  }

  /** Value of exactly this prefix, or NO_MATCH. */
  get(prefix: Prefix): number {
    return this.sorted.get(key(prefix.address, prefix.length)) ?? NO_MATCH;
  }

  /** Adds the prefix or changes its value. One table holds prefixes of one family only. */
  set(prefix: Prefix, value: number): void {
    const name = key(prefix.address, prefix.length);
    const isNew = !this.sorted.has(name);
    this.sorted.set(name, value);
    this.write(prefix, value + 1, prefix.length + 1, isNew ? 1 : 0);
  }

  /** Removes the prefix; its addresses fall to the next shorter one. Nothing happens when it is not there. */
  delete(prefix: Prefix): void {
    if (!this.sorted.delete(key(prefix.address, prefix.length))) return;
    for (let length = prefix.length - 1; length >= 0; length--) {
      const value = this.sorted.get(key(prefix.address, length));
      if (value === undefined) continue;
      this.write(prefix, value + 1, length + 1, -1);
      return;
    }
    this.write(prefix, 0, 0, -1);
  }

  /**
   * Gives the leaves that the prefix owns, or shall own, a new value and owner.
   * @param useChange how many prefixes more end in the blocks on the way
   */
  private write(prefix: Prefix, leaf: number, owner: number, useChange: number): void {
    const { address, length } = prefix;
    const path: { node: number; block: number }[] = [];
    let base = 0;
    let depth = 16;
    let index = (address[0] << 8) | address[1];
    while (length > depth) {
      const node = base + index;
      if (this.nodes[node] >= 0) this.split(node);
      const block = ~this.nodes[node];
      this.uses[block] += useChange;
      path.push({ node, block });
      base = ROOT_SIZE + (block << 8);
      index = address[depth >>> 3];
      depth += 8;
    }
    const span = 1 << (depth - length);
    const first = base + (index & ~(span - 1));
    for (let node = first; node < first + span; node++) this.fill(node, leaf, owner, length + 1);
    for (const { node, block } of path.reverse()) {
      if (this.uses[block] > 0) break;
      // No prefix ends in here any more: all leaves have what covers the block.
      const start = ROOT_SIZE + (block << 8);
      this.lengths[node] = this.lengths[start];
      this.nodes[node] = this.nodes[start];
      this.freeBlocks.push(block);
    }
  }

  /** Writes a leaf, or the leaves below, unless a longer prefix than `bound - 1` owns them. */
  private fill(node: number, leaf: number, owner: number, bound: number): void {
    if (this.nodes[node] < 0) {
      const start = ROOT_SIZE + (~this.nodes[node] << 8);
      for (let i = start; i < start + BLOCK_SIZE; i++) this.fill(i, leaf, owner, bound);
    } else if (this.lengths[node] <= bound) {
      this.nodes[node] = leaf;
      this.lengths[node] = owner;
    }
  }

  /** Replaces a leaf by a block of leaves like it. */
  private split(node: number): void {
    const block = this.freeBlocks.pop() ?? this.blocks++;
    const start = ROOT_SIZE + (block << 8);
    if (start + BLOCK_SIZE > this.nodes.length) this.grow();
    this.nodes.fill(this.nodes[node], start, start + BLOCK_SIZE);
    this.lengths.fill(this.lengths[node], start, start + BLOCK_SIZE);
    this.uses[block] = 0;
    this.nodes[node] = ~block;
  }

  private grow(): void {
    const nodes = new Int32Array(2 * this.nodes.length);
    const lengths = new Uint8Array(nodes.length);
    nodes.set(this.nodes);
    lengths.set(this.lengths);
    this.nodes = nodes;
    this.lengths = lengths;
  }
}

/** One flat string of characters that are bytes; concatenation would leave a rope of them behind each key. */
function key(address: IpAddress, length: number): string {
  const bytes = address.map((byte, i) => byte & (0xff00 >>> Math.min(8, Math.max(0, length - 8 * i))));
  return String.fromCharCode(length, ...bytes);
}
