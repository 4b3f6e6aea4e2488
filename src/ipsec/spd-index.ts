// A worker's index of the outbound SPD: which entry, in order of evaluation, is the first that a packet matches?
//
// Destination prefixes (ranges are cut into prefixes) lead through a trie to a list of candidates: every entry whose
// destination covers the prefix, best rank first. The candidates are then asked for source, protocol and ports. The
// index is private to the worker, and brought up to date entry by entry when the shared SPD has changed.

import { formatPrefix, type IpAddress, maskAddress, type Prefix, rangeToPrefixes } from "../net/address.js";
import { Lpm, NO_MATCH } from "../net/lpm.js";
import type { InnerPacket } from "./inner.js";
import { transportPort } from "./selector-check.js";
import { containsIpv4, containsIpv6, hasTransport, matchesTransport, SELECTOR_WORDS } from "./selectors.js";
import type { Spd } from "./spd.js";
import { PolicyDirection, policyEntry } from "./spd-layout.js";

const at = policyEntry.at;

// What the data path uses of other modules has a name here: see decapsulate.ts.
const NOTHING = NO_MATCH;
const holds4 = containsIpv4;
const holds6 = containsIpv6;
const portOf = transportPort;
const matches = matchesTransport;

/** Words of an entry in the private copy: source selector, destination selector, type, SA, flags. */
const SRC = 0;
const DST = SELECTOR_WORDS;
const TYPE = 2 * SELECTOR_WORDS;
const SA = TYPE + 1;
const TRANSPORT = TYPE + 2;
const ENTRY_WORDS = 24;

/** Looks at an SPD that goes on changing; the next breath goes on with that. */
const ATTEMPTS = 8;

interface Node {
  prefix: Prefix;
  /** Entries whose destination has exactly this prefix among its own. */
  entries: Set<number>;
  /** Number of its candidate list. */
  list: number;
}

interface Indexed {
  version: number;
  prefixes: Prefix[];
  rank: number;
  order: number;
}

export class SpdIndex {
  private readonly spd: Spd;
  private readonly copy: Uint32Array;
  private readonly copySigned: Int32Array;
  private readonly indexed: (Indexed | undefined)[] = [];
  private readonly nodes = new Map<string, Node>();
  private readonly trie4 = new Lpm();
  private readonly trie6 = new Lpm();
  /** Candidate lists by number; replaced, never changed. */
  private readonly lists: Int32Array[] = [];
  private readonly freeLists: number[] = [];
  /** Nodes by prefix length, to know when there is nothing below a prefix. IPv4 and IPv6. */
  private readonly lengths4 = new Int32Array(33);
  private readonly lengths6 = new Int32Array(129);
  private generation = -1;

  constructor(spd: Spd) {
    this.spd = spd;
    this.copy = new Uint32Array(spd.capacity * ENTRY_WORDS);
    this.copySigned = new Int32Array(this.copy.buffer);
    this.refresh();
  }

