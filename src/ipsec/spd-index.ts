// A worker's index of the outbound SPD: which entry, in order of evaluation, is the first that a packet matches?
//
// Each domain (interface id and mark of the ports that packets come from, see binding.ts) has tries of its own with the
// entries that are for it, so that neither has to be looked at packet by packet. They lead from the destination to the
// entries that may match (policy-tries.ts), which are then asked for source, protocol and ports. The index is private to
// the worker, and brought up to date entry by entry when the shared SPD has changed.

import { rangeToPrefixes } from "../net/address.js";
import { NO_MATCH } from "../net/lpm.js";
import { MODE_TRANSPORT } from "./add-sa.js";
import { Domains } from "./binding.js";
import type { InnerPacket } from "./inner.js";
import { PolicyTries, SEVERAL } from "./policy-tries.js";
import { transportPort } from "./selector-check.js";
import {
  addressRange,
  asksForTransport,
  containsIpv4,
  containsIpv6,
  matchesTransport,
  SELECTOR_WORDS,
} from "./selectors.js";
import type { Spd } from "./spd.js";
import { CHANGE_LOG, PolicyDirection, PolicyType, policyEntry } from "./spd-layout.js";

const at = policyEntry.at;

// What the data path uses of other modules has a name here: see decapsulate.ts.
const NOTHING = NO_MATCH;
const holds4 = containsIpv4;
const holds6 = containsIpv6;
const portOf = transportPort;
const matches = matchesTransport;
const MANY = SEVERAL;

/**
 * Words of an entry in the private copy: type, SA, flags, reqid, source selector, domains that it
 * is for as bits, whether it is in the tries; destination selector, rank and order. All that most packets need is in the
 * first of two cache lines. An object for each entry would take as much again.
 */
const TYPE = 0;
const SA = 1;
const FLAGS = 2;
const REQID = 3;
const SRC = 4;
const DOMAINS = 14;
const INDEXED = 15;
const DST = 16;
const ENTRY_WORDS = 32;
/** The same in 64-bit numbers. */
const RANK = 26 >>> 1;
const ORDER = 28 >>> 1;
const ENTRY_NUMBERS = ENTRY_WORDS >>> 1;

// In FLAGS.
/** Protocol and ports count. */
const WITH_TRANSPORT = 1;
/** It names an interface. */
const BOUND = 2;

// In INDEXED.
const IN_TRIES = 1;
/** It asks for ESP in transport mode. */
const IN_TRANSPORT_TRIES = 2;

/** Looks at an SPD that goes on changing; the next breath goes on with that. */
const ATTEMPTS = 8;

export class SpdIndex {
  private readonly spd: Spd;
  private readonly domains: Domains;
  private readonly copy: Uint32Array;
  private readonly copySigned: Int32Array;
  private readonly copyNumbers: Float64Array;
  /** Versions of the entries that were taken over. */
  private readonly versions: Int32Array;
  /** By domain: all entries, and those in transport mode alone. */
  private readonly tries: readonly PolicyTries[];
  private readonly transportTries: readonly PolicyTries[];
  /** Selectors of the entry that is being taken over: source, destination. */
  private readonly incoming = new Uint32Array(2 * SELECTOR_WORDS);
  private generation = 0;
  private isNew = true;
  /** Counts the calls of `refresh` that found something new. */
  changes = 0;
  /** Did the last look-up look at addresses only? */
  byAddress = false;

  constructor(spd: Spd, domains = new Domains()) {
    this.spd = spd;
    this.domains = domains;
    this.copy = new Uint32Array(spd.capacity * ENTRY_WORDS);
    this.versions = new Int32Array(spd.capacity);
    this.copySigned = new Int32Array(this.copy.buffer);
    this.copyNumbers = new Float64Array(this.copy.buffer);
    this.tries = domains.bindings.map(() => new PolicyTries(this.compare));
    this.transportTries = domains.bindings.map(() => new PolicyTries(this.compare));
    this.refresh();
  }

  /** Has the SPD changed since the last `refresh`? */
  get stale(): boolean {
    return this.spd.generation !== this.generation;
  }

