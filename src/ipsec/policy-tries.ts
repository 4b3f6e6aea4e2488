// The outbound policies of one domain, found by destination. Destination prefixes (ranges are cut into prefixes) lead
// through a trie to a list of candidates: every entry whose destination covers the prefix, in the order of evaluation.

import { formatPrefix, type IpAddress, maskAddress, type Prefix } from "../net/address.js";
import { Lpm, NO_MATCH } from "../net/lpm.js";

/** What decides about the order of entries. */
export interface Ranked {
  readonly rank: number;
  readonly order: number;
}

interface Node {
  prefix: Prefix;
  /** Entries whose destination has exactly this prefix among its own. */
  entries: Set<number>;
  /** Number of its candidate list. */
  list: number;
}

// Names of this module's own, which V8 compiles in.
const NOTHING = NO_MATCH;
const none = new Int32Array(0);

export class PolicyTries {
  private readonly ranks: readonly (Ranked | undefined)[];
  private readonly nodes = new Map<string, Node>();
  private readonly trie4 = new Lpm();
  private readonly trie6 = new Lpm();
  /** Candidate lists by number; replaced, never changed. */
  private readonly lists: Int32Array[] = [];
  private readonly freeLists: number[] = [];
  /** Nodes by prefix length, to know when there is nothing below a prefix. IPv4 and IPv6. */
  private readonly lengths4 = new Int32Array(33);
  private readonly lengths6 = new Int32Array(129);

  /** @param ranks of the entries, by their numbers */
  constructor(ranks: readonly (Ranked | undefined)[]) {
    this.ranks = ranks;
  }

  /** Entries whose destination covers the one of the packet at `offset`, first match first — data path. */
  candidates(view: DataView, offset: number, isIpv4: boolean): Int32Array {
    const list = isIpv4
      ? this.trie4.lookup4(view.getInt32(offset + 16))
      : this.trie6.lookup6(view, offset + 24);
    return list === NOTHING ? none : this.lists[list];
  }

  private trie(address: IpAddress): Lpm {
    return address.length === 4 ? this.trie4 : this.trie6;
  }

  private lengths(prefix: Prefix): Int32Array {
    return prefix.address.length === 4 ? this.lengths4 : this.lengths6;
  }

  add(entry: number, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const name = formatPrefix(prefix);
      let node = this.nodes.get(name);
      if (!node) {
        const list = this.freeLists.pop() ?? this.lists.length;
        this.lists[list] = none;
        node = { prefix, entries: new Set(), list };
        this.nodes.set(name, node);
        this.trie(prefix.address).set(prefix, list);
        this.lengths(prefix)[prefix.length]++;
      }
      node.entries.add(entry);
      this.rebuildBelow(prefix);
    }
  }

  remove(entry: number, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const name = formatPrefix(prefix);
      const node = this.nodes.get(name);
      if (!node) continue;
      node.entries.delete(entry);
      if (node.entries.size === 0) {
        this.trie(prefix.address).delete(prefix);
        this.lengths(prefix)[prefix.length]--;
        this.nodes.delete(name);
        this.lists[node.list] = none;
        this.freeLists.push(node.list);
      }
      this.rebuildBelow(prefix);
    }
  }

  /** Rebuilds the candidate lists of the prefix and of all longer ones inside it. */
  private rebuildBelow(prefix: Prefix): void {
    const own = this.nodes.get(formatPrefix(prefix));
    if (own) this.rebuild(own);
    if (!this.lengths(prefix).some((count, length) => count > 0 && length > prefix.length)) return;
    for (const node of this.nodes.values()) {
      if (node === own || node.prefix.length <= prefix.length) continue;
      if (node.prefix.address.length !== prefix.address.length) continue;
      if (covers(prefix, node.prefix)) this.rebuild(node);
    }
  }

  private rebuild(node: Node): void {
    const candidates: number[] = [...node.entries];
    for (let length = node.prefix.length - 1; length >= 0; length--) {
      const shorter = this.nodes.get(
        formatPrefix({ address: maskAddress(node.prefix.address, length), length }),
      );
      if (shorter) candidates.push(...shorter.entries);
    }
    candidates.sort((a, b) => {
      const left = this.ranks[a]!;
      const right = this.ranks[b]!;
      return left.rank - right.rank || right.order - left.order;
    });
    this.lists[node.list] = Int32Array.from(candidates);
  }
}

function covers(outer: Prefix, inner: Prefix): boolean {
  const masked = maskAddress(inner.address, outer.length);
  return masked.every((byte, i) => byte === outer.address[i]);
}
