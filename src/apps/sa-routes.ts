// Which port and which next hop lead to the far end of an SA's tunnel: looked up once, kept by SAD slot until the routes,
// the slot or its end points change.

import type { Sad } from "../ipsec/sad.js";
import { SaFlag, saSlot } from "../ipsec/sad-layout.js";
import { NONE } from "../memory/frames.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";

const at = saSlot.at;
const FLAGS = at.flags >>> 2;
const VERSION = at.version >>> 2;
const DST = at.dst;
const PORT = 1;
const HOP = 2;

export class SaRoutes {
  private readonly sad: Sad;
  private readonly fib: Fib;
  /**
   * Four numbers a slot: the version of the end points that was looked up, NONE for never; port; next hop; nothing.
   */
  private readonly entries: Int32Array;
  private fibGeneration = NONE;

  constructor(sad: Sad, fib: Fib) {
    this.sad = sad;
    this.fib = fib;
    this.entries = new Int32Array(4 * sad.slotCount).fill(NONE);
  }

  /** Port towards the SA's far end, or NONE without a route. */
  port(sa: number): number {
    this.refresh(sa);
    return this.entries[4 * sa + PORT];
  }

  /** Next hop towards the SA's far end, or NONE. */
  hop(sa: number): number {
    this.refresh(sa);
    return this.entries[4 * sa + HOP];
  }

  /** Reads what will be asked for. @returns nothing of interest */
  foresee(sa: number): number {
    return this.entries[4 * sa];
  }

  private refresh(sa: number): void {
    if (this.fib.generation !== this.fibGeneration) {
      this.entries.fill(NONE);
      this.fibGeneration = this.fib.generation;
    }
    const words = this.sad.words;
    const slot = this.sad.offset(sa) >>> 2;
    const stamp = words[slot + VERSION] & 0x7fffffff;
    if (this.entries[4 * sa] !== stamp) this.resolve(sa, slot, stamp);
  }

  private resolve(sa: number, slot: number, stamp: number): void {
    const fib = this.fib;
    const { view, words } = this.sad;
    const dst = slot * 4 + DST;
    const isIpv6 = (words[slot + FLAGS] & SaFlag.outerIpv6) !== 0;
    const route = isIpv6 ? fib.route6(view, dst) : fib.route4(view.getUint32(dst));
    this.entries[4 * sa] = stamp;
    if (route === UNREACHABLE || route === LOCAL) {
      this.entries[4 * sa + PORT] = NONE;
      this.entries[4 * sa + HOP] = NONE;
      return;
    }
    this.entries[4 * sa + PORT] = fib.routePort(route);
    this.entries[4 * sa + HOP] = isIpv6 ? fib.hop6(route, view, dst) : fib.hop4(route, view.getInt32(dst));
  }
}
