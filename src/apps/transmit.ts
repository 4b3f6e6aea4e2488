// The last app before the ports: writes the Ethernet header that the next hop wants and hands the packet to its port.
// Packets to a neighbour whose Ethernet address is not known yet go out through the kernel's own stack, which asks for
// it, keeps the packet meanwhile and then sends it, so that no first packet is lost.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { Fib } from "./fib.js";
import type { NextHops } from "./next-hops.js";
import type { SaRoutes } from "./sa-routes.js";

export const transmitCounters = {
  packets: "packets handed to a port",
  slow: "packets sent through the kernel because the neighbour was not resolved",
  "drop.no_route": "no route to the tunnel's far end",
  "drop.unresolved": "the neighbour is not resolved, and the kernel did not take the packet",
} as const;

const COUNT = counterIndex(transmitCounters);
const COUNT_PACKETS = COUNT.packets;
const NOWHERE = NONE;
const ETHERNET_HEADER = 14;

/** Sends an IP packet through the kernel's stack, or keeps a copy until the neighbour is known. False when it did not take it. */
export interface SlowPath {
  /**
   * @param offset where the IP header begins in the frames' region
   * @param hop the next hop, an index into the FIB's table
   */
  send(offset: number, length: number, hop: number): boolean;
}

export class Transmit implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly hops: NextHops;
  private readonly routes: SaRoutes;
  private readonly slowPaths: readonly (SlowPath | undefined)[];
  private readonly outputs: readonly Link[];
  /** By port number: 1 for Ethernet. */
  private readonly isEthernet: Uint8Array;

  // The next hop of the last packet, and what is known of it.
  private hop = NOWHERE;
  private port = 0;
  private isResolved = 0;
  private header0 = 0;
  private header1 = 0;
  private header2 = 0;
  private output: Link;

  /**
   * @param encapsulated ESP packets, which go where their SA's far end is
   * @param routed packets whose next hop is known
   * @param parts `slowPaths` and `outputs`, the ports' links, go by port number
   */
  constructor(
    context: AppContext,
    parts: { fib: Fib; routes: SaRoutes; slowPaths: readonly (SlowPath | undefined)[] },
    ports: readonly { kind: "ethernet" | "ip" }[],
    readonly encapsulated: Link,
    readonly routed: Link,
    outputs: readonly Link[],
  ) {
    this.counters = context.counters("transmit", transmitCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.hops = parts.fib.hops;
    this.routes = parts.routes;
    this.slowPaths = parts.slowPaths;
    this.outputs = outputs;
    this.output = outputs[0];
    this.isEthernet = Uint8Array.from(ports, ({ kind }) => (kind === "ethernet" ? 1 : 0));
  }

  readonly push = (): void => {
    const { encapsulated, routed, frames } = this;
    // Neighbours may have changed since the last time.
    this.hop = NOWHERE;
    let packets = 0;
    let last = NOWHERE;
    let hop = NOWHERE;
    for (let n = encapsulated.readable; n > 0; n--) {
      const frame = encapsulated.receive();
      const sa = frames.sa[frame];
      if (sa !== last) {
        last = sa;
        hop = this.routes.hop(sa);
      }
      if (hop === NOWHERE) this.drop(frame, COUNT["drop.no_route"]);
      else packets += this.transmit(frame, hop);
    }
    for (let n = routed.readable; n > 0; n--) {
      const frame = routed.receive();
      packets += this.transmit(frame, frames.nextHop[frame]);
    }
    this.counters[COUNT_PACKETS] += packets;
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  /** Makes `hop` the one that the next packets take. */
  private openHop(hop: number): void {
    const { hops } = this;
    this.hop = hop;
    this.port = hops.port[hop];
    this.output = this.outputs[this.port];
    this.isResolved = hops.resolved[hop];
    this.header0 = hops.header[4 * hop];
    this.header1 = hops.header[4 * hop + 1];
    this.header2 = hops.header[4 * hop + 2];
    hops.used[hop] = this.isResolved;
  }

  /** @returns packets handed to a port: 1, or 0 when it took another way */
  private transmit(frame: number, hop: number): number {
    const { frames, view } = this;
    if (hop !== this.hop) this.openHop(hop);
    if (this.isResolved === 0) return this.slow(frame, hop, this.port);
    if (this.isEthernet[this.port] !== 0) {
      const ip = frames.offset[frame];
      const start = ip - ETHERNET_HEADER;
      view.setInt32(start, this.header0, true);
      view.setInt32(start + 4, this.header1, true);
      view.setInt32(start + 8, this.header2, true);
      view.setInt16(start + 12, view.getUint8(ip) >>> 4 === 4 ? 0x0800 : 0x86dd);
      frames.offset[frame] = start;
      frames.length[frame] += ETHERNET_HEADER;
    }
    this.output.transmit(frame);
    return 1;
  }

  private slow(frame: number, hop: number, port: number): number {
    const frames = this.frames;
    this.hops.want(hop);
    const sent = this.slowPaths[port]?.send(frames.offset[frame], frames.length[frame], hop) ?? false;
    this.counters[sent ? COUNT.slow : COUNT["drop.unresolved"]]++;
    frames.free(frame);
    return 0;
  }
}
