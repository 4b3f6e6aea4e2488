// Where the SAs of the SAD are: found again by what names them in a call, by their reqid, and by what a policy says of the
// one that shall protect its packets. Inbound SPIs are unique, and the SAD's own index has them; a peer's SPIs are not.

import { NONE } from "../memory/frames.js";
import { formatAddress, type IpAddress } from "../net/address.js";
import { hasMark } from "./binding.js";
import type { PolicyRequest, SaId } from "./kernel.js";
import { MultiMap } from "./multi-map.js";
import { readEndPoints } from "./outer-header.js";
import { reqidOf, saIdentity, sameMark } from "./sa-identity.js";
import type { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot } from "./sad-layout.js";

const at = saSlot.at;

export class SaDirectory {
  readonly #sad: Sad;
  /** Outbound SAs by SPI and destination; those under one key differ in mark or interface id. */
  readonly #outbound = new MultiMap<string>();
  /** Active SAs, both directions, by reqid. */
  readonly #byReqid = new MultiMap<number>();

  constructor(sad: Sad) {
    this.#sad = sad;
  }

  /** Enters an active SA, whose slot is filled. */
  add(slot: number): void {
    this.#byReqid.add(reqidOf(this.#sad, slot), slot);
    if (!this.#isInbound(slot)) this.#outbound.add(this.#outboundKey(slot), slot);
  }

  /** Takes out an SA, whose slot still says what it was entered with. One that was never entered is no error. */
  delete(slot: number): void {
    this.#byReqid.delete(reqidOf(this.#sad, slot), slot);
    if (!this.#isInbound(slot)) this.#outbound.delete(this.#outboundKey(slot), slot);
  }

  /** Slot of the SA that the id names, or -1. */
  find(id: SaId): number {
    const slot = this.findOutbound(id) ?? this.#findInbound(id);
    const protocol = slot < 0 ? 0 : this.#sad.words[(this.#sad.offset(slot) + at.protocol) >>> 2];
    return protocol === id.protocol ? slot : -1;
  }

  /** Slot of the outbound SA that the id names: its SPI is unique with destination, mark and interface id. */
  findOutbound({
    spi,
    dst,
    mark,
    interfaceId,
  }: Pick<SaId, "spi" | "dst" | "mark" | "interfaceId">): number | undefined {
    for (const slot of this.#outbound.get(outboundKey(spi, dst.address))) {
      const mine = saIdentity(this.#sad, slot);
      if (mine.interfaceId === interfaceId && sameMark(mine.mark, mark)) return slot;
    }
    return undefined;
  }

  #findInbound(id: SaId): number {
    const slot = this.#sad.lookup(id.spi);
    if (slot < 0) return -1;
    const state = this.#sad.state(slot);
    if (state === SaState.dying) return -1;
    if (state === SaState.larval) return slot;
    const { dst } = readEndPoints(this.#sad, slot);
    return formatAddress(dst.address) === formatAddress(id.dst.address) ? slot : -1;
  }

  /** The active SAs of a reqid, both directions. */
  ofReqid(reqid: number): readonly number[] {
    return this.#byReqid.get(reqid);
  }

  /** Slot of the outbound SA that an `out` entry names, or NONE. As with Linux, an SA without a mark serves policies with any. */
  namedBy({ id: { mark, interfaceId }, espSpi, dst }: PolicyRequest): number {
    let other = NONE;
    for (const slot of this.#outbound.get(outboundKey(espSpi, dst.address))) {
      const sa = saIdentity(this.#sad, slot);
      if (sa.interfaceId !== interfaceId) continue;
      if (sameMark(sa.mark, mark)) return slot;
      if (hasMark(mark.value & mark.mask, sa.mark)) other = slot;
    }
    return other;
  }

  #isInbound(slot: number): boolean {
    return (this.#sad.flags(slot) & SaFlag.inbound) !== 0;
  }

  #outboundKey(slot: number): string {
    return outboundKey(this.#sad.spi(slot), readEndPoints(this.#sad, slot).dst.address);
  }
}

function outboundKey(spi: number, dst: IpAddress): string {
  return `${spi} ${formatAddress(dst)}`;
}
