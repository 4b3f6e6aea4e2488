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
  private readonly isEthernet: readonly boolean[];

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
    this.isEthernet = ports.map(({ kind }) => kind === "ethernet");
  }

  readonly push = (): void => {
    const { encapsulated, routed } = this;
    const frames = this.frames;
    for (let n = encapsulated.readable; n > 0; n--) {
      const frame = encapsulated.receive();
      const hop = this.routes.hop(frames.sa[frame]);
      if (hop === NONE) this.drop(frame, COUNT["drop.no_route"]);
      else this.transmit(frame, hop);
    }
    for (let n = routed.readable; n > 0; n--) {
      const frame = routed.receive();
      this.transmit(frame, frames.nextHop[frame]);
    }
  };

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  private transmit(frame: number, hop: number): void {
    const fib = this.fib;
    const port = fib.hopPort[hop];
    if (fib.hopResolved[hop] === 0) return this.slow(frame, hop, port);
    fib.hopUsed[hop] = 1;
    if (this.isEthernet[port]) {
      const frames = this.frames;
      const view = this.view;
      const header = fib.hopHeader;
      const ip = frames.offset[frame];
      const start = ip - ETHERNET_HEADER;
      const type = view.getUint8(ip) >>> 4 === 4 ? 0x0800 : 0x86dd;
      view.setUint32(start, header.getUint32(16 * hop));
      view.setUint32(start + 4, header.getUint32(16 * hop + 4));
      view.setUint32(start + 8, header.getUint32(16 * hop + 8));
      view.setUint16(start + 12, type);
      frames.offset[frame] = start;
      frames.length[frame] += ETHERNET_HEADER;
    }
    this.counters[COUNT.packets]++;
    this.outputs[port].transmit(frame);
  }

  private slow(frame: number, hop: number, port: number): void {
    const frames = this.frames;
    this.fib.wantHop(hop);
    const sent =
      this.slowPaths[port]?.send(frames.offset[frame], frames.length[frame]) ?? false;
    this.counters[sent ? COUNT.slow : COUNT["drop.unresolved"]]++;
    frames.free(frame);
  }
}
