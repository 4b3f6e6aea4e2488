// The last app before the ports: writes the Ethernet header that the next hop wants and hands the packet to its port.
// Packets to a neighbour whose Ethernet address is not known yet go out through the kernel's own stack, which asks for
// it, keeps the packet meanwhile and then sends it, so that no first packet is lost.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { Fib } from "./fib.js";
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

/** Sends an IP packet through the kernel's stack. False when the kernel did not take it. */
export interface SlowPath {
  /** @param offset where the IP header begins in the frames' region */
  send(offset: number, length: number): boolean;
}

export class Transmit implements App {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly fib: Fib;
  private readonly routes: SaRoutes;
  private readonly slowPaths: readonly (SlowPath | undefined)[];
  private readonly outputs: readonly Link[];
  /** By port number: 1 for Ethernet. */
  private readonly isEthernet: Uint8Array;

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
    this.fib = parts.fib;
    this.routes = parts.routes;
    this.slowPaths = parts.slowPaths;
    this.outputs = outputs;
    this.isEthernet = Uint8Array.from(ports, ({ kind }) => (kind === "ethernet" ? 1 : 0));
  }

  readonly push = (): void => {
    const { encapsulated, routed, frames } = this;
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

  /** @returns packets handed to a port: 1, or 0 when it took another way */
  private transmit(frame: number, hop: number): number {
    const { fib, frames, view } = this;
    const port = fib.hopPort[hop];
    if (fib.hopResolved[hop] === 0) return this.slow(frame, hop, port);
    fib.hopUsed[hop] = 1;
    if (this.isEthernet[port] !== 0) {
      const header = fib.hopHeader;
      const at = hop << 2;
      const ip = frames.offset[frame];
      const start = ip - ETHERNET_HEADER;
      view.setInt32(start, header[at], true);
      view.setInt32(start + 4, header[at + 1], true);
      view.setInt32(start + 8, header[at + 2], true);
      view.setUint16(start + 12, view.getUint8(ip) >>> 4 === 4 ? 0x0800 : 0x86dd);
      frames.offset[frame] = start;
      frames.length[frame] += ETHERNET_HEADER;
    }
    this.outputs[port].transmit(frame);
    return 1;
  }

  private slow(frame: number, hop: number, port: number): number {
    const frames = this.frames;
    this.fib.wantHop(hop);
    const sent = this.slowPaths[port]?.send(frames.offset[frame], frames.length[frame]) ?? false;
    this.counters[sent ? COUNT.slow : COUNT["drop.unresolved"]]++;
    frames.free(frame);
    return 0;
  }
}
