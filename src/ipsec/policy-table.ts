// The entries of the SPD, and what stands behind each of them.
//
// Policies and SAs meet by SPI: an `out` entry names the SPI of the SA that shall protect its packets, and is pointed at
// that SA's slot whenever one of the two comes, moves or goes (contract §4.2 with POLICY_SPI). A trap names none, and has
// packets ask for an SA; once there is one for its reqid, what still meets the trap lies outside of what the peer agreed
// to, and no further SA would be had for it: the entry is marked as narrowed while that lasts (contract §4.6).

import { NONE } from "../memory/frames.js";
import type { PolicyId, PolicyRequest } from "./kernel.js";
import { areGrown, hasGrownSa } from "./narrowed-traps.js";
import { PolicyEntries } from "./policy-entries.js";
import type { SaDirectory } from "./sa-directory.js";
import type { Sad } from "./sad.js";
import type { Spd } from "./spd.js";
import { NARROWED, PolicyDirection, PolicyType } from "./spd-layout.js";

export interface PolicyTableParts {
  sad: Sad;
  spd: Spd;
  sas: SaDirectory;
  /** CLOCK_MONOTONIC in whole seconds. */
  now(): number;
  /** Told about every policy entry that comes (those found at the start included) or goes. */
  policyChanged?: ((request: PolicyRequest, present: boolean) => void) | undefined;
}

export class PolicyTable {
  readonly #sad: Sad;
  readonly #spd: Spd;
  readonly #sas: SaDirectory;
  readonly #now: () => number;
  readonly #policyChanged: ((request: PolicyRequest, present: boolean) => void) | undefined;
  readonly #entries: PolicyEntries;
  /** Reqids that have a young outbound SA. */
  readonly #young = new Set<number>();
  readonly #free: number[] = [];
  /** Entries from this number on were never used. */
  #unused = 0;

  constructor({ sad, spd, sas, now, policyChanged }: PolicyTableParts) {
    this.#sad = sad;
    this.#spd = spd;
    this.#sas = sas;
    this.#now = now;
    this.#policyChanged = policyChanged;
    this.#entries = new PolicyEntries(spd);
  }

  /** Takes over the entries that an earlier supervisor left. @returns their numbers */
  adopt(): number[] {
    const adopted: number[] = [];
    this.#unused = this.#spd.used;
    for (let entry = this.#spd.used - 1; entry >= 0; entry--) {
      if (!this.#spd.present(entry)) {
        this.#free.push(entry);
        continue;
      }
      this.#enter(entry, this.#spd.read(entry));
      this.#point(entry);
      adopted.push(entry);
    }
    return adopted;
  }

  /**
   * @param sa what stands behind it, from saOf
   * @param order counts what is added
   * @returns why there is no room for it, or undefined
   */
  add(request: PolicyRequest, sa: number, order: number, session: bigint): string | undefined {
    const entry = this.#free.pop() ?? this.#unused++;
    if (entry >= this.#spd.capacity) {
      this.#unused = this.#spd.capacity;
      return `the SPD is full: ${this.#spd.capacity} entries (raise /limits/policies)`;
    }
    if (!this.#spd.hasRoom(entry)) {
      this.#free.push(entry);
      return "there is no memory for another policy: the file system of the run directory is full";
    }
    this.#spd.write(entry, request, order, sa, session);
    this.#enter(entry, request);
    return undefined;
  }

  #enter(entry: number, request: PolicyRequest): void {
    this.#policyChanged?.(request, true);
    this.#entries.add(entry, request);
  }

  /** Of the entries (of a session, if one is given) that are equal to this one in all that counts, the newest. */
  find(request: PolicyRequest, session?: bigint): number | undefined {
    return this.#entries.find(request, session);
  }

  /** Requests of all entries of a policy. */
  under(id: PolicyId): PolicyRequest[] {
    return this.#entries.withSelectors(id).map((entry) => this.#spd.read(entry));
  }

  /** The entries of a session, or all. A copy: they may be removed meanwhile. */
  ofSession(session?: bigint): number[] {
    const all = this.#entries.all();
    return session === undefined ? all : all.filter((entry) => this.#spd.session(entry) === session);
  }

  remove(entry: number): void {
    const request = this.#spd.read(entry);
    this.#entries.delete(entry, request);
    this.#spd.remove(entry);
    this.#policyChanged?.(request, false);
    this.#free.push(entry);
  }

  // ---- entries and SAs ---------------------------------------------------------------------------------------------

  /** What stands behind an entry: a slot, NONE or NARROWED. */
  saOf(request: PolicyRequest, session: bigint): number {
    if (request.id.direction !== PolicyDirection.out || request.type !== PolicyType.ipsec) return NONE;
    if (request.espSpi !== 0) return this.#sas.namedBy(request);
    const isNarrowed = hasGrownSa(this.#sad, this.#sas.ofReqid(request.reqid), session, this.#now());
    return isNarrowed ? NARROWED : NONE;
  }

  /** Points the `out` entries that name an SPI at the SA that has it now, or at none. */
  pointEntries(spi: number): void {
    for (const entry of this.#entries.withSpi(spi)) this.#point(entry);
  }

  /** Marks the traps of a reqid as narrowed, or as ready to ask. */
  pointTraps(reqid: number): void {
    for (const entry of this.#entries.trapsOf(reqid)) this.#point(entry);
  }

  #point(entry: number): void {
    this.#spd.setSa(entry, this.saOf(this.#spd.read(entry), this.#spd.session(entry)));
  }

  /** A reqid has got an outbound SA: its traps count as narrowed when that is not young any more. */
  sawOutbound(reqid: number): void {
    this.#young.add(reqid);
  }

  /** Notes the traps that count as narrowed by now. */
  sweep(): void {
    const now = this.#now();
    for (const reqid of this.#young) {
      if (!areGrown(this.#sad, this.#sas.ofReqid(reqid), now)) continue;
      this.#young.delete(reqid);
      this.pointTraps(reqid);
    }
  }
}
