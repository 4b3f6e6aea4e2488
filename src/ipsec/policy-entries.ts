// Where the entries of the SPD are: found again by their full tuple, by their selectors, by the SPI that they name, and
// traps by their reqid.
//
// Of tuples and selectors only a hash is kept, which is compared with what stands in the SPD when it is used: text of
// tens of thousands of entries would take more memory than the SPD itself.

import type { IpAddress } from "../net/address.js";
import type { PolicyId, PolicyRequest, Selector } from "./kernel.js";
import { MultiMap } from "./multi-map.js";
import type { Spd } from "./spd.js";
import { PolicyDirection, PolicyType } from "./spd-layout.js";

export class PolicyEntries {
  readonly #spd: Spd;
  readonly #byTuple = new MultiMap<number>();
  readonly #bySelectors = new MultiMap<number>();
  /** `out` entries only. */
  readonly #bySpi = new MultiMap<number>();
  /** `out` entries that ask for protection and name no SPI. */
  readonly #traps = new MultiMap<number>();

  constructor(spd: Spd) {
    this.#spd = spd;
  }

  add(entry: number, request: PolicyRequest): void {
    this.#byTuple.add(tupleHash(request), entry);
    this.#bySelectors.add(selectorsHash(request.id), entry);
    if (namesSa(request)) this.#bySpi.add(request.espSpi, entry);
    if (isTrap(request)) this.#traps.add(request.reqid, entry);
  }

  delete(entry: number, request: PolicyRequest): void {
    this.#byTuple.delete(tupleHash(request), entry);
    this.#bySelectors.delete(selectorsHash(request.id), entry);
    if (namesSa(request)) this.#bySpi.delete(request.espSpi, entry);
    if (isTrap(request)) this.#traps.delete(request.reqid, entry);
  }

  /** Of the entries (of a session, if one is given) that are equal to this one in all that counts, the newest. */
  find(request: PolicyRequest, session?: bigint): number | undefined {
    const key = tupleKey(request);
    return this.#byTuple
      .get(tupleHash(request))
      .findLast(
        (entry) =>
          (session === undefined || this.#spd.session(entry) === session) &&
          tupleKey(this.#spd.read(entry)) === key,
      );
  }

  withSelectors(id: PolicyId): number[] {
    const key = selectorsKey(id);
    return this.#bySelectors
      .get(selectorsHash(id))
      .filter((entry) => selectorsKey(this.#spd.read(entry).id) === key);
  }

  withSpi(spi: number): readonly number[] {
    return this.#bySpi.get(spi);
  }

  trapsOf(reqid: number): readonly number[] {
    return this.#traps.get(reqid);
  }

  all(): number[] {
    return this.#byTuple.all();
  }
}

function namesSa(request: PolicyRequest): boolean {
  return request.id.direction === PolicyDirection.out && request.espSpi !== 0;
}

function isTrap({ id, type, espSpi }: PolicyRequest): boolean {
  return id.direction === PolicyDirection.out && type === PolicyType.ipsec && espSpi === 0;
}

/** Takes the bytes of what makes a policy, or an entry, the one it is. */
abstract class TupleWriter {
  abstract byte(value: number): void;

  number(value: number): this {
    for (let shift = 0; shift < 32; shift += 8) this.byte((value >>> shift) & 0xff);
    return this;
  }

  address(address: IpAddress): this {
    this.byte(address.length);
    for (let i = 0; i < address.length; i++) this.byte(address[i]);
    return this;
  }

  selector({ from, to, protocol, fromPort, toPort }: Selector): this {
    return this.address(from)
      .address(to)
      .number(protocol)
      .number(fromPort | (toPort << 16));
  }

  text(text: string): this {
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i));
    this.byte(0);
    return this;
  }
}

/** Keeps them, as characters of a string. */
class KeyWriter extends TupleWriter {
  key = "";

  byte(value: number): void {
    this.key += String.fromCharCode(value);
  }
}

/** FNV-1a over them, signed so that V8 keeps it as a small integer. */
class HashWriter extends TupleWriter {
  hash = 0x811c9dc5 | 0;

  byte(value: number): void {
    this.hash = Math.imul(this.hash ^ value, 0x01000193);
  }
}

/** What makes a policy the one it is: selectors, mark, interface id and interface. */
function selectors<Writer extends TupleWriter>(writer: Writer, id: PolicyId): Writer {
  return writer
    .number(id.direction)
    .selector(id.srcSelector)
    .selector(id.dstSelector)
    .number(id.mark.value)
    .number(id.mark.mask)
    .number(id.interfaceId)
    .text(id.interface);
}

/** What more there is to an entry. */
function others<Writer extends TupleWriter>(writer: Writer, entry: PolicyRequest): Writer {
  return writer
    .number(entry.type | (entry.priorityClass << 8) | (entry.mode << 16))
    .number(entry.manualPriority)
    .address(entry.src.address)
    .address(entry.dst.address)
    .number(entry.reqid)
    .number(entry.espSpi);
}

const selectorsKey = (id: PolicyId) => selectors(new KeyWriter(), id).key;
const selectorsHash = (id: PolicyId) => selectors(new HashWriter(), id).hash;
const tupleKey = (entry: PolicyRequest) => others(selectors(new KeyWriter(), entry.id), entry).key;
const tupleHash = (entry: PolicyRequest) => others(selectors(new HashWriter(), entry.id), entry).hash;