  /** Takes over what has changed in the SPD since the last call. Cheap when nothing has. */
  refresh(): void {
    if (this.spd.generation === this.generation) return;
    // What changes meanwhile asks for another look, before any packet: an entry that came behind this one's back may be
    // the successor of one that was just seen to be gone.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { generation, used } = this.spd;
      let torn = false;
      for (let entry = 0; entry < used; entry++) if (!this.refreshEntry(entry)) torn = true;
      this.generation = torn ? generation - 1 : generation;
      if (this.spd.generation === generation) return;
    }
  }

  private refreshEntry(entry: number): boolean {
    const { atomics, words, view } = this.spd;
    const offset = this.spd.offset(entry);
    const version = Atomics.load(atomics, (offset + at.version) >>> 2);
    const known = this.indexed[entry];
    if (known?.version === version || (!known && version === 0)) return true;
    if ((version & 1) !== 0) return false;
    const isOut =
      words[(offset + at.present) >>> 2] !== 0 &&
      words[(offset + at.direction) >>> 2] === PolicyDirection.out;
    const rank = view.getFloat64(offset + at.rank, true);
    const order = view.getFloat64(offset + at.order, true);
    const mine = words.slice((offset + at.src) >>> 2, (offset + at.dst + SELECTOR_WORDS * 4) >>> 2);
    const type = words[(offset + at.type) >>> 2];
    const sa = atomics[(offset + at.sa) >>> 2];
    const request = isOut ? this.spd.read(entry) : undefined;
    if (Atomics.load(atomics, (offset + at.version) >>> 2) !== version) return false;

    const copy = entry * ENTRY_WORDS;
    const sameSelectors =
      known !== undefined &&
      known.prefixes.length > 0 &&
      isOut &&
      known.order === order &&
      known.rank === rank &&
      mine.every((word, i) => word === this.copy[copy + i]);
    if (!sameSelectors && known) this.remove(entry, known);
    this.copy.set(mine, copy + SRC);
    this.copy[copy + TYPE] = type;
    this.copySigned[copy + SA] = sa;
    if (sameSelectors) {
      known.version = version;
      return true;
    }
    const prefixes = request ? rangeToPrefixes(request.id.dstSelector.from, request.id.dstSelector.to) : [];
    this.copy[copy + TRANSPORT] =
      request && (hasTransport(request.id.srcSelector) || hasTransport(request.id.dstSelector)) ? 1 : 0;
    const indexed = { version, prefixes, rank, order };
    this.indexed[entry] = indexed;
    if (prefixes.length > 0) this.add(entry, indexed);
    return true;
  }

  private trie(address: IpAddress): Lpm {
    return address.length === 4 ? this.trie4 : this.trie6;
  }

  private lengths(prefix: Prefix): Int32Array {
    return prefix.address.length === 4 ? this.lengths4 : this.lengths6;
  }

  private add(entry: number, { prefixes }: Indexed): void {
    for (const prefix of prefixes) {
      const name = formatPrefix(prefix);
      let node = this.nodes.get(name);
      if (!node) {
        const list = this.freeLists.pop() ?? this.lists.length;
        this.lists[list] = new Int32Array(0);
        node = { prefix, entries: new Set(), list };
        this.nodes.set(name, node);
        this.trie(prefix.address).set(prefix, list);
        this.lengths(prefix)[prefix.length]++;
      }
      node.entries.add(entry);
      this.rebuildBelow(prefix);
    }
  }

  private remove(entry: number, { prefixes }: Indexed): void {
    this.indexed[entry] = undefined;
    for (const prefix of prefixes) {
      const name = formatPrefix(prefix);
      const node = this.nodes.get(name);
      if (!node) continue;
      node.entries.delete(entry);
      if (node.entries.size === 0) {
        this.trie(prefix.address).delete(prefix);
        this.lengths(prefix)[prefix.length]--;
        this.nodes.delete(name);
        this.lists[node.list] = new Int32Array(0);
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
      const left = this.indexed[a]!;
      const right = this.indexed[b]!;
      return left.rank - right.rank || right.order - left.order;
    });
    this.lists[node.list] = Int32Array.from(candidates);
  }

  /** First entry that the packet at `offset` matches, or NO_MATCH — data path. */
  lookup(view: DataView, offset: number, packet: InnerPacket): number {
    const list = packet.isIpv4
      ? this.trie4.lookup4(view.getInt32(offset + 16))
      : this.trie6.lookup6(view, offset + 24);
    if (list === NOTHING) return NOTHING;
    const candidates = this.lists[list];
    const copy = this.copy;
    for (let i = 0; i < candidates.length; i++) {
      const entry = candidates[i];
      const base = entry * ENTRY_WORDS;
      if (
        packet.isIpv4
          ? !holds4(copy, base + SRC, view.getUint32(offset + 12))
          : !holds6(copy, base + SRC, view, offset + 8)
      )
        continue;
      if (copy[base + TRANSPORT] !== 0) {
        const end = offset + packet.length;
        const src = portOf(view, packet, 0, end);
        const dst = portOf(view, packet, 2, end);
        if (!matches(copy, base + SRC, packet.protocol, src)) continue;
        if (!matches(copy, base + DST, packet.protocol, dst)) continue;
      }
      return entry;
    }
    return NOTHING;
  }

  /** 1 protect, 2 pass, 3 drop. */
  type(entry: number): number {
    return this.copy[entry * ENTRY_WORDS + TYPE];
  }

  /** SAD slot of the entry's SA, or NONE. */
  sa(entry: number): number {
    return this.copySigned[entry * ENTRY_WORDS + SA];
  }
}

function covers(outer: Prefix, inner: Prefix): boolean {
  const masked = maskAddress(inner.address, outer.length);
  return masked.every((byte, i) => byte === outer.address[i]);
}
