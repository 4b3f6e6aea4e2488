// The outbound policies of one domain, found by destination. Destination prefixes (ranges are cut into prefixes) lead
// through a trie to a list of candidates: every entry whose destination covers the prefix, in the order of evaluation.
// Lists change entry by entry; a policy that covers many others is the one that costs.

import { type IpAddress, maskAddress, type Prefix } from "../net/address.js";
import { Lpm, NO_MATCH } from "../net/lpm.js";

/** What decides about the order of entries. */
export interface Ranked {
  readonly rank: number;
  readonly order: number;
}

interface Node {
  prefix: Prefix;
  /** Entries whose destination has exactly this prefix among its own. */
  entries: number[];
  /** Number of its candidate list. */
  list: number;
}

// Names of this module's own, which V8 compiles in.
const NOTHING = NO_MATCH;
const MANY = -2;
const none = new Int32Array(0);

/** In `only`: the list has no entry, or more than one. */
export const SEVERAL = MANY;

export class PolicyTries {
  /** Candidate lists by number; replaced, never changed. Empty where `only` has the one entry. */
  readonly lists: Int32Array[] = [];
  /** The entry of a list that has only one, as most have; else SEVERAL. */
  only = new Int32Array(64);
  private readonly ranks: ReadonlyMap<number, Ranked>;
  /** By the number of their candidate list. */
  private readonly nodes: (Node | undefined)[] = [];
  private readonly trie4 = new Lpm();
  private readonly trie6 = new Lpm();
  private readonly freeLists: number[] = [];
  /** Nodes by prefix length, to know when there is nothing below a prefix. IPv4 and IPv6. */
  private readonly lengths4 = new Int32Array(33);
  private readonly lengths6 = new Int32Array(129);

  /** @param ranks of the entries, by their numbers */
  constructor(ranks: ReadonlyMap<number, Ranked>) {
    this.ranks = ranks;
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

  /** The node of exactly this prefix. */
  private node(prefix: Prefix): Node | undefined {
    const list = this.trie(prefix.address).get(prefix);
    return list === NOTHING ? undefined : this.nodes[list];
  }

  private lengths(prefix: Prefix): Int32Array {
    return prefix.address.length === 4 ? this.lengths4 : this.lengths6;
  }

  add(entry: number, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      let node = this.node(prefix);
      if (node) {
        this.insert(node.list, entry);
        node.entries.push(entry);
      } else {
        node = { prefix, entries: [entry], list: this.freeLists.pop() ?? this.lists.length };
        this.nodes[node.list] = node;
        this.setList(node.list, this.covering(node, entry));
        this.trie(prefix.address).set(prefix, node.list);
        this.lengths(prefix)[prefix.length]++;
      }
      for (const below of this.nodesBelow(prefix)) this.insert(below.list, entry);
    }
  }

  /** Takes an entry out; its rank must be known still. */
  remove(entry: number, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const node = this.node(prefix);
      if (!node) continue;
      node.entries.splice(node.entries.indexOf(entry), 1);
      if (node.entries.length === 0) {
        this.trie(prefix.address).delete(prefix);
        this.lengths(prefix)[prefix.length]--;
        this.nodes[node.list] = undefined;
        this.setList(node.list, []);
        this.freeLists.push(node.list);
      } else this.takeOut(node.list, entry);
      for (const below of this.nodesBelow(prefix)) this.takeOut(below.list, entry);
    }
  }

  /** Nodes of the longer prefixes inside this one. */
  private *nodesBelow(prefix: Prefix): Generator<Node> {
    if (!this.lengths(prefix).some((count, length) => count > 0 && length > prefix.length)) return;
    for (const node of this.nodes) {
      if (!node || node.prefix.length <= prefix.length) continue;
      if (node.prefix.address.length !== prefix.address.length) continue;
      if (covers(prefix, node.prefix)) yield node;
    }
  }

  /** Candidates of a node that is new: its entry, and those of the shorter prefixes around it. */
  private covering({ prefix }: Node, entry: number): number[] {
    const candidates = [entry];
    const lengths = this.lengths(prefix);
    for (let length = prefix.length - 1; length >= 0; length--) {
      if (lengths[length] === 0) continue;
      const shorter = this.node({ address: maskAddress(prefix.address, length), length });
      // One by one: an argument list has an end.
      for (const other of shorter?.entries ?? []) candidates.push(other);
    }
    return candidates.sort((a, b) => this.compare(a, b));
  }

  /** Negative when `a` is evaluated before `b`. */
  private compare(a: number, b: number): number {
    const left = this.ranks.get(a)!;
    const right = this.ranks.get(b)!;
    return left.rank - right.rank || right.order - left.order;
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

function covers(outer: Prefix, inner: Prefix): boolean {
  const masked = maskAddress(inner.address, outer.length);
  return masked.every((byte, i) => byte === outer.address[i]);
}
