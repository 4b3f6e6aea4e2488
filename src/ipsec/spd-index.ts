// A worker's index of the outbound SPD: which entry, in order of evaluation, is the first that a packet matches?
//
// Each domain (interface id and mark of the ports that packets come from, see binding.ts) has tries of its own with the
// entries that are for it, so that neither has to be looked at packet by packet. They lead from the destination to the
// entries that may match (policy-tries.ts), which are then asked for source, protocol and ports. The index is private to
// the worker, and brought up to date entry by entry when the shared SPD has changed.

import { type Prefix, rangeToPrefixes } from "../net/address.js";
import { NO_MATCH } from "../net/lpm.js";
import { MODE_TRANSPORT } from "./add-sa.js";
import { Domains } from "./binding.js";
import type { InnerPacket } from "./inner.js";
import { PolicyTries } from "./policy-tries.js";
import { transportPort } from "./selector-check.js";
import { containsIpv4, containsIpv6, hasTransport, matchesTransport, SELECTOR_WORDS } from "./selectors.js";
import type { Spd } from "./spd.js";
import { PolicyDirection, PolicyType, policyEntry } from "./spd-layout.js";

const at = policyEntry.at;

// What the data path uses of other modules has a name here: see decapsulate.ts.
const NOTHING = NO_MATCH;
const holds4 = containsIpv4;
const holds6 = containsIpv6;
const portOf = transportPort;
const matches = matchesTransport;

/** Words of an entry in the private copy: source selector, destination selector, type, SA, flags, reqid. */
const SRC = 0;
const DST = SELECTOR_WORDS;
const TYPE = 2 * SELECTOR_WORDS;
const SA = TYPE + 1;
const TRANSPORT = TYPE + 2;
const REQID = TYPE + 3;
const ENTRY_WORDS = 24;

/** Looks at an SPD that goes on changing; the next breath goes on with that. */
const ATTEMPTS = 8;

interface Indexed {
  version: number;
  prefixes: Prefix[];
  /** Domains that it is for, as bits. */
  domains: number;
  /** Asks for ESP in transport mode. */
  isTransportMode: boolean;
  rank: number;
  order: number;
}

export class SpdIndex {
  private readonly spd: Spd;
  private readonly domains: Domains;
  private readonly copy: Uint32Array;
  private readonly copySigned: Int32Array;
  private readonly indexed: (Indexed | undefined)[] = [];
  /** By domain: all entries, and those in transport mode alone. */
  private readonly tries: readonly PolicyTries[];
  private readonly transportTries: readonly PolicyTries[];
  private generation = -1;
  /** Counts the calls of `refresh` that found something new. */
  changes = 0;

  constructor(spd: Spd, domains = new Domains()) {
    this.spd = spd;
    this.domains = domains;
    this.copy = new Uint32Array(spd.capacity * ENTRY_WORDS);
    this.copySigned = new Int32Array(this.copy.buffer);
    this.tries = domains.bindings.map(() => new PolicyTries(this.indexed));
    this.transportTries = domains.bindings.map(() => new PolicyTries(this.indexed));
    this.refresh();
  }

  /** Has the SPD changed since the last `refresh`? */
  get stale(): boolean {
    return this.spd.generation !== this.generation;
  }

  /** Takes over what has changed in the SPD since the last call. Cheap when nothing has. */
  refresh(): void {
    if (this.spd.generation === this.generation) return;
    this.changes = (this.changes + 1) | 0;
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
    const reqid = words[(offset + at.reqid) >>> 2];
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
    this.copy[copy + REQID] = reqid;
    if (sameSelectors) {
      known.version = version;
      return true;
    }
    this.copy[copy + TRANSPORT] =
      request && (hasTransport(request.id.srcSelector) || hasTransport(request.id.dstSelector)) ? 1 : 0;
    const indexed = {
      version,
      prefixes: request ? rangeToPrefixes(request.id.dstSelector.from, request.id.dstSelector.to) : [],
      domains: request ? this.domains.matching(request.id) : 0,
      isTransportMode: request?.type === PolicyType.ipsec && request.mode === MODE_TRANSPORT,
      rank,
      order,
    };
    this.indexed[entry] = indexed;
    this.eachTries(indexed, (tries) => tries.add(entry, indexed.prefixes));
    return true;
  }

  private remove(entry: number, indexed: Indexed): void {
    this.eachTries(indexed, (tries) => tries.remove(entry, indexed.prefixes));
    this.indexed[entry] = undefined;
  }

  private eachTries({ domains, isTransportMode }: Indexed, change: (tries: PolicyTries) => void): void {
    for (let domain = 0; domain < this.tries.length; domain++) {
      if ((domains & (1 << domain)) === 0) continue;
      change(this.tries[domain]);
      if (isTransportMode) change(this.transportTries[domain]);
    }
  }

  /** First entry that the packet at `offset`, which came from a port of the domain, matches, or NO_MATCH — data path. */
  lookup(view: DataView, offset: number, packet: InnerPacket, domain: number): number {
    const candidates = this.tries[domain].candidates(view, offset, packet.isIpv4);
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

  /** Does some policy of the domain want packets to this packet's destination in transport mode? */
  wantsTransport(view: DataView, offset: number, isIpv4: boolean, domain: number): boolean {
    return this.transportTries[domain].candidates(view, offset, isIpv4).length > 0;
  }

  /** 1 protect, 2 pass, 3 drop. */
  type(entry: number): number {
    return this.copy[entry * ENTRY_WORDS + TYPE];
  }

  /** SAD slot of the entry's SA, NONE, or NARROWED. */
  sa(entry: number): number {
    return this.copySigned[entry * ENTRY_WORDS + SA];
  }

  /** 0 for an entry for which no SA can be asked. */
  reqid(entry: number): number {
    return this.copy[entry * ENTRY_WORDS + REQID];
  }
}
