// The SAD as its one structural writer, the supervisor, sees it: slots are allocated, filled, found and freed here. The
// workers' side of the same memory is in encapsulate.ts and decapsulate.ts; the layout is in sad-layout.ts.
//
// Freeing takes two steps, because a worker may be in the middle of a batch that uses the slot: `release` takes it out
// of the index and marks it dying, `reclaim` zeroes it and makes it free once every worker has passed that moment.

import { randomBytes } from "node:crypto";
import { HUGE_PAGE, type OpenMode, openSharedRegion, populateNew, type Region } from "../memory/region.js";
import {
  MAX_WORKERS,
  SAD_MAGIC,
  SAD_VERSION,
  SaFlag,
  SaState,
  sadHeader,
  saSlot,
  spiEntry,
  spiHash,
} from "./sad-layout.js";

const h = sadHeader.at;
const s = saSlot.at;
const DELETED = 0xffffffff;
// Names of this module's own, which V8 compiles in.
const SLOT_SIZE = saSlot.size;
/** Slots for which memory is taken at once. */
const POPULATE_STEP = 16;
const hash = spiHash;

export class Sad {
  readonly region: Region;
  readonly words: Uint32Array;
  /** The same words, for Atomics and for values that are signed. */
  readonly atomics: Int32Array;
  readonly view: DataView;
  readonly slotCount: number;
  readonly slotsOffset: number;
  readonly indexOffset: number;
  readonly indexMask: number;
  /** Whose expanded keys the slots hold; see sadHeader.engine. */
  readonly engine: number;
  /** Slots that were used and are free again; only the writer needs to know them. */
  private readonly free: number[] = [];
  /** Dying slots in the order of their epochs; those before `dyingFrom` are free already. */
  private dying: number[] = [];
  private dyingFrom = 0;
  /** Slots before this one have memory. */
  private populated: number;

  private constructor(region: Region, path: string) {
    const { words } = region;
    if (region.size < sadHeader.size || words[h.magic >>> 2] !== SAD_MAGIC)
      throw new Error(`${path} is not a SAD`);
    if (words[h.version >>> 2] !== SAD_VERSION || words[h.slotSize >>> 2] !== saSlot.size)
      throw new Error(`${path} has SAD layout version ${words[h.version >>> 2]}, expected ${SAD_VERSION}`);
    this.region = region;
    this.words = words;
    this.atomics = new Int32Array(words.buffer as ArrayBuffer);
    this.view = region.view;
    this.slotCount = words[h.slotCount >>> 2];
    this.slotsOffset = words[h.slotsOffset >>> 2];
    this.indexOffset = words[h.indexOffset >>> 2];
    this.indexMask = words[h.indexSize >>> 2] - 1;
    this.engine = words[h.engine >>> 2];
    if (region.size < this.slotsOffset + this.slotCount * saSlot.size)
      throw new Error(`${path} is truncated`);
    this.populated = this.used;
    for (let slot = this.used - 1; slot >= 0; slot--) {
      if (this.state(slot) === SaState.free) this.free.push(slot);
    }
  }

  /** Makes a new SAD file. @throws when the file exists. */
  static create(path: string, slotCount: number, engine: number): Sad {
    let indexSize = 1024;
    while (indexSize < 2 * slotCount) indexSize *= 2;
    const slotsOffset = sadHeader.size + Math.ceil((indexSize * spiEntry.size) / 4096) * 4096;
    const region = openSharedRegion(path, "create", slotsOffset + slotCount * saSlot.size);
    // The header and the index, which workers read anywhere.
    populateNew(region, path, slotsOffset);
    const { words, view } = region;
    words[h.version >>> 2] = SAD_VERSION;
    view.setBigUint64(h.bootId, randomBytes(8).readBigUInt64LE(), true);
    words[h.slotCount >>> 2] = slotCount;
    words[h.slotSize >>> 2] = saSlot.size;
    words[h.slotsOffset >>> 2] = slotsOffset;
    words[h.indexOffset >>> 2] = sadHeader.size;
    words[h.indexSize >>> 2] = indexSize;
    words[h.engine >>> 2] = engine;
    words.fill(DELETED, h.workerEpoch >>> 2, (h.workerEpoch >>> 2) + MAX_WORKERS);
    words[h.magic >>> 2] = SAD_MAGIC;
    return new Sad(region, path);
  }

