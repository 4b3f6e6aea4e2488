// Which port and which next hop lead to the far end of an SA's tunnel: looked up once, kept by SAD slot until the routes,
// the slot or its end points change.

import type { Sad } from "../ipsec/sad.js";
import { SaFlag, saSlot } from "../ipsec/sad-layout.js";
import { NONE } from "../memory/frames.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";

const at = saSlot.at;
const FLAGS = at.flags >>> 2;
const VERSION = at.version >>> 2;
const GENERATION = at.generation >>> 2;
const DST = at.dst;

export class SaRoutes {
  private readonly sad: Sad;
  private readonly fib: Fib;
  /** What the entry was looked up for: mixes slot life and version of the end points. NONE for never. */
  private readonly stamp: Int32Array;
  private readonly ports: Int32Array;
  private readonly hops: Int32Array;
  private fibGeneration = NONE;

  constructor(sad: Sad, fib: Fib) {
    this.sad = sad;
    this.fib = fib;
    this.stamp = new Int32Array(sad.slotCount).fill(NONE);
    this.ports = new Int32Array(sad.slotCount);
    this.hops = new Int32Array(sad.slotCount);
  }

  /** Port towards the SA's far end, or NONE without a route. */
  port(sa: number): number {
    this.refresh(sa);
    return this.ports[sa];
  }

  /** Next hop towards the SA's far end, or NONE. */
  hop(sa: number): number {
    this.refresh(sa);
    return this.hops[sa];
  }

  private refresh(sa: number): void {
    if (this.fib.generation !== this.fibGeneration) {
      this.stamp.fill(NONE);
      this.fibGeneration = this.fib.generation;
    }
    const words = this.sad.words;
    const slot = this.sad.offset(sa) >>> 2;
    const stamp = ((words[slot + GENERATION] << 12) ^ words[slot + VERSION]) & 0x7fffffff;
    if (this.stamp[sa] !== stamp) this.resolve(sa, slot, stamp);
  }

  private resolve(sa: number, slot: number, stamp: number): void {
    const fib = this.fib;
    const { view, words } = this.sad;
    const dst = slot * 4 + DST;
    const isIpv6 = (words[slot + FLAGS] & SaFlag.outerIpv6) !== 0;
    const route = isIpv6 ? fib.route6(view, dst) : fib.route4(view.getUint32(dst));
    this.stamp[sa] = stamp;
    if (route === UNREACHABLE || route === LOCAL) {
      this.ports[sa] = NONE;
      this.hops[sa] = NONE;
      return;
    }
    this.ports[sa] = fib.routePort(route);
    this.hops[sa] = isIpv6 ? fib.hop6(route, view, dst) : fib.hop4(route, view.getUint32(dst));
  }
}
