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
    this.#byTuple.add(hashOf(tupleKey(request)), entry);
    this.#bySelectors.add(hashOf(selectorsKey(request.id)), entry);
    if (namesSa(request)) this.#bySpi.add(request.espSpi, entry);
    if (isTrap(request)) this.#traps.add(request.reqid, entry);
  }

  delete(entry: number, request: PolicyRequest): void {
    this.#byTuple.delete(hashOf(tupleKey(request)), entry);
    this.#bySelectors.delete(hashOf(selectorsKey(request.id)), entry);
    if (namesSa(request)) this.#bySpi.delete(request.espSpi, entry);
    if (isTrap(request)) this.#traps.delete(request.reqid, entry);
  }

  /** Of the entries (of a session, if one is given) that are equal to this one in all that counts, the newest. */
  find(request: PolicyRequest, session?: bigint): number | undefined {
    const key = tupleKey(request);
    return this.#byTuple
      .get(hashOf(key))
      .findLast(
        (entry) =>
          (session === undefined || this.#spd.session(entry) === session) &&
          tupleKey(this.#spd.read(entry)) === key,
      );
  }

  withSelectors(id: PolicyId): number[] {
    const key = selectorsKey(id);
    return this.#bySelectors
      .get(hashOf(key))
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

/** FNV-1a over the characters, signed so that V8 keeps it as a small integer. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return hash | 0;
}

function namesSa(request: PolicyRequest): boolean {
  return request.id.direction === PolicyDirection.out && request.espSpi !== 0;
}

function isTrap({ id, type, espSpi }: PolicyRequest): boolean {
  return id.direction === PolicyDirection.out && type === PolicyType.ipsec && espSpi === 0;
}

// A key holds the bytes of what it stands for, as characters of a string.

class KeyWriter {
  #text = "";

  number(value: number): this {
    this.#text += String.fromCharCode(
      value & 0xff,
      (value >>> 8) & 0xff,
      (value >>> 16) & 0xff,
      value >>> 24,
    );
    return this;
  }

  address(address: IpAddress): this {
    this.#text += String.fromCharCode(address.length, ...address);
    return this;
  }

  selector({ from, to, protocol, fromPort, toPort }: Selector): this {
    return this.address(from)
      .address(to)
      .number(protocol)
      .number(fromPort | (toPort << 16));
  }

  text(text: string): this {
    this.#text += `${text}\0`;
    return this;
  }

  get key(): string {
    return this.#text;
  }
}

function writeSelectors(id: PolicyId): KeyWriter {
  return new KeyWriter()
    .number(id.direction)
    .selector(id.srcSelector)
    .selector(id.dstSelector)
    .number(id.mark.value)
    .number(id.mark.mask)
    .number(id.interfaceId)
    .text(id.interface);
}

/** What makes a policy the one it is: selectors, mark, interface id and interface. */
function selectorsKey(id: PolicyId): string {
  return writeSelectors(id).key;
}

function tupleKey({ id, ...entry }: PolicyRequest): string {
  return writeSelectors(id)
    .number(entry.type | (entry.priorityClass << 8) | (entry.mode << 16))
    .number(entry.manualPriority)
    .address(entry.src.address)
    .address(entry.dst.address)
    .number(entry.reqid)
    .number(entry.espSpi).key;
}
