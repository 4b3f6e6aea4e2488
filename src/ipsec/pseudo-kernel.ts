// The pseudo-kernel: charon's calls, carried out on the SAD and the SPD in shared memory. When a call returns, the workers
// see its effect with their next packet; nothing has to be sent to them. The SA directory and the policy table know what is where.
//
// All state is in shared memory. A supervisor that starts again finds it there, with the sessions it belongs to.

import { randomInt } from "node:crypto";
import { formatAddress } from "../net/address.js";
import { fillSlot, needsExtension, refuseInterface, refuseMode, refuseProtocol, refuseSa } from "./add-sa.js";
import type { AeadEngine } from "./aead.js";
import {
  type AddSaRequest,
  type Answer,
  type Host,
  type Kernel,
  type PolicyId,
  type PolicyRequest,
  type SaId,
  type SaUsage,
  Status,
  type UpdateSaRequest,
} from "./kernel.js";
import type { Lingering } from "./lingering.js";
import { moveEndPoints, readEndPoints } from "./outer-header.js";
import { PolicyTable } from "./policy-table.js";
import { SaDirectory } from "./sa-directory.js";
import { reqidOf, saIdentity, sessionOf, setPolicyMark } from "./sa-identity.js";
import { saIdle, saTotals } from "./sa-usage.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot } from "./sad-layout.js";
import type { Spd } from "./spd.js";
import { PolicyDirection, PolicyType } from "./spd-layout.js";

const at = saSlot.at;

/** Seconds after which a reserved SPI without keys is given up, as Linux does (net.core.xfrm_acq_expires). */
export const LARVAL_SECONDS = 165;
/**
 * Seconds for which the state of a key manager that went away is kept, unless the configuration says otherwise: it may
 * come back, or a new one may set its own SAs up meanwhile.
 */
export const ORPHAN_SECONDS = 180;

/** SPIs that are reserved may take one in so many slots: nobody shall fill the SAD with what never becomes an SA. */
const LARVAL_SHARE = 4;
/** SAs and policy entries that one sweep gives up at most: some hundredths of a second. */
const SWEEP_STEP = 2000;

const SPI_FIRST = 0xc0000000;
const SPI_COUNT = 0x10000000;

const success: Answer = { status: Status.success };

function failed(reason: string): Answer {
  return { status: Status.failed, reason };
}

/** What may change while it is at work. */
export interface PseudoKernelSettings {
  /** Seconds for which the state of a key manager that went away is kept. */
  orphanSeconds?: number;
  /** Does the traffic of this host itself come to Vita, so that there can be transport mode? Default: no. */
  hasHost?: boolean;
  /** Names of the public interfaces, to which policies may be bound. */
  interfaces?: readonly string[];
}

export interface PseudoKernelParts extends PseudoKernelSettings {
  sad: Sad;
  spd: Spd;
  engine: AeadEngine;
  /** CLOCK_MONOTONIC in whole seconds. */
  now(): number;
  /** A number from 0 to `limit` - 1; tests hand in their own. */
  random?(limit: number): number;
  /** Takes inbound SAs that are deleted; without it they end at once. */
  lingering?: Lingering;
  /** Told about every policy entry that comes (those found at the start included) or goes. */
  policyChanged?(request: PolicyRequest, present: boolean): void;
  /** Told about every SA that was installed, and before one is deleted. Not about those found at the start. */
  saChanged?(slot: number, present: boolean): void;
}

export class PseudoKernel implements Kernel {
  readonly #sad: Sad;
  readonly #spd: Spd;
  readonly #engine: AeadEngine;
  readonly #now: () => number;
  #orphanSeconds = ORPHAN_SECONDS;
  readonly #random: (limit: number) => number;
  #hasHost = false;
  readonly #saChanged: ((slot: number, present: boolean) => void) | undefined;
  readonly #lingering: Lingering | undefined;
  #interfaces: readonly string[] = [];
  #order = 0;
  readonly #sas: SaDirectory;
  readonly #policies: PolicyTable;
  /** Inbound larval SPIs. */
  readonly #larval = new Set<number>();
  /** Sessions of key managers: when they went away, or undefined while they are here. */
  readonly #sessions = new Map<bigint, number | undefined>();

