// The outbound policies of one domain, found by destination. Destination prefixes (ranges are cut into prefixes) lead
// through a trie to a list of candidates: every entry whose destination covers the prefix, in the order of evaluation.
// Lists change entry by entry; a policy that covers many others is the one that costs.

import { type IpAddress, maskAddress, type Prefix } from "../net/address.js";
import { Lpm, NO_MATCH } from "../net/lpm.js";

// Names of this module's own, which V8 compiles in.
const NOTHING = NO_MATCH;
const MANY = -2;
const none = new Int32Array(0);

/**
 * Words of a node, which is a prefix that is the destination of entries: how many those are (0 for no node), bytes of its
 * address, bits of the prefix, address as big-endian words.
 */
const ENTRIES = 0;
const ADDRESS_BYTES = 1;
const LENGTH = 2;
const ADDRESS = 3;
const NODE_WORDS = 7;

/** In `only`: the list has no entry, or more than one. */
export const SEVERAL = MANY;

export class PolicyTries {
  /** Candidate lists by number; replaced, never changed. Empty where `only` has the one entry. */
  readonly lists: Int32Array[] = [];
  /** The entry of a list that has only one, as most have; else SEVERAL. */
  only = new Int32Array(64);
  /** Negative when entry `a` is evaluated before `b`. */
  private readonly compare: (a: number, b: number) => number;
  /** The nodes, by the number of their candidate list: numbers, because there are tens of thousands. */
  private nodes = new Uint32Array(64 * NODE_WORDS);
  private readonly trie4 = new Lpm();
  private readonly trie6 = new Lpm();
  private readonly freeLists: number[] = [];
  /** Nodes by prefix length, to know when there is nothing below a prefix. IPv4 and IPv6. */
  private readonly lengths4 = new Int32Array(33);
  private readonly lengths6 = new Int32Array(129);

  /** @param compare order of two entries, by their numbers: negative when the first is evaluated before the second */
  constructor(compare: (a: number, b: number) => number) {
    this.compare = compare;
  }

  /**
   * Number of the list of entries whose destination covers that of the packet at `offset`, first match first; NO_MATCH for
   * none — data path.
   */
  list(view: DataView, offset: number, isIpv4: boolean): number {
    return isIpv4 ? this.trie4.lookup4(view.getInt32(offset + 16)) : this.trie6.lookup6(view, offset + 24);
  }

  private trie(address: IpAddress): Lpm {
    return address.length === 4 ? this.trie4 : this.trie6;
  }

  private lengths(prefix: Prefix): Int32Array {
    return prefix.address.length === 4 ? this.lengths4 : this.lengths6;
  }

  add(entry: number, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const trie = this.trie(prefix.address);
      let list = trie.get(prefix);
      if (list === NOTHING) {
        list = this.freeLists.pop() ?? this.lists.length;
        this.setList(list, this.around(prefix));
        this.setNode(list, prefix);
        trie.set(prefix, list);
        this.lengths(prefix)[prefix.length]++;
      }
      this.insert(list, entry);
      this.nodes[list * NODE_WORDS + ENTRIES]++;
      for (const below of this.listsBelow(prefix)) this.insert(below, entry);
    }
  }

  /** Takes an entry out; its rank must be known still. */
  remove(entry: number, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const trie = this.trie(prefix.address);
      const list = trie.get(prefix);
      if (list === NOTHING) continue;
      if (--this.nodes[list * NODE_WORDS + ENTRIES] === 0) {
        trie.delete(prefix);
        this.lengths(prefix)[prefix.length]--;
        this.setList(list, none);
        this.freeLists.push(list);
      } else this.takeOut(list, entry);
      for (const below of this.listsBelow(prefix)) this.takeOut(below, entry);
    }
  }

  /** Lists of the longer prefixes inside this one. */
  private *listsBelow(prefix: Prefix): Generator<number> {
    const { address, length } = prefix;
    if (!this.lengths(prefix).some((count, other) => count > 0 && other > length)) return;
    const { nodes } = this;
    const words = wordsOf(address);
    for (let list = 0; list < this.lists.length; list++) {
      const node = list * NODE_WORDS;
      if (nodes[node + ENTRIES] === 0 || nodes[node + LENGTH] <= length) continue;
      if (nodes[node + ADDRESS_BYTES] !== address.length) continue;
      let isInside = true;
      for (let i = 0; i < words.length && isInside; i++) {
        const mask = maskOf(length - 32 * i);
        isInside = ((nodes[node + ADDRESS + i] ^ words[i]) & mask) === 0;
      }
      if (isInside) yield list;
    }
  }

  /** Candidates of the longest of the shorter prefixes around this one: all whose destination covers it. */
  private around(prefix: Prefix): ArrayLike<number> {
    const lengths = this.lengths(prefix);
    for (let length = prefix.length - 1; length >= 0; length--) {
      if (lengths[length] === 0) continue;
      const list = this.trie(prefix.address).get({ address: maskAddress(prefix.address, length), length });
      if (list !== NOTHING) return this.listed(list);
    }
    return none;
  }

  private setNode(list: number, { address, length }: Prefix): void {
    const node = list * NODE_WORDS;
    if (node === this.nodes.length) {
      const larger = new Uint32Array(2 * node);
      larger.set(this.nodes);
      this.nodes = larger;
    }
    this.nodes[node + ENTRIES] = 0;
    this.nodes[node + ADDRESS_BYTES] = address.length;
    this.nodes[node + LENGTH] = length;
    this.nodes.set(wordsOf(address), node + ADDRESS);
  }

  private listed(list: number): ArrayLike<number> {
    return this.only[list] === MANY ? this.lists[list] : [this.only[list]];
  }

  private insert(list: number, entry: number): void {
    const old = this.listed(list);
    let from = 0;
    for (let to = old.length; from < to; ) {
      const middle = (from + to) >>> 1;
      if (this.compare(old[middle], entry) < 0) from = middle + 1;
      else to = middle;
    }
    const larger = new Int32Array(old.length + 1);
    for (let i = 0; i < from; i++) larger[i] = old[i];
    larger[from] = entry;
    for (let i = from; i < old.length; i++) larger[i + 1] = old[i];
    this.setList(list, larger);
  }

  private takeOut(list: number, entry: number): void {
    this.setList(
      list,
      Array.from(this.listed(list)).filter((other) => other !== entry),
    );
  }

  private setList(list: number, candidates: ArrayLike<number>): void {
    this.lists[list] = candidates.length === 1 ? none : Int32Array.from(candidates);
    if (list >= this.only.length) {
      const larger = new Int32Array(2 * this.only.length);
      larger.set(this.only);
      this.only = larger;
    }
    this.only[list] = candidates.length === 1 ? candidates[0] : MANY;
  }
}

function wordsOf(address: IpAddress): number[] {
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  return Array.from({ length: address.length >>> 2 }, (_, i) => view.getUint32(4 * i));
}

/** A word of which the first so many bits are set. */
function maskOf(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}