  static open(path: string, mode: Exclude<OpenMode, "create">): Sad {
    return new Sad(openSharedRegion(path, mode), path);
  }

  get bootId(): bigint {
    return this.view.getBigUint64(h.bootId, true);
  }

  /** Byte offset of a slot in the region. */
  offset(slot: number): number {
    return this.slotsOffset + slot * SLOT_SIZE;
  }

  state(slot: number): number {
    return this.words[(this.offset(slot) + s.state) >>> 2];
  }

  flags(slot: number): number {
    return this.words[(this.offset(slot) + s.flags) >>> 2];
  }

  spi(slot: number): number {
    return this.words[(this.offset(slot) + s.spi) >>> 2];
  }

  /** Slots from this number on were never used, and take no memory. */
  get used(): number {
    return this.words[h.used >>> 2];
  }

  /** Slots that `allocate` has to give. */
  get available(): number {
    return this.free.length + this.slotCount - this.used;
  }

  /**
   * Can `allocate` give so many slots? Those that were never used need memory first: once there is none, the slots that
   * are there must do.
   */
  hasRoom(count: number): boolean {
    const end = this.used + count - this.free.length;
    if (end > this.slotCount) return false;
    if (end <= this.populated) return true;
    const generous = Math.min(this.slotCount, end + POPULATE_STEP);
    for (const wanted of [generous, end]) {
      const from = this.offset(this.populated);
      if (!this.region.populate(from, this.offset(wanted) - from)) continue;
      this.populated = wanted;
      return true;
    }
    return false;
  }

  /** A free, zeroed slot, or -1 when the SAD is full. It stays free until its state is set, or it is given back. */
  allocate(): number {
    const slot = this.free.pop();
    if (slot !== undefined) return slot;
    if (!this.hasRoom(1)) return -1;
    const { used } = this;
    this.words[h.used >>> 2] = used + 1;
    this.touch(this.offset(used));
    return used;
  }

  /** Thousands of SAs on small pages would cost the workers a look-up in page tables for each packet. */
  private touch(offset: number): void {
    const end = offset + SLOT_SIZE;
    if ((this.words[h.slotsOffset >>> 2] === offset || (offset ^ end) >= HUGE_PAGE) && end < this.region.size)
      this.region.collapse(end);
  }

  /** Gives a slot a second one for what has no room in it. There must be an available one. */
  extend(slot: number): number {
    const extension = this.allocate();
    this.words[(this.offset(slot) + s.extension) >>> 2] = extension + 1;
    this.publish(extension, SaState.extension);
    return extension;
  }

  /** Publishes a filled slot: everything stored before is visible to whoever sees the state. */
  publish(slot: number, state: number): void {
    Atomics.store(this.atomics, (this.offset(slot) + s.state) >>> 2, state);
  }

  /** The slot of the inbound SA with this SPI, or -1. */
  lookup(spi: number): number {
    const base = this.indexOffset >>> 2;
    for (let i = hash(spi, this.indexMask), n = 0; n <= this.indexMask; i = (i + 1) & this.indexMask, n++) {
      const slot = this.words[base + 2 * i + 1];
      if (slot === 0) return -1;
      if (slot !== DELETED && (this.words[base + 2 * i] | 0) === (spi | 0)) return slot - 1;
    }
    return -1;
  }

  /** Reads where `lookup` will begin. @returns nothing of interest */
  foreseeIndex(spi: number): number {
    return this.words[(this.indexOffset >>> 2) + 2 * hash(spi, this.indexMask)] | 0;
  }

  /** Enters an inbound SPI. It must not be there yet. The index has twice as many entries as there are slots. */
  indexInsert(spi: number, slot: number): void {
    const base = this.indexOffset >>> 2;
    let i = spiHash(spi, this.indexMask);
    while (this.words[base + 2 * i + 1] !== 0 && this.words[base + 2 * i + 1] !== DELETED)
      i = (i + 1) & this.indexMask;
    this.words[base + 2 * i] = spi;
    Atomics.store(this.atomics, base + 2 * i + 1, slot + 1);
  }

