// The outbound policy decision (RFC 4301 §5.1): IP packets from the private side meet the SPD and go to the
// encapsulating app with the SA that protects them, or leave in the clear where a policy says so, or end here. A packet
// too long for the tunnel is cut where it may be, else its sender is told what fits.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { innerMtu } from "../ipsec/encapsulate.js";
import { INNER_MALFORMED, type InnerPacket, parseInner } from "../ipsec/inner.js";
import type { Sad } from "../ipsec/sad.js";
import { saSlot } from "../ipsec/sad-layout.js";
import type { SpdIndex } from "../ipsec/spd-index.js";
import { PolicyType } from "../ipsec/spd-layout.js";
import { type Frames, NONE } from "../memory/frames.js";
import { NO_MATCH } from "../net/lpm.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";
import type { Fragmenter } from "./fragment.js";
import type { IcmpErrors } from "./icmp-errors.js";
import type { SaRoutes } from "./sa-routes.js";

export const protectCounters = {
  bypassed: "packets that a pass policy let out in the clear",
  "drop.no_policy": "no policy matches: what is not allowed is discarded (RFC 4301 §5.1)",
  "drop.policy": "a drop policy matches",
  "drop.no_sa": "the policy asks for protection, but there is no SA",
  "drop.no_route": "no route to the tunnel's far end, or to the destination of a bypassed packet",
  "drop.too_big": "longer than the tunnel carries, and must not be fragmented; the sender is told",
  "drop.malformed": "extension headers run beyond the packet",
} as const;

const COUNT = counterIndex(protectCounters);
const OUTER_LENGTH = saSlot.at.outerLength >>> 2;
const DF = 0x4000;
const MIN_IPV6_MTU = 1280;

export class Protect implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly index: SpdIndex;
  private readonly sad: Sad;
  private readonly routes: SaRoutes;
  private readonly fib: Fib;
  private readonly fragmenter: Fragmenter;
  private readonly errors: IcmpErrors;
  private readonly packet: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };

  constructor(
    context: AppContext,
    parts: {
      index: SpdIndex;
      sad: Sad;
      routes: SaRoutes;
      fib: Fib;
      fragmenter: Fragmenter;
      errors: IcmpErrors;
    },
    readonly input: Link,
    /** To the encapsulating app. */
    readonly output: Link,
    /** To the transmitting app, in the clear. */
    readonly bypass: Link,
  ) {
    this.counters = context.counters("protect", protectCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.index = parts.index;
    this.sad = parts.sad;
    this.routes = parts.routes;
    this.fib = parts.fib;
    this.fragmenter = parts.fragmenter;
    this.errors = parts.errors;
  }

  readonly push = (): void => {
    const { input } = this;
    for (let n = input.readable; n > 0; n--) this.protect(input.receive());
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private protect(frame: number): void {
    const frames = this.frames;
    const view = this.view;
    const ip = frames.offset[frame];
    const packet = this.packet;
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    if (parseInner(packet, view, ip, frames.length[frame], isIpv4) === INNER_MALFORMED)
      return this.drop(frame, COUNT["drop.malformed"]);
    const entry = this.index.lookup(view, ip, packet);
    if (entry === NO_MATCH) return this.drop(frame, COUNT["drop.no_policy"]);
    const type = this.index.type(entry);
    if (type !== PolicyType.ipsec) {
      if (type === PolicyType.pass) return this.letPass(frame, ip, isIpv4);
      return this.drop(frame, COUNT["drop.policy"]);
    }
    const sa = this.index.sa(entry);
    if (sa === NONE) return this.drop(frame, COUNT["drop.no_sa"]);
    const port = this.routes.port(sa);
    if (port === NONE) return this.drop(frame, COUNT["drop.no_route"]);
    frames.sa[frame] = sa;
    const outerLength = this.sad.words[(this.sad.offset(sa) >>> 2) + OUTER_LENGTH];
    const mtu = innerMtu(this.fib.mtu[port], outerLength);
    frames.limit[frame] = mtu;
    if (frames.length[frame] <= mtu) return this.output.transmit(frame);
    if (isIpv4 && (view.getUint16(ip + 6) & DF) === 0)
      return this.fragmenter.fragment(frame, mtu, this.output);
    this.counters[COUNT["drop.too_big"]]++;
    this.errors.tooBig(frame, isIpv4 || mtu >= MIN_IPV6_MTU ? mtu : MIN_IPV6_MTU);
  }

  private letPass(frame: number, ip: number, isIpv4: boolean): void {
    const fib = this.fib;
    const view = this.view;
    const route = isIpv4 ? fib.route4(view.getUint32(ip + 16)) : fib.route6(view, ip + 24);
    if (route === UNREACHABLE || route === LOCAL) return this.drop(frame, COUNT["drop.no_route"]);
    const hop = isIpv4 ? fib.hop4(route, view.getUint32(ip + 16)) : fib.hop6(route, view, ip + 24);
    if (hop === NONE) return this.drop(frame, COUNT["drop.no_route"]);
    this.frames.nextHop[frame] = hop;
    this.counters[COUNT.bypassed]++;
    this.bypass.transmit(frame);
  }
}
