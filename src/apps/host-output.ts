// What the kernel sends from the addresses of a link that Vita owns: charon's IKE, and, if so configured, everything else.
// It leaves by that link alone, in the clear, and only from the link's own addresses: nothing of the protected networks
// can slip out this way, whatever the kernel's routes say.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { isIke, SOURCE_PORT } from "../net/ike-packets.js";
import { IPV6_HEADER } from "../net/ipv6.js";
import type { ClearText } from "./clear-text.js";
import { type Fib, type FibPort, LOCAL, UNREACHABLE } from "./fib.js";
import type { Station } from "./station.js";

export const hostOutputCounters = {
  packets: "packets of the kernel that went out on the link",
  groups: "multicasts of the kernel, which end here by design",
  "drop.malformed": "IP header is malformed, or its length is not the packet's",
  "drop.source": "not from an address of the link",
  "drop.not_ike": "not from charon's ports, and only IKE is punted",
  "drop.protected": "a policy does not let it out in the clear",
  "drop.no_route": "no route by this link: no gateway, or the destination lies on the private side",
  "drop.too_big": "longer than the link carries",
  "drop.strangers": "to one more station on the link than the table of next hops has room for",
} as const;

const COUNT = counterIndex(hostOutputCounters);

const STRANGER = -2;

export interface HostOutputParts {
  readonly station: Station;
  readonly fib: Fib;
  readonly clearText: ClearText;
  readonly ports: readonly FibPort[];
  /** Port of the link. */
  readonly port: number;
  readonly puntAll: boolean;
}

export class HostOutput implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  /** Next hops to the gateways; NONE without. */
  private gateway4 = NONE;
  private gateway6 = NONE;

  /** @param output packets whose next hop is known */
  constructor(
    context: AppContext,
    private readonly parts: HostOutputParts,
    readonly input: Link,
    readonly output: Link,
  ) {
    this.counters = context.counters("host-output", hostOutputCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
  }

  setGateway(family: 4 | 6, hop: number): void {
    if (family === 4) this.gateway4 = hop;
    else this.gateway6 = hop;
  }

  readonly push = (): void => {
    const { input } = this;
    for (let n = input.readable; n > 0; n--) this.send(input.receive());
  };

  private end(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private send(frame: number): void {
    const { view, frames, parts } = this;
    const ip = frames.offset[frame];
    const length = frames.length[frame];
    const end = ip + length;
    const version = length < 20 ? 0 : view.getUint8(ip) >>> 4;
    const isIpv4 = version === 4;
    if (isIpv4) {
      const header = (view.getUint8(ip) & 15) << 2;
      if (header < 20 || header > length || view.getUint16(ip + 2) !== length)
        return this.end(frame, COUNT["drop.malformed"]);
      if (view.getUint8(ip + 16) >= 224) return this.end(frame, COUNT.groups);
      if (!parts.station.has4(view, ip + 12)) return this.end(frame, COUNT["drop.source"]);
    } else {
      if (version !== 6 || length < IPV6_HEADER || view.getUint16(ip + 4) !== length - IPV6_HEADER)
        return this.end(frame, COUNT["drop.malformed"]);
      if (view.getUint8(ip + 24) === 0xff) return this.end(frame, COUNT.groups);
      if (!parts.station.has6(view, frames.bytes, ip + 8)) return this.end(frame, COUNT["drop.source"]);
    }
    if (!isIke(view, ip, end, isIpv4, SOURCE_PORT)) {
      if (!parts.puntAll) return this.end(frame, COUNT["drop.not_ike"]);
      if (!parts.clearText.leaves(view, ip, length, isIpv4)) return this.end(frame, COUNT["drop.protected"]);
    }
    if (length > parts.fib.mtu[parts.port]) return this.end(frame, COUNT["drop.too_big"]);
    const route = isIpv4 ? parts.fib.route4(view.getUint32(ip + 16)) : parts.fib.route6(view, ip + 24);
    const hop = this.nextHop(ip, isIpv4, route);
    if (hop === NONE) return this.end(frame, COUNT["drop.no_route"]);
    if (hop === STRANGER) return this.end(frame, COUNT["drop.strangers"]);
    frames.nextHop[frame] = hop;
    this.counters[COUNT.packets]++;
    this.output.transmit(frame);
  }

  /**
   * By the routing table where it leads to this link; else by the link's own gateway, because the kernel chose this
   * link, but never to what lies on the private side.
   */
  private nextHop(ip: number, isIpv4: boolean, route: number): number {
    const { view } = this;
    const { fib, port, ports } = this.parts;
    const gateway = isIpv4 ? this.gateway4 : this.gateway6;
    if (route === LOCAL) return NONE;
    if (route === UNREACHABLE) return gateway;
    const routePort = fib.routePort(route);
    if (routePort !== port) return ports[routePort].side === "private" ? NONE : gateway;
    // Whoever answers strangers must not fill the table that tunnels need.
    if (!fib.isGateway(route) && !fib.hops.roomy) return STRANGER;
    return isIpv4 ? fib.hop4(route, view.getInt32(ip + 16)) : fib.hop6(route, view, ip + 24);
  }
}