  /** Has an SPI that is entered lead to another slot, without a moment in which it leads to none. */
  indexReplace(spi: number, slot: number): void {
    const base = this.indexOffset >>> 2;
    for (let i = hash(spi, this.indexMask), n = 0; n <= this.indexMask; i = (i + 1) & this.indexMask, n++) {
      const known = this.words[base + 2 * i + 1];
      if (known === 0 || known === DELETED || this.words[base + 2 * i] !== spi) continue;
      Atomics.store(this.atomics, base + 2 * i + 1, slot + 1);
      return;
    }
  }

  private indexRemove(spi: number): void {
    const base = this.indexOffset >>> 2;
    let i = spiHash(spi, this.indexMask);
    for (let n = 0; this.words[base + 2 * i + 1] !== 0; i = (i + 1) & this.indexMask, n++) {
      if (n > this.indexMask) return;
      if (this.words[base + 2 * i] === spi && this.words[base + 2 * i + 1] !== DELETED) break;
    }
    if (this.words[base + 2 * i + 1] === 0) return;
    Atomics.store(this.atomics, base + 2 * i + 1, DELETED | 0);
    // Deleted entries right before an empty one end no probe that an empty one would not end as well.
    const mask = this.indexMask;
    if (this.words[base + 2 * ((i + 1) & mask) + 1] !== 0) return;
    for (; this.words[base + 2 * i + 1] === DELETED; i = (i - 1) & mask) {
      this.words[base + 2 * i] = 0;
      Atomics.store(this.atomics, base + 2 * i + 1, 0);
    }
  }

  /** Takes a slot out of use. Its keys are still there until `reclaim` finds that nobody can be using them. */
  release(slot: number): void {
    // Another SA may have its SPI by now.
    if (this.isInbound(slot) && this.lookup(this.spi(slot)) === slot) this.indexRemove(this.spi(slot));
    this.publish(slot, SaState.dying);
    this.retire(slot);
  }

  isInbound(slot: number): boolean {
    return (this.flags(slot) & SaFlag.inbound) !== 0;
  }

  /** An inbound SA is deleted: what the peer has sent already still passes, until `release`. */
  linger(slot: number): void {
    this.publish(slot, SaState.dying);
  }

  /** Notes the moment from which on no worker finds the slot. */
  private retire(slot: number): void {
    const epoch = (Atomics.add(this.atomics, h.epoch >>> 2, 1) + 1) & 0x7fffffff;
    this.atomics[(this.offset(slot) + s.freeEpoch) >>> 2] = epoch;
    this.dying.push(slot);
  }

  /**
   * Zeroes and frees the dying slots that no worker can be using any more.
   * @returns how many slots still wait
   */
  reclaim(): number {
    for (; this.dyingFrom < this.dying.length; this.dyingFrom++) {
      const slot = this.dying[this.dyingFrom];
      const base = this.offset(slot);
      // Those behind it have begun to die later.
      if (!this.passed(this.atomics[(base + s.freeEpoch) >>> 2])) break;
      const extension = this.words[(base + s.extension) >>> 2] - 1;
      if (extension >= 0) this.clear(extension);
      this.clear(slot);
    }
    if (this.dyingFrom === this.dying.length) {
      this.dying = [];
      this.dyingFrom = 0;
    }
    return this.dying.length - this.dyingFrom;
  }

  /** Zeroes a slot and frees it. */
  private clear(slot: number): void {
    this.empty(slot);
    this.publish(slot, SaState.free);
    this.free.push(slot);
  }

  /** Zeroes a slot but for what counts on from life to life. */
  private empty(slot: number): void {
    const base = this.offset(slot);
    const generation = this.words[(base + s.generation) >>> 2];
    const version = this.words[(base + s.version) >>> 2];
    this.region.bytes.fill(0, base + 4, base + saSlot.size);
    this.words[(base + s.generation) >>> 2] = generation + 1;
    this.words[(base + s.version) >>> 2] = version + 2;
  }

