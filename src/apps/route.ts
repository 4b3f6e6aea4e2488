// Routes IP packets on the private side: what came out of tunnels, and errors for senders there. Packets for this machine
// itself go to the TUN device, if the gateway has one; packets to be forwarded have their TTL counted down.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { decrementTtl } from "../net/ipv4.js";
import { type Fib, LOCAL, UNREACHABLE } from "./fib.js";
import type { Fragmenter } from "./fragment.js";
import type { IcmpErrors } from "./icmp-errors.js";

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
const COUNT_PACKETS = COUNT.packets;
// Names of this module's own, which V8 compiles in.
const countDown = decrementTtl;
const NOWHERE = NONE;
const TO_HOST = LOCAL;
const NO_ROUTE = UNREACHABLE;
const DF = 0x4000;

export class Route implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly fib: Fib;
  private readonly fragmenter: Fragmenter;
  private readonly errors: IcmpErrors;
  /** By port number: 1 for private, 1 for Ethernet. */
  private readonly isPrivate: Uint8Array;
  private readonly isEthernet: Uint8Array;
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
    this.isPrivate = Uint8Array.from(ports, ({ side }) => (side === "private" ? 1 : 0));
    this.isEthernet = Uint8Array.from(ports, ({ kind }) => (kind === "ethernet" ? 1 : 0));
    this.host = ports.findIndex(({ kind, side }) => side === "private" && kind === "ip");
    this.hostOnly =
      this.host !== NONE && !ports.some(({ kind, side }) => side === "private" && kind === "ethernet");
  }

  readonly push = (): void => {
    const { input, output } = this;
    let packets = 0;
    for (let n = input.readable; n > 0; n--) {
      const frame = input.receive();
      if (!this.route(frame)) continue;
      packets++;
      output.transmit(frame);
    }
    this.counters[COUNT_PACKETS] += packets;
  };

  /** @returns false, for those who would return whether the packet goes on */
  private drop(frame: number, reason: number): false {
    this.counters[reason]++;
    this.frames.free(frame);
    return false;
  }

  /** @returns whether the packet goes on as it is; the others have ended here */
  private route(frame: number): boolean {
    const { fib, view, frames } = this;
    const ip = frames.offset[frame];
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    let port = this.host;
    let hop = NOWHERE;
    if (!this.hostOnly) {
      const route = isIpv4 ? fib.route4(view.getInt32(ip + 16)) : fib.route6(view, ip + 24);
      if (route === NO_ROUTE) return this.drop(frame, COUNT["drop.no_route"]);
      if (route === TO_HOST) {
        if (port === NOWHERE) return this.drop(frame, COUNT["drop.local"]);
      } else {
        port = fib.routePort(route);
        if (this.isPrivate[port] === 0) return this.drop(frame, COUNT["drop.public"]);
        hop = isIpv4 ? fib.hop4(route, view.getUint32(ip + 16)) : fib.hop6(route, view, ip + 24);
        if (hop === NOWHERE) return this.drop(frame, COUNT["drop.no_route"]);
      }
    }
    if (hop === NOWHERE) hop = fib.deviceHop(port);
    frames.nextHop[frame] = hop;
    // Errors speak from the private side: only its addresses lie in the tunnel's selectors.
    frames.port[frame] = port;
    if (this.isEthernet[port] !== 0 && !countDown(view, ip, isIpv4)) {
      this.counters[COUNT_PACKETS]++;
      this.counters[COUNT["drop.ttl"]]++;
      this.errors.timeExceeded(frame);
      return false;
    }
    const mtu = fib.mtu[port];
    return frames.length[frame] <= mtu || this.shorten(frame, mtu, isIpv4);
  }

  /** Cuts a packet that is too long for the link, or tells its sender. @returns false: it does not go on as it is */
  private shorten(frame: number, mtu: number, isIpv4: boolean): false {
    this.counters[COUNT_PACKETS]++;
    if (isIpv4 && (this.view.getUint16(this.frames.offset[frame] + 6) & DF) === 0)
      this.fragmenter.fragment(frame, mtu, this.output);
    else {
      this.counters[COUNT["drop.too_big"]]++;
      this.errors.tooBig(frame, mtu);
    }
    return false;
  }
}
