// The SPD as its writer, the supervisor, sees it: entries are added, removed and pointed at SAs here.

import { type OpenMode, openSharedRegion, populateNew, type Region } from "../memory/region.js";
import type { PolicyRequest, Selector } from "./kernel.js";
import { readSelector, writeSelector } from "./selectors.js";
import { CHANGE_LOG, PriorityClass, policyEntry, SPD_MAGIC, SPD_VERSION, spdHeader } from "./spd-layout.js";

const h = spdHeader.at;
const e = policyEntry.at;

export class Spd {
  readonly region: Region;
  readonly words: Uint32Array;
  readonly atomics: Int32Array;
  readonly view: DataView;
  readonly capacity: number;
  readonly #entriesOffset: number;
  /** Called by the writer after each change. */
  onChange: (() => void) | undefined;

  private constructor(region: Region, path: string) {
    const { words } = region;
    if (region.size < spdHeader.size || words[h.magic >>> 2] !== SPD_MAGIC)
      throw new Error(`${path} is not an SPD`);
    if (words[h.version >>> 2] !== SPD_VERSION || words[h.entrySize >>> 2] !== policyEntry.size)
      throw new Error(`${path} has SPD layout version ${words[h.version >>> 2]}, expected ${SPD_VERSION}`);
    this.region = region;
    this.words = words;
    this.atomics = new Int32Array(words.buffer as ArrayBuffer);
    this.view = region.view;
    this.capacity = words[h.capacity >>> 2];
    this.#entriesOffset = words[h.entriesOffset >>> 2];
    if (region.size < this.#entriesOffset + this.capacity * policyEntry.size)
      throw new Error(`${path} is truncated`);
  }

  static create(path: string, capacity: number): Spd {
    const region = openSharedRegion(path, "create", spdHeader.size + capacity * policyEntry.size);
    populateNew(region, path, spdHeader.size);
    region.words[h.version >>> 2] = SPD_VERSION;
    region.words[h.capacity >>> 2] = capacity;
    region.words[h.entrySize >>> 2] = policyEntry.size;
    region.words[h.entriesOffset >>> 2] = spdHeader.size;
    region.words[h.magic >>> 2] = SPD_MAGIC;
    return new Spd(region, path);
  }

  static open(path: string, mode: Exclude<OpenMode, "create">): Spd {
    return new Spd(openSharedRegion(path, mode), path);
  }

  offset(entry: number): number {
    return this.#entriesOffset + entry * policyEntry.size;
  }

  get generation(): number {
    return Atomics.load(this.atomics, h.generation >>> 2);
  }

  /** Entries from this number on were never used. */
  get used(): number {
    return this.words[h.used >>> 2];
  }

  /** Is there memory for an entry? For those before `used` there is. */
  hasRoom(entry: number): boolean {
    return entry < this.used || this.region.populate(this.offset(entry), policyEntry.size);
  }

  present(entry: number): boolean {
    return this.words[(this.offset(entry) + e.present) >>> 2] !== 0;
  }

  #change(entry: number, write: (offset: number) => void): void {
    const offset = this.offset(entry);
    Atomics.add(this.atomics, (offset + e.version) >>> 2, 1);
    write(offset);
    Atomics.add(this.atomics, (offset + e.version) >>> 2, 1);
    this.#note(entry);
  }

