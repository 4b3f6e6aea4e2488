// Routes IP packets on the private side: what came out of tunnels, and errors for senders there. Packets for this machine
// itself go to the TUN device, if the gateway has one; packets to be forwarded have their TTL counted down.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";
import type { Fragmenter } from "./fragment.js";
import type { IcmpErrors } from "./icmp-errors.js";
import { decrementTtl } from "./ip-input.js";

export const routeCounters = {
  packets: "packets routed to the private side",
  "drop.no_route": "no route to the destination through a private port",
  "drop.public":
    "the destination lies on the public side: what came out of a tunnel does not go back in the clear",
  "drop.local": "for this machine itself, and there is no TUN device to hand it over",
  "drop.ttl": "TTL or hop limit exhausted; the sender is told",
  "drop.too_big": "longer than the link carries, and must not be fragmented; the sender is told",
} as const;

const COUNT = counterIndex(routeCounters);
const DF = 0x4000;

export class Route implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly fib: Fib;
  private readonly fragmenter: Fragmenter;
  private readonly errors: IcmpErrors;
  private readonly isPrivate: readonly boolean[];
  private readonly ethernet: readonly boolean[];
  /** Port of the TUN device, or NONE; its next hop. */
  private readonly host: number;
  private readonly hostOnly: boolean;

  constructor(
    context: AppContext,
    parts: { fib: Fib; fragmenter: Fragmenter; errors: IcmpErrors },
    ports: readonly { kind: "ethernet" | "ip"; side: "public" | "private" }[],
    readonly input: Link,
    readonly output: Link,
  ) {
    this.counters = context.counters("route", routeCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.fib = parts.fib;
    this.fragmenter = parts.fragmenter;
    this.errors = parts.errors;
    this.isPrivate = ports.map(({ side }) => side === "private");
    this.ethernet = ports.map(({ kind }) => kind === "ethernet");
    this.host = ports.findIndex(({ kind, side }) => side === "private" && kind === "ip");
    this.hostOnly =
      this.host !== NONE && !ports.some(({ kind, side }) => side === "private" && kind === "ethernet");
  }

  readonly push = (): void => {
    const { input } = this;
    for (let n = input.readable; n > 0; n--) this.route(input.receive());
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private route(frame: number): void {
    const fib = this.fib;
    const view = this.view;
    const frames = this.frames;
    const ip = frames.offset[frame];
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    let port = this.host;
    let hop = NONE;
    if (!this.hostOnly) {
      const route = isIpv4 ? fib.route4(view.getUint32(ip + 16)) : fib.route6(view, ip + 24);
      if (route === UNREACHABLE) return this.drop(frame, COUNT["drop.no_route"]);
      if (route === LOCAL) {
        if (port === NONE) return this.drop(frame, COUNT["drop.local"]);
      } else {
        port = fib.routePort(route);
        if (!this.isPrivate[port]) return this.drop(frame, COUNT["drop.public"]);
        hop = isIpv4 ? fib.hop4(route, view.getUint32(ip + 16)) : fib.hop6(route, view, ip + 24);
        if (hop === NONE) return this.drop(frame, COUNT["drop.no_route"]);
      }
    }
    if (hop === NONE) hop = fib.deviceHop(port);
    frames.nextHop[frame] = hop;
    // Errors speak from the private side: only its addresses lie in the tunnel's selectors.
    frames.port[frame] = port;
    this.counters[COUNT.packets]++;
    if (this.ethernet[port] && !decrementTtl(view, ip, isIpv4)) {
      this.counters[COUNT["drop.ttl"]]++;
      return this.errors.timeExceeded(frame);
    }
    const mtu = fib.mtu[port];
    if (frames.length[frame] <= mtu) return this.output.transmit(frame);
    if (isIpv4 && (view.getUint16(ip + 6) & DF) === 0)
      return this.fragmenter.fragment(frame, mtu, this.output);
    this.counters[COUNT["drop.too_big"]]++;
    this.errors.tooBig(frame, mtu);
  }
}
