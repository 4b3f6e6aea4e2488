// Tells of SAs that come and go, whoever has installed them: charon or the configuration. An SA that comes while another one
// of its reqid and direction is active has taken that one's place.

import { readEndPoints } from "../ipsec/outer-header.js";
import { reqidOf } from "../ipsec/sa-identity.js";
import type { Sad } from "../ipsec/sad.js";
import { SaFlag, SaState } from "../ipsec/sad-layout.js";
import { formatAddress } from "../net/address.js";
import type { NodeEvents, SaEvent } from "./node-events.js";

export class SaEvents {
  readonly #events: NodeEvents;
  #sad: Sad | undefined;
  /** What was told of each SA that is there, by slot. */
  readonly #told = new Map<number, SaEvent>();
  /** Slots by reqid and direction, the oldest first. */
  readonly #siblings = new Map<string, Set<number>>();

  constructor(events: NodeEvents) {
    this.#events = events;
  }

  /** Begins with the SAs of a database; those of another one are gone. */
  begin(sad: Sad): void {
    for (const event of this.#told.values()) this.#events.emit("sa-down", event);
    this.#told.clear();
    this.#siblings.clear();
    this.#sad = sad;
    for (let slot = 0; slot < sad.used; slot++)
      if (sad.state(slot) === SaState.active) this.#enter(slot, eventOf(sad, slot));
  }

  /** An SA can be used, or is about to be deleted. */
  change(slot: number, present: boolean): void {
    if (!this.#sad) return;
    if (present) this.#came(slot, eventOf(this.#sad, slot));
    else this.#goes(slot);
  }

  #came(slot: number, event: SaEvent): void {
    // Without a reqid nothing says that two belong together.
    const before = event.reqid === 0 ? undefined : [...(this.#siblings.get(keyOf(event)) ?? [])].at(-1);
    this.#enter(slot, event);
    const old = before === undefined ? undefined : this.#told.get(before);
    if (old) this.#events.emit("sa-rekeyed", { ...event, "old-spi": old.spi });
    else this.#events.emit("sa-up", event);
  }

  #enter(slot: number, event: SaEvent): void {
    this.#told.set(slot, event);
    const siblings = this.#siblings.get(keyOf(event));
    if (siblings) siblings.add(slot);
    else this.#siblings.set(keyOf(event), new Set([slot]));
  }

  #goes(slot: number): void {
    const event = this.#told.get(slot);
    // It may have been an SPI that was reserved, and never an SA.
    if (!event) return;
    this.#told.delete(slot);
    const siblings = this.#siblings.get(keyOf(event));
    siblings?.delete(slot);
    if (siblings?.size === 0) this.#siblings.delete(keyOf(event));
    this.#events.emit("sa-down", event);
  }
}

function keyOf({ reqid, direction }: SaEvent): string {
  return `${direction} ${reqid}`;
}

function eventOf(sad: Sad, slot: number): SaEvent {
  const { src, dst } = readEndPoints(sad, slot);
  return {
    direction: (sad.flags(slot) & SaFlag.inbound) !== 0 ? "in" : "out",
    spi: sad.spi(slot).toString(16).padStart(8, "0"),
    src: formatAddress(src.address),
    dst: formatAddress(dst.address),
    reqid: reqidOf(sad, slot),
  };
}
