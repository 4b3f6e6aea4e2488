// Where the entries of the SPD are: found again by their full tuple, by their selectors, by the SPI that they name, and
// traps by their reqid.

import { formatAddress } from "../net/address.js";
import type { PolicyId, PolicyRequest, Selector } from "./kernel.js";
import { MultiMap } from "./multi-map.js";
import { PolicyDirection, PolicyType } from "./spd-layout.js";

export class PolicyEntries {
  readonly #byTuple = new MultiMap<string>();
  readonly #bySelectors = new MultiMap<string>();
  /** `out` entries only. */
  readonly #bySpi = new MultiMap<number>();
  /** `out` entries that ask for protection and name no SPI. */
  readonly #traps = new MultiMap<number>();

  add(entry: number, request: PolicyRequest): void {
    this.#byTuple.add(tupleKey(request), entry);
    this.#bySelectors.add(selectorsKey(request.id), entry);
    if (namesSa(request)) this.#bySpi.add(request.espSpi, entry);
    if (isTrap(request)) this.#traps.add(request.reqid, entry);
  }

  delete(entry: number, request: PolicyRequest): void {
    this.#byTuple.delete(tupleKey(request), entry);
    this.#bySelectors.delete(selectorsKey(request.id), entry);
    if (namesSa(request)) this.#bySpi.delete(request.espSpi, entry);
    if (isTrap(request)) this.#traps.delete(request.reqid, entry);
  }

  /** Of the entries that are equal to this one in all that counts, the newest. */
  find(request: PolicyRequest): number | undefined {
    return this.#byTuple.last(tupleKey(request));
  }

  withSelectors(id: PolicyId): ReadonlySet<number> {
    return this.#bySelectors.get(selectorsKey(id));
  }

  withSpi(spi: number): ReadonlySet<number> {
    return this.#bySpi.get(spi);
  }

  trapsOf(reqid: number): ReadonlySet<number> {
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

function selectorKey({ from, to, protocol, fromPort, toPort }: Selector): string {
  return `${formatAddress(from)}-${formatAddress(to)}|${protocol}|${fromPort}-${toPort}`;
}

/** What makes a policy the one it is: selectors, mark, interface id and interface. */
function selectorsKey(id: PolicyId): string {
  return [
    id.direction,
    selectorKey(id.srcSelector),
    selectorKey(id.dstSelector),
    `${id.mark.value}/${id.mark.mask}`,
    id.interfaceId,
    id.interface,
  ].join(" ");
}

function tupleKey({ id, ...entry }: PolicyRequest): string {
  return [
    selectorsKey(id),
    entry.type,
    entry.priorityClass,
    entry.manualPriority,
    formatAddress(entry.src.address),
    formatAddress(entry.dst.address),
    entry.reqid,
    entry.mode,
    entry.espSpi,
  ].join(" ");
}