  /**
   * Completes what a supervisor that was killed had begun: to be called by the one that takes over, before all else.
   * @returns slots whose end points were being changed; what stands there now is neither the old nor the new ones
   */
  adopt(): number[] {
    const cutOff: number[] = [];
    const doubles: number[] = [];
    const extensions = new Set<number>();
    for (let slot = 0; slot < this.used; slot++) {
      const base = this.offset(slot) >>> 2;
      const state = this.state(slot);
      // A slot that was being filled is free, and may have been given an extension.
      if (state !== SaState.free && state !== SaState.extension)
        extensions.add(this.words[base + (s.extension >>> 2)] - 1);
      if (state === SaState.dying) {
        // It may have been lingering.
        if (this.isInbound(slot) && this.lookup(this.spi(slot)) === slot) this.indexRemove(this.spi(slot));
        this.retire(slot);
      }
      // Filled, but not published: it may hold a key.
      if (state === SaState.free && this.spi(slot) !== 0) this.empty(slot);
      if (state !== SaState.larval && state !== SaState.active) continue;
      if (this.isInbound(slot) && this.lookup(this.spi(slot)) !== slot) {
        if (this.isReplaced(slot)) doubles.push(slot);
        else this.indexInsert(this.spi(slot), slot);
      }
      if ((Atomics.load(this.atomics, base + (s.version >>> 2)) & 1) === 0) continue;
      Atomics.add(this.atomics, base + (s.version >>> 2), 1);
      cutOff.push(slot);
    }
    for (let slot = 0; slot < this.used; slot++)
      if (this.state(slot) === SaState.extension && !extensions.has(slot)) this.clear(slot);
    for (const slot of doubles) this.adoptDouble(slot);
    return cutOff;
  }

  /** Does the SPI of an inbound SA lead to another one that can be used? */
  private isReplaced(slot: number): boolean {
    const other = this.lookup(this.spi(slot));
    return other >= 0 && this.state(other) === SaState.active;
  }

  /** One inbound SA was just taking the place of another one with its SPI: completes that. */
  private adoptDouble(slot: number): void {
    const spi = this.spi(slot);
    const other = this.lookup(spi);
    const isNewer = this.order(slot) > this.order(other);
    if (isNewer) this.indexReplace(spi, slot);
    this.release(isNewer ? other : slot);
  }

  /** Counts installations: of two slots the newer one has the higher. */
  order(slot: number): number {
    return this.view.getFloat64(this.offset(slot) + s.order, true);
  }

  private passed(epoch: number): boolean {
    for (let i = 0; i < MAX_WORKERS; i++) {
      const passed = Atomics.load(this.atomics, (h.workerEpoch >>> 2) + i);
      if (passed !== -1 && ((passed - epoch) | 0) < 0) return false;
    }
    return true;
  }

  /** A worker is ready to move packets; 0 says that it is gone. */
  announceWorker(worker: number, pid: number): void {
    Atomics.store(this.atomics, (h.workerPid >>> 2) + worker, pid);
  }

  /** Process id of a worker that has announced itself, or 0. */
  workerPid(worker: number): number {
    return this.words[(h.workerPid >>> 2) + worker];
  }

  /** A worker begins, before anything else that it does with the SAD: what the one before it had locked is free to be taken. */
  beginLife(worker: number): void {
    Atomics.add(this.atomics, (h.workerLife >>> 2) + worker, 1);
  }

  workerLife(worker: number): number {
    return Atomics.load(this.atomics, (h.workerLife >>> 2) + worker);
  }

  /** Counts up, so that others see that the worker is alive. */
  signOfLife(worker: number): void {
    this.words[(h.workerBreath >>> 2) + worker]++;
  }

  /** A worker says that it begins a breath: what was released before is not in its hands. */
  enterBreath(worker: number): void {
    const index = (h.workerEpoch >>> 2) + worker;
    Atomics.store(this.atomics, index, Atomics.load(this.atomics, h.epoch >>> 2) & 0x7fffffff);
  }

  /** A worker says that it sleeps and holds no slot; or the supervisor says that it died. */
  leave(worker: number): void {
    Atomics.store(this.atomics, (h.workerEpoch >>> 2) + worker, -1);
  }

  /** Zeroes everything that was ever written, keys above all. The SAD is of no use afterwards. */
  wipe(): void {
    this.region.bytes.fill(0, 0, this.offset(this.used));
  }

  close(): void {
    this.region.unmap();
  }
}