  constructor(parts: PseudoKernelParts) {
    this.#sad = parts.sad;
    this.#spd = parts.spd;
    this.#engine = parts.engine;
    this.#now = parts.now;
    this.#sas = new SaDirectory(parts.sad);
    this.#policies = new PolicyTable({
      sad: parts.sad,
      spd: parts.spd,
      sas: this.#sas,
      now: parts.now,
      policyChanged: parts.policyChanged?.bind(parts),
    });
    this.set(parts);
    this.#random = parts.random ?? ((limit) => randomInt(limit));
    this.#saChanged = parts.saChanged?.bind(parts);
    this.#lingering = parts.lingering;
    this.#adopt();
  }

  /** Changes what is asked of calls from now on. What they have installed stays. */
  set({ orphanSeconds, hasHost, interfaces }: PseudoKernelSettings): void {
    this.#orphanSeconds = orphanSeconds ?? ORPHAN_SECONDS;
    this.#hasHost = hasHost ?? false;
    this.#interfaces = interfaces ?? [];
  }

  /** Takes over what an earlier supervisor left, whatever it was doing when it ended. */
  #adopt(): void {
    const sad = this.#sad;
    const spd = this.#spd;
    const cutOff = new Set(sad.adopt());
    spd.adopt();
    for (let slot = 0; slot < sad.used; slot++) {
      const state = sad.state(slot);
      if (state !== SaState.larval && state !== SaState.active) continue;
      this.#order = Math.max(this.#order, sad.view.getFloat64(sad.offset(slot) + at.order, true));
      this.sessionClosed(sessionOf(sad, slot));
      if (state === SaState.larval) {
        this.#larval.add(slot);
        continue;
      }
      const replaced = this.#adoptSa(slot);
      if (replaced !== undefined) cutOff.add(replaced);
    }
    // Nobody knows to where these were being moved, or they have been replaced.
    for (const slot of cutOff) this.#release(slot);
    for (const entry of this.#policies.adopt()) {
      this.#order = Math.max(this.#order, spd.order(entry));
      this.sessionClosed(spd.session(entry));
    }
  }

  /** @returns of two SAs of which one was just taking the place of the other, the other one */
  #adoptSa(slot: number): number | undefined {
    const sad = this.#sad;
    if (!this.#isInbound(slot)) {
      const other = this.#sas.findOutbound(this.#outboundId(slot));
      this.#policies.sawOutbound(reqidOf(sad, slot));
      if (other !== undefined) {
        this.#sas.add(slot);
        return sad.order(other) < sad.order(slot) ? other : slot;
      }
    }
    this.#sas.add(slot);
    return undefined;
  }

  #outboundId(slot: number) {
    return {
      spi: this.#sad.spi(slot),
      dst: readEndPoints(this.#sad, slot).dst,
      ...saIdentity(this.#sad, slot),
    };
  }

  // ---- SAs ---------------------------------------------------------------------------------------------------------

  getSpi(request: { src: Host; dst: Host; protocol: number }, session: bigint): Answer & { spi?: number } {
    const refusal = refuseProtocol(request.protocol);
    if (refusal) return failed(refusal);
    if (this.#larval.size >= Math.max(16, this.#sad.slotCount / LARVAL_SHARE))
      return failed(`${this.#larval.size} SPIs are reserved and wait for their keys`);
    const slot = this.#sad.allocate();
    if (slot < 0) return failed(this.#sadFull());
    let spi = 0;
    do spi = SPI_FIRST + this.#random(SPI_COUNT);
    while (this.#sad.lookup(spi) >= 0);
    const base = this.#sad.offset(slot);
    const { words, view } = this.#sad;
    words[(base + at.spi) >>> 2] = spi;
    words[(base + at.flags) >>> 2] = SaFlag.inbound;
    words[(base + at.protocol) >>> 2] = request.protocol;
    words[(base + at.added) >>> 2] = this.#now();
    view.setBigUint64(base + at.session, session, true);
    this.#sad.publish(slot, SaState.larval);
    this.#sad.indexInsert(spi, slot);
    this.#larval.add(slot);
    return { status: Status.success, spi };
  }

  getCpi(): Answer {
    return {
      status: Status.notSupported,
      reason: "IPComp is not supported, the CHILD_SA goes without it: set ipcomp = no",
    };
  }

  addSa(request: AddSaRequest, session: bigint): Answer {
    const refusal = refuseSa(request, this.#hasHost) ?? refuseInterface(request.interface, this.#interfaces);
    if (refusal) return failed(refusal);
    return request.inbound ? this.#addInbound(request, session) : this.#addOutbound(request, session);
  }

  #addInbound(request: AddSaRequest, session: bigint): Answer {
    const { spi } = request.id;
    let slot = this.#sad.lookup(spi);
    // One that lingers has had its time when its SPI is to be used again.
    if (slot >= 0 && this.#lingering?.endNow(slot)) slot = -1;
    if (slot >= 0 && (this.#sad.state(slot) !== SaState.larval || !this.#owns(session, slot)))
      return failed(`inbound SPI ${hex(spi)} is in use`);
    const isNew = slot < 0;
    if (!this.#sad.hasRoom((isNew ? 1 : 0) + (needsExtension(request) ? 1 : 0)))
      return failed(this.#sadFull());
    // Linux adds the SA as well when the reserved SPI has timed out meanwhile.
    if (isNew) slot = this.#sad.allocate();
    this.#larval.delete(slot);
    this.#install(slot, request, session);
    if (isNew) this.#sad.indexInsert(spi, slot);
    return success;
  }

  #addOutbound(request: AddSaRequest, session: bigint): Answer {
    const other = this.#sas.findOutbound(request.id);
    // One that a key manager has left behind is in nobody's way.
    if (other !== undefined && this.#isOrphan(other)) this.#release(other);
    else if (other !== undefined)
      return failed(
        `outbound SPI ${hex(request.id.spi)} to ${formatAddress(request.id.dst.address)} is in use`,
      );
    if (!this.#sad.hasRoom(needsExtension(request) ? 2 : 1)) return failed(this.#sadFull());
    const slot = this.#sad.allocate();
    this.#install(slot, request, session);
    this.#policies.pointEntries(request.id.spi);
    return success;
  }

  /**
   * Adds an SA in the place of the session's own one with its id, if there is one: no packet finds neither. Two keys cannot
   * both be right for one inbound SPI: what the peer has sent with the old one is lost.
   */
  replaceSa(request: AddSaRequest, session: bigint): Answer {
    const { id, inbound } = request;
    const old = this.slotOf(request, session);
    if (old < 0) return this.addSa(request, session);
    const refusal = refuseSa(request, this.#hasHost) ?? refuseInterface(request.interface, this.#interfaces);
    if (refusal) return failed(refusal);
    if (!this.#sad.hasRoom(needsExtension(request) ? 2 : 1)) return failed(this.#sadFull());
    const slot = this.#sad.allocate();
    this.#install(slot, request, session);
    if (inbound) this.#sad.indexReplace(id.spi, slot);
    this.#end(old);
    return success;
  }

  #install(slot: number, request: AddSaRequest, session: bigint): void {
    const extension = needsExtension(request) ? this.#sad.extend(slot) : -1;
    fillSlot(this.#sad, slot, request, { session, now: this.#now(), order: ++this.#order, extension });
    if (request.inbound) this.#inheritMark(slot, request.reqid);
    this.#engine.expandKeys(this.#sad.offset(slot));
    this.#sad.publish(slot, SaState.active);
    this.#sas.add(slot);
    if (!request.inbound) this.#policies.sawOutbound(request.reqid);
    this.#saChanged?.(slot, true);
  }

  #sadFull(): string {
    return this.#sad.available > 1
      ? "there is no memory for another SA: the file system of the run directory is full"
      : `the SAD is full: ${this.#sad.slotCount} SAs (raise /limits/sas)`;
  }

  #isOrphan(slot: number): boolean {
    return this.#sessions.get(sessionOf(this.#sad, slot)) !== undefined;
  }

  /** What belongs to another key manager is not this one's to change. */
  #owns(session: bigint | undefined, slot: number): boolean {
    return session === undefined || sessionOf(this.#sad, slot) === session;
  }

  #isInbound(slot: number): boolean {
    return (this.#sad.flags(slot) & SaFlag.inbound) !== 0;
  }

  updateSa(request: UpdateSaRequest, session?: bigint): Answer {
    const { id, newSrc, newDst } = request;
    const slot = this.#sas.find(id);
    if (slot < 0 || this.#sad.state(slot) !== SaState.active)
      return {
        status: Status.notFound,
        reason: `no SA ${hex(id.spi)} to ${formatAddress(id.dst.address)} to move`,
      };
    if (!this.#owns(session, slot)) return failed(foreign(id));
    if (newSrc.address.length !== newDst.address.length)
      return failed("new tunnel end points are of unlike address families");
    const isOutbound = !this.#isInbound(slot);
    const other = isOutbound ? this.#sas.findOutbound({ ...id, dst: newDst }) : undefined;
    if (other !== undefined && other !== slot)
      return failed(`outbound SPI ${hex(id.spi)} to ${formatAddress(newDst.address)} is in use`);
    const oldReqid = reqidOf(this.#sad, slot);
    this.#sas.delete(slot);
    moveEndPoints(this.#sad, slot, newSrc, newDst, request.newUdpEncapsulation);
    if (request.newReqid !== 0) this.#sad.words[(this.#sad.offset(slot) + at.reqid) >>> 2] = request.newReqid;
    this.#sas.add(slot);
    if (request.newReqid !== 0) {
      this.#policies.pointTraps(oldReqid);
      if (isOutbound) this.#policies.sawOutbound(request.newReqid);
    }
    if (isOutbound) this.#policies.pointEntries(id.spi);
    return success;
  }

  querySa(id: SaId): Answer & { usage?: SaUsage } {
    const slot = this.#sas.find(id);
    if (slot < 0) return { status: Status.notFound };
    return { status: Status.success, usage: this.usage(slot) };
  }

  /** What an SA has carried, over all workers. */
  usage(slot: number): SaUsage {
    const { packets, bytes } = saTotals(this.#sad, slot);
    const idleSeconds = saIdle(this.#sad, slot, this.#now());
    return { packets: BigInt(packets), bytes: BigInt(bytes), idleSeconds };
  }

  deleteSa(id: SaId, session?: bigint): Answer {
    const slot = this.#sas.find(id);
    if (slot < 0) return { status: Status.notFound };
    if (!this.#owns(session, slot)) return failed(foreign(id));
    this.#release(slot);
    return success;
  }

  #release(slot: number): void {
    const wasActive = this.#sad.state(slot) === SaState.active;
    this.#larval.delete(slot);
    if (!this.#isInbound(slot) || !wasActive || !this.#lingering) {
      this.#end(slot);
      return;
    }
    this.#saChanged?.(slot, false);
    this.#sas.delete(slot);
    this.#lingering.add(slot);
  }

  /** Takes an SA out of use at once. */
  #end(slot: number): void {
    this.#saChanged?.(slot, false);
    this.#sas.delete(slot);
    if (!this.#isInbound(slot)) {
      this.#policies.pointEntries(this.#sad.spi(slot));
      this.#policies.pointTraps(reqidOf(this.#sad, slot));
    }
    this.#sad.release(slot);
    this.#sad.reclaim();
  }

  /** Slots of a session's SAs that can be used. */
  sasOf(session: bigint): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#sad.used; slot++)
      if (this.#sad.state(slot) === SaState.active && this.#owns(session, slot)) slots.push(slot);
    return slots;
  }

  /** Slot of a session's SA of one direction, or -1. Inbound the SPI names it, whatever its end points are. */
  slotOf({ id, inbound }: { id: SaId; inbound: boolean }, session: bigint): number {
    const slot = inbound ? this.#sad.lookup(id.spi) : (this.#sas.findOutbound(id) ?? -1);
    return slot >= 0 && this.#sad.state(slot) === SaState.active && this.#owns(session, slot) ? slot : -1;
  }

  /** Deletes a session's SA, found as by `slotOf`. */
  removeSa(request: { id: SaId; inbound: boolean }, session: bigint): Answer {
    const slot = this.slotOf(request, session);
    if (slot < 0) return { status: Status.notFound };
    this.#release(slot);
    return success;
  }

  flushSas(session?: bigint): Answer {
    for (let slot = 0; slot < this.#sad.used; slot++) {
      const state = this.#sad.state(slot);
      if (state !== SaState.larval && state !== SaState.active) continue;
      if (this.#owns(session, slot)) this.#release(slot);
    }
    return success;
  }

  // ---- policies ----------------------------------------------------------------------------------------------------

  addPolicy(request: PolicyRequest, session: bigint): Answer {
    const refusal =
      refusePolicy(request, this.#hasHost) ?? refuseInterface(request.id.interface, this.#interfaces);
    if (refusal) return failed(refusal);
    const sa = this.#policies.saOf(request, session);
    if (sa >= 0 && !this.#owns(session, sa))
      return failed(`outbound SPI ${hex(request.espSpi)} belongs to another key manager`);
    const full = this.#policies.add(request, sa, ++this.#order, session);
    if (full !== undefined) return failed(full);
    this.#markInbound(request);
    return success;
  }

  /** A rekeyed SA has the mark of the one that it replaces from its first packet on: they share the reqid, and so the policy. */
  #inheritMark(slot: number, reqid: number): void {
    if (reqid === 0 || (this.#sad.flags(slot) & SaFlag.markKnown) !== 0) return;
    const known = SaFlag.inbound | SaFlag.markKnown;
    for (const other of this.#sas.ofReqid(reqid))
      if ((this.#sad.flags(other) & known) === known)
        return setPolicyMark(this.#sad, slot, saIdentity(this.#sad, other).mark);
  }

  /** The packets of an inbound SA without a mark of its own have the one that its `in` policy asks for. */
  #markInbound({ id, type, espSpi }: PolicyRequest): void {
    if (id.direction !== PolicyDirection.in || type !== PolicyType.ipsec || espSpi === 0) return;
    const slot = this.#sad.lookup(espSpi);
    if (slot < 0 || this.#sad.state(slot) !== SaState.active) return;
    if ((this.#sad.flags(slot) & SaFlag.markKnown) === 0) setPolicyMark(this.#sad, slot, id.mark);
  }

  queryPolicy(id: PolicyId): Answer & { idleSeconds?: number | undefined } {
    const entries = this.#policies.under(id);
    if (entries.length === 0) return { status: Status.notFound };
    let idleSeconds: number | undefined;
    for (const reqid of new Set(entries.map((entry) => entry.reqid))) {
      const idle = this.#reqidIdle(reqid, id.direction === PolicyDirection.out);
      if (idle !== undefined) idleSeconds = Math.min(idle, idleSeconds ?? idle);
    }
    return { status: Status.success, idleSeconds };
  }

  /** A policy was used when one of its SAs was. */
  #reqidIdle(reqid: number, outbound: boolean): number | undefined {
    let idle: number | undefined;
    if (reqid === 0) return undefined;
    for (const slot of this.#sas.ofReqid(reqid)) {
      if (this.#isInbound(slot) === outbound) continue;
      const mine = saIdle(this.#sad, slot, this.#now());
      if (mine !== undefined) idle = Math.min(mine, idle ?? mine);
    }
    return idle;
  }

  deletePolicy(request: PolicyRequest, session?: bigint): Answer {
    const entry = this.#policies.find(request, session);
    if (entry === undefined) return { status: Status.notFound };
    this.#policies.remove(entry);
    return success;
  }

  /** A session's policy entries, or all, in no order. */
  policiesOf(session?: bigint): PolicyRequest[] {
    return this.#policies.ofSession(session).map((entry) => this.#spd.read(entry));
  }

  flushPolicies(session?: bigint): Answer {
    for (const entry of this.#policies.ofSession(session)) this.#policies.remove(entry);
    return success;
  }

  // ---- sessions and time -------------------------------------------------------------------------------------------

  sessionOpened(session: bigint): void {
    this.#sessions.set(session, undefined);
  }

  sessionClosed(session: bigint): void {
    if (session !== 0n) this.#sessions.set(session, this.#now());
  }

  /** Gives up what has timed out: reserved SPIs, and the state of key managers that did not come back. Notes narrowed traps. */
  sweep(): void {
    const now = this.#now();
    for (const slot of this.#larval)
      if (now - this.#sad.words[(this.#sad.offset(slot) + at.added) >>> 2] >= LARVAL_SECONDS)
        this.#release(slot);
    this.#policies.sweep();
    for (const [session, since] of this.#sessions) {
      if (since === undefined || now - since < this.#orphanSeconds) continue;
      if (this.#dropSession(session)) this.#sessions.delete(session);
    }
    this.#sad.reclaim();
  }

  /**
   * Gives up what a session has left, or the first so many pieces of it: charon's other sessions shall not have to wait.
   * @returns whether nothing is left
   */
  #dropSession(session: bigint): boolean {
    let left = SWEEP_STEP;
    for (const entry of this.#policies.ofSession(session)) {
      if (left-- === 0) return false;
      this.#policies.remove(entry);
    }
    for (let slot = 0; slot < this.#sad.used; slot++) {
      const state = this.#sad.state(slot);
      if (state !== SaState.larval && state !== SaState.active) continue;
      if (!this.#owns(session, slot)) continue;
      if (left-- === 0) return false;
      this.#release(slot);
    }
    return true;
  }
}

function refusePolicy(request: PolicyRequest, hasHost: boolean): string | undefined {
  const { id } = request;
  if (id.labelled) return "SELinux labels are not supported";
  if (id.srcSelector.from.length !== id.dstSelector.from.length)
    return "selectors are of unlike address families";
  if (request.type !== PolicyType.ipsec) return undefined;
  if (request.usesAh || request.ipcomp !== 0) return "policies can only ask for ESP";
  return refuseMode(request.mode, hasHost);
}

function foreign(id: SaId): string {
  return `SA ${hex(id.spi)} to ${formatAddress(id.dst.address)} belongs to another key manager`;
}

function hex(spi: number): string {
  return spi.toString(16).padStart(8, "0");
}