  /**
   * Takes over what has changed in the SPD since the last call. An entry that is being changed right now is left: its
   * change will be the next one.
   */
  refresh(): void {
    if (this.spd.generation === this.generation) return;
    this.changes = (this.changes + 1) | 0;
    // What changes meanwhile asks for another look, before any packet: an entry that came behind this one's back may be
    // the successor of one that was just seen to be gone.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { generation } = this.spd;
      const behind = (generation - this.generation) | 0;
      if (this.isNew || behind < 0 || behind > CHANGE_LOG / 2) this.refreshAll();
      else {
        for (let i = 0; i < behind; i++) this.refreshEntry(this.spd.changed(this.generation + i));
        // The log may have gone round meanwhile.
        if (((this.spd.generation - this.generation) | 0) > CHANGE_LOG) this.refreshAll();
      }
      this.isNew = false;
      this.generation = generation;
      if (this.spd.generation === generation) return;
    }
  }

  private refreshAll(): void {
    const { used } = this.spd;
    for (let entry = 0; entry < used; entry++) this.refreshEntry(entry);
  }

  private refreshEntry(entry: number): void {
    const { atomics, words, view } = this.spd;
    const offset = this.spd.offset(entry);
    const version = Atomics.load(atomics, (offset + at.version) >>> 2);
    if (this.versions[entry] === version) return;
    if ((version & 1) !== 0) return;
    const isOut =
      words[(offset + at.present) >>> 2] !== 0 &&
      words[(offset + at.direction) >>> 2] === PolicyDirection.out;
    const rank = view.getFloat64(offset + at.rank, true);
    const order = view.getFloat64(offset + at.order, true);
    const { incoming } = this;
    for (let i = 0; i < SELECTOR_WORDS; i++) {
      incoming[i] = words[((offset + at.src) >>> 2) + i];
      incoming[SELECTOR_WORDS + i] = words[((offset + at.dst) >>> 2) + i];
    }
    const type = words[(offset + at.type) >>> 2];
    const sa = atomics[(offset + at.sa) >>> 2];
    const reqid = words[(offset + at.reqid) >>> 2];
    const isTransportMode = type === PolicyType.ipsec && words[(offset + at.mode) >>> 2] === MODE_TRANSPORT;
    const isBound = words[(offset + at.interface) >>> 2] !== 0;
    const domains = isOut ? this.domainsOf(offset) : 0;
    if (Atomics.load(atomics, (offset + at.version) >>> 2) !== version) return;

    this.versions[entry] = version;
    const copy = entry * ENTRY_WORDS;
    const number = entry * ENTRY_NUMBERS;
    const isKnown = this.copy[copy + INDEXED] !== 0;
    const sameSelectors =
      isKnown &&
      isOut &&
      this.copyNumbers[number + ORDER] === order &&
      this.copyNumbers[number + RANK] === rank &&
      this.isIncoming(0, copy + SRC) &&
      this.isIncoming(SELECTOR_WORDS, copy + DST);
    if (isKnown && !sameSelectors) this.remove(entry);
    if (!isOut && !isKnown) return;
    for (let i = 0; i < SELECTOR_WORDS; i++) {
      this.copy[copy + SRC + i] = incoming[i];
      this.copy[copy + DST + i] = incoming[SELECTOR_WORDS + i];
    }
    this.copy[copy + TYPE] = type;
    this.copySigned[copy + SA] = sa;
    this.copy[copy + REQID] = reqid;
    if (!isOut || sameSelectors) return;
    const withTransport = asksForTransport(this.copy, copy + SRC) || asksForTransport(this.copy, copy + DST);
    this.copy[copy + FLAGS] = (withTransport ? WITH_TRANSPORT : 0) | (isBound ? BOUND : 0);
    this.copy[copy + DOMAINS] = domains;
    this.copy[copy + INDEXED] = isTransportMode ? IN_TRIES | IN_TRANSPORT_TRIES : IN_TRIES;
    this.copyNumbers[number + RANK] = rank;
    this.copyNumbers[number + ORDER] = order;
    const { from, to } = addressRange(this.copy, copy + DST);
    const prefixes = rangeToPrefixes(from, to);
    this.eachTries(copy, (tries) => tries.add(entry, prefixes));
  }

  private remove(entry: number): void {
    const copy = entry * ENTRY_WORDS;
    const { from, to } = addressRange(this.copy, copy + DST);
    const prefixes = rangeToPrefixes(from, to);
    this.eachTries(copy, (tries) => tries.remove(entry, prefixes));
    this.copy[copy + INDEXED] = 0;
  }

  private eachTries(copy: number, change: (tries: PolicyTries) => void): void {
    const domains = this.copy[copy + DOMAINS];
    const isTransportMode = (this.copy[copy + INDEXED] & IN_TRANSPORT_TRIES) !== 0;
    for (let domain = 0; domain < this.tries.length; domain++) {
      if ((domains & (1 << domain)) === 0) continue;
      change(this.tries[domain]);
      if (isTransportMode) change(this.transportTries[domain]);
    }
  }

  /** Negative when entry `a` is evaluated before `b`. */
  private readonly compare = (a: number, b: number): number => {
    const numbers = this.copyNumbers;
    const left = a * ENTRY_NUMBERS;
    const right = b * ENTRY_NUMBERS;
    return numbers[left + RANK] - numbers[right + RANK] || numbers[right + ORDER] - numbers[left + ORDER];
  };

  /** Domains that an entry of the shared SPD is for, as bits. */
  private domainsOf(offset: number): number {
    const word = (field: number) => this.spd.words[(offset + field) >>> 2];
    const mark = { value: word(at.markValue), mask: word(at.markMask) };
    return this.domains.matching({ mark, interfaceId: word(at.interfaceId) });
  }

  /** Is the selector that was just read the one that the copy has? */
  private isIncoming(from: number, at: number): boolean {
    for (let i = 0; i < SELECTOR_WORDS; i++) if (this.incoming[from + i] !== this.copy[at + i]) return false;
    return true;
  }

  /** First entry that the packet at `offset`, which came from a port of the domain, matches, or NO_MATCH — data path. */
  lookup(view: DataView, offset: number, packet: InnerPacket, domain: number): number {
    this.byAddress = true;
    const tries = this.tries[domain];
    const list = tries.list(view, offset, packet.isIpv4);
    if (list === NOTHING) return NOTHING;
    const only = tries.only[list];
    if (only !== MANY) return this.admits(only, view, offset, packet) ? only : NOTHING;
    const candidates = tries.lists[list];
    for (let i = 0; i < candidates.length; i++)
      if (this.admits(candidates[i], view, offset, packet)) return candidates[i];
    return NOTHING;
  }

  /** Does some policy of the domain want packets to this packet's destination in transport mode? */
  wantsTransport(view: DataView, offset: number, isIpv4: boolean, domain: number): boolean {
    return this.transportTries[domain].list(view, offset, isIpv4) !== NOTHING;
  }

  /** Does the packet match an entry whose destination covers the packet's? */
  private admits(entry: number, view: DataView, offset: number, packet: InnerPacket): boolean {
    const copy = this.copy;
    const base = entry * ENTRY_WORDS;
    if (
      packet.isIpv4
        ? !holds4(copy, base + SRC, view.getInt32(offset + 12))
        : !holds6(copy, base + SRC, view, offset + 8)
    )
      return false;
    if ((copy[base + FLAGS] & WITH_TRANSPORT) === 0) return true;
    this.byAddress = false;
    const end = offset + packet.length;
    const src = portOf(view, packet, 0, end);
    const dst = portOf(view, packet, 2, end);
    return matches(copy, base + SRC, packet.protocol, src) && matches(copy, base + DST, packet.protocol, dst);
  }

  /**
   * Number of the list of candidates for a packet from a port of the domain, NO_MATCH for none. With `guess`, to read ahead
   * what most packets will need — data path.
   */
  candidates(view: DataView, offset: number, domain: number): number {
    return this.tries[domain].list(view, offset, view.getUint8(offset) >>> 4 === 4);
  }

  /** The only candidate on a list, NO_MATCH where there is none or more than one — data path. */
  guess(list: number, domain: number): number {
    if (list === NOTHING) return NOTHING;
    const only = this.tries[domain].only[list];
    return only >= 0 ? only : NOTHING;
  }

  /** 1 protect, 2 pass, 3 drop. */
  type(entry: number): number {
    return this.copy[entry * ENTRY_WORDS + TYPE];
  }

  /** SAD slot of the entry's SA, NONE, or NARROWED. */
  sa(entry: number): number {
    return this.copySigned[entry * ENTRY_WORDS + SA];
  }

  /** Does the entry name the interface that its packets must leave by? */
  isBound(entry: number): boolean {
    return (this.copy[entry * ENTRY_WORDS + FLAGS] & BOUND) !== 0;
  }

  /** 0 for an entry for which no SA can be asked. */
  reqid(entry: number): number {
    return this.copy[entry * ENTRY_WORDS + REQID];
  }
}