  /** Tells the workers that an entry has changed. */
  #note(entry: number): void {
    this.words[(h.log >>> 2) + (this.generation & (CHANGE_LOG - 1))] = entry;
    Atomics.add(this.atomics, h.generation >>> 2, 1);
    this.onChange?.();
  }

  /** Entry that a change changed, one of the last CHANGE_LOG ones. @param generation before the change */
  changed(generation: number): number {
    return this.words[(h.log >>> 2) + (generation & (CHANGE_LOG - 1))];
  }

  /** Ends the changes that a supervisor which was killed had begun. An entry half written is not present. */
  adopt(): void {
    // Entries are used one after the other: of those that were never used only the first can have been begun.
    const end = Math.min(this.used + 1, this.capacity);
    for (let entry = 0; entry < end; entry++) {
      const version = (this.offset(entry) + e.version) >>> 2;
      if ((Atomics.load(this.atomics, version) & 1) === 0) continue;
      if (this.present(entry)) this.words[h.used >>> 2] = Math.max(this.used, entry + 1);
      Atomics.add(this.atomics, version, 1);
      this.#note(entry);
    }
  }

  write(entry: number, request: PolicyRequest, order: number, sa: number, session: bigint): void {
    const { id } = request;
    const { words, view } = this;
    this.#change(entry, (offset) => {
      const set = (at: number, value: number) => {
        words[(offset + at) >>> 2] = value;
      };
      set(e.direction, id.direction);
      set(e.type, request.type);
      this.atomics[(offset + e.sa) >>> 2] = sa;
      set(e.reqid, request.reqid);
      view.setFloat64(offset + e.rank, policyRank(request), true);
      view.setFloat64(offset + e.order, order, true);
      writeSelector(this.region, offset + e.src, id.srcSelector);
      writeSelector(this.region, offset + e.dst, id.dstSelector);
      set(e.priorityClass, request.priorityClass);
      set(e.manualPriority, request.manualPriority);
      this.region.bytes.fill(0, offset + e.tunnelSrc, offset + e.tunnelSrc + 32);
      this.region.bytes.set(request.src.address, offset + e.tunnelSrc);
      this.region.bytes.set(request.dst.address, offset + e.tunnelDst);
      set(e.tunnelFamily, request.dst.address.length === 4 ? 4 : 6);
      view.setUint16(offset + e.tunnelSrcPort, request.src.port, true);
      view.setUint16(offset + e.tunnelDstPort, request.dst.port, true);
      set(e.mode, request.mode);
      set(e.espSpi, request.espSpi);
      set(e.protocols, (request.usesEsp ? 1 : 0) | (request.usesAh ? 2 : 0));
      set(e.ipcomp, request.ipcomp);
      set(e.markValue, id.mark.value);
      set(e.markMask, id.mark.mask);
      set(e.interfaceId, id.interfaceId);
      this.region.bytes.fill(0, offset + e.interface, offset + e.interface + 16);
      if (id.interface !== "")
        this.region.bytes.set(Buffer.from(id.interface, "latin1").subarray(0, 15), offset + e.interface);
      view.setBigUint64(offset + e.session, session, true);
      set(e.present, 1);
      if (entry >= words[h.used >>> 2]) words[h.used >>> 2] = entry + 1;
    });
  }

  /** The entry as it was added; the inverse of `write`. */
  read(entry: number): PolicyRequest {
    const offset = this.offset(entry);
    const get = (at: number) => this.words[(offset + at) >>> 2];
    const length = get(e.tunnelFamily) === 4 ? 4 : 16;
    const address = (at: number) => this.region.bytes.slice(offset + at, offset + at + length);
    const device = Buffer.from(this.region.bytes.subarray(offset + e.interface, offset + e.interface + 16));
    return {
      id: {
        direction: get(e.direction),
        srcSelector: readSelector(this.region, offset + e.src),
        dstSelector: readSelector(this.region, offset + e.dst),
        mark: { value: get(e.markValue), mask: get(e.markMask) },
        interfaceId: get(e.interfaceId),
        interface: device.toString("latin1").replace(/\0.*$/s, ""),
        labelled: false,
      },
      type: get(e.type),
      priorityClass: get(e.priorityClass),
      manualPriority: get(e.manualPriority),
      src: { address: address(e.tunnelSrc), port: this.view.getUint16(offset + e.tunnelSrcPort, true) },
      dst: { address: address(e.tunnelDst), port: this.view.getUint16(offset + e.tunnelDstPort, true) },
      mode: get(e.mode),
      reqid: get(e.reqid),
      espSpi: get(e.espSpi),
      usesEsp: (get(e.protocols) & 1) !== 0,
      usesAh: (get(e.protocols) & 2) !== 0,
      ipcomp: get(e.ipcomp),
    };
  }

  order(entry: number): number {
    return this.view.getFloat64(this.offset(entry) + e.order, true);
  }

  rank(entry: number): number {
    return this.view.getFloat64(this.offset(entry) + e.rank, true);
  }

  session(entry: number): bigint {
    return this.view.getBigUint64(this.offset(entry) + e.session, true);
  }

  sa(entry: number): number {
    return this.atomics[(this.offset(entry) + e.sa) >>> 2];
  }

  /** Points an `out` entry at another SA. */
  setSa(entry: number, sa: number): void {
    if (this.sa(entry) === sa) return;
    this.#change(entry, (offset) => {
      this.atomics[(offset + e.sa) >>> 2] = sa;
    });
  }

  remove(entry: number): void {
    this.#change(entry, (offset) => {
      this.words[(offset + e.present) >>> 2] = 0;
    });
  }

  close(): void {
    this.region.unmap();
  }
}

const PRIORITY_BASE = 200_000;

/** More than any computed priority. */
const PRIORITY_LIMIT = 2 ** 20;

/**
 * Order of evaluation, lowest first, as strongSwan has it on Linux: the computed priority, or the manual one. Entries of
 * the same manual priority are ordered by what would have been computed, which is in the fraction: a trap that is
 * installed again must not come before the SA that it led to.
 */
export function policyRank(request: PolicyRequest): number {
  const { manualPriority } = request;
  const computed = computedPriority(request);
  return manualPriority === 0 ? computed : manualPriority + computed / PRIORITY_LIMIT;
}

/**
 * Class, then longer prefixes, then protocol, then ports, then interface; at equal selectors a negotiated entry beats a
 * trap.
 */
function computedPriority(request: PolicyRequest): number {
  const { priorityClass, id } = request;
  let rank = PRIORITY_BASE;
  if (priorityClass === PriorityClass.fallback) rank += 2 * PRIORITY_BASE;
  else if (priorityClass !== PriorityClass.pass) rank += PRIORITY_BASE;
  const { srcSelector: src, dstSelector: dst } = id;
  rank -= (prefixBits(src) + prefixBits(dst)) * 512;
  if (src.protocol !== 0 || dst.protocol !== 0) rank -= 256;
  rank -= (portBits(src) + portBits(dst)) * 4;
  if (id.interface !== "") rank -= 2;
  if (priorityClass !== PriorityClass.routed) rank -= 1;
  return rank;
}

/** Bits that first and last address have in common: the length of the narrowest prefix around the range. */
function prefixBits({ from, to }: Selector): number {
  for (let i = 0; i < from.length; i++) {
    const difference = from[i] ^ to[i];
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24;
  }
  return from.length * 8;
}

function portBits({ fromPort, toPort }: Selector): number {
  if (fromPort > toPort) return 16;
  return Math.clz32(fromPort ^ toPort) - 16;
}
