// The last app before the ports: writes the Ethernet header that the next hop wants and hands the packet to its port. The
// encapsulating app and the routing one call it packet by packet; what others send comes by a link.
//
// Packets to a neighbour whose Ethernet address is not known yet go out through the kernel's own stack, which asks for
// it, keeps the packet meanwhile and then sends it, so that no first packet is lost.

import { type App, type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Exit } from "../ipsec/encapsulate.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { offHeapInt32 } from "../memory/off-heap.js";
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
/** Ethernet types as they lie in memory, read by this machine. */
const IPV4_TYPE = 0x0008;
const IPV6_TYPE = 0xdd86;
/** Packets that wait at most until they are handed to their port, in one go. */
const MAX_PENDING = 128;

// How packets leave: with an Ethernet header, as they are, through the kernel's stack, or not at all.
const ETHERNET = 0;
const PLAIN = 1;
const SLOW = 2;
const NO_ROUTE = 3;

/** Sends an IP packet through the kernel's stack, or keeps a copy until the neighbour is known. False when it did not take it. */
export interface SlowPath {
  /**
   * @param offset where the IP header begins in the frames' region
   * @param hop the next hop, an index into the FIB's table
   */
  send(offset: number, length: number, hop: number): boolean;
}

export class Transmit implements App, Exit {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly hops: NextHops;
  private readonly routes: SaRoutes;
  private readonly slowPaths: readonly (SlowPath | undefined)[];
  private readonly outputs: readonly Link[];
  /** By port number: 1 for Ethernet. */
  private readonly isEthernet: Uint8Array;
  /** Packets to neighbours that are not resolved: they wait until they are encrypted. */
  private readonly slow: Link;

  // The next hop of the last packet, and what is known of it.
  private hop = NOWHERE;
  /** How they leave, and the Ethernet header up to the type, as it lies in memory. */
  private readonly way = offHeapInt32(1).fill(NO_ROUTE);
  private readonly header = offHeapInt32(4);
  private output: Link;
  /** Packets for `output` that it does not have yet, and how many. */
  private readonly pending = offHeapInt32(MAX_PENDING);
  private readonly pendingCount = offHeapInt32(1);

  /**
   * @param routed packets whose next hop is known
   * @param parts `slowPaths` and `outputs`, the ports' links, go by port number
   */
  constructor(
    context: AppContext,
    parts: { fib: Fib; routes: SaRoutes; slowPaths: readonly (SlowPath | undefined)[]; slow: Link },
    ports: readonly { kind: "ethernet" | "ip" }[],
    readonly routed: Link,
    outputs: readonly Link[],
  ) {
    this.counters = context.counters("transmit", transmitCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.lanes = context.frames.lanes;
    this.hops = parts.fib.hops;
    this.routes = parts.routes;
    this.slowPaths = parts.slowPaths;
    this.slow = parts.slow;
    this.outputs = outputs;
    this.output = parts.slow;
    this.isEthernet = Uint8Array.from(ports, ({ kind }) => (kind === "ethernet" ? 1 : 0));
  }

  readonly push = (): void => {
    const { routed, frames, view, slow } = this;
    for (let n = routed.readable; n > 0; n--) {
      const frame = routed.receive();
      const start = frames.offset[frame];
      this.openHop(frames.nextHop[frame]);
      this.send(frame, start, frames.length[frame], view.getUint8(start) >>> 4 === 4);
    }
    for (let n = slow.readable; n > 0; n--) this.sendSlowly(slow.receive());
    this.handOver();
    // Neighbours may have changed until the next time.
    this.hop = NOWHERE;
    this.way[0] = NO_ROUTE;
  };

  /** Makes the way to the far end of SA `sa` the one that the next packets take. */
  open(sa: number): void {
    this.openHop(this.routes.hop(sa));
  }

  /** Makes next hop `hop` (NONE for none) the one that the next packets take. */
  openHop(hop: number): void {
    if (hop === this.hop) return;
    this.hop = hop;
    this.way[0] = NO_ROUTE;
    if (hop === NOWHERE) return;
    const { hops } = this;
    const port = hops.port[hop];
    const output = this.outputs[port];
    if (output !== this.output) {
      this.handOver();
      this.output = output;
    }
    const isResolved = hops.resolved[hop];
    this.way[0] = isResolved === 0 ? SLOW : this.isEthernet[port] !== 0 ? ETHERNET : PLAIN;
    const { header } = this;
    // Two bytes further on than in the table, so that the type ends where the last word does.
    let before = 0;
    for (let i = 0; i < 4; i++) {
      const word = hops.header[4 * hop + i];
      header[i] = (word << 16) | (before >>> 16);
      before = word;
    }
    hops.used[hop] = isResolved;
  }

  /** Hands a packet, whose IP header begins at `start`, to the port. */
  send(frame: number, start: number, length: number, isIpv4: boolean): void {
    if ((this.way[0] | (start & 3)) !== ETHERNET) this.sendOtherwise(frame, start, length, isIpv4);
    else this.sendEthernet(frame, ((start >> 2) - 4) | 0, length, isIpv4 ? IPV4_TYPE << 16 : IPV6_TYPE << 16);
  }

  /** See Exit. */
  sendIpv4(frame: number, word: number, length: number): void {
    if (this.way[0] !== ETHERNET) this.sendOtherwise(frame, ((word + 4) << 2) | 0, length, true);
    else this.sendEthernet(frame, word, length, IPV4_TYPE << 16);
  }

  /** @param type in the upper half, as it lies in memory */
  private sendEthernet(frame: number, word: number, length: number, type: number): void {
    const { frames, header } = this;
    const { at0, at1, at2, at3 } = this.lanes;
    at0[word] = header[0];
    at1[word] = header[1];
    at2[word] = header[2];
    at3[word] = header[3] | type;
    frames.offset[frame] = ((word << 2) + 2) | 0;
    frames.length[frame] = (length + ETHERNET_HEADER) | 0;
    this.enqueue(frame);
  }

  private enqueue(frame: number): void {
    const { pending, pendingCount } = this;
    let count = pendingCount[0];
    if (count === MAX_PENDING) {
      this.handOver();
      count = 0;
    }
    pending[count] = frame;
    pendingCount[0] = (count + 1) | 0;
  }

  /** Hands what waits for it to the port. */
  private handOver(): void {
    const count = this.pendingCount[0];
    this.pendingCount[0] = 0;
    this.counters[COUNT_PACKETS] += count;
    this.output.transmitAll(this.pending, count);
  }

  private sendOtherwise(frame: number, start: number, length: number, isIpv4: boolean): void {
    const { frames } = this;
    frames.offset[frame] = start;
    frames.length[frame] = length;
    if (this.way[0] === PLAIN) this.enqueue(frame);
    else if (this.way[0] === ETHERNET) this.sendUnaligned(frame, start, length, isIpv4);
    else if (this.way[0] === SLOW) {
      frames.nextHop[frame] = this.hop;
      this.slow.transmit(frame);
    } else {
      this.counters[COUNT["drop.no_route"]]++;
      frames.free(frame);
    }
  }

  /** A packet whose IP header does not begin at a multiple of four. */
  private sendUnaligned(frame: number, start: number, length: number, isIpv4: boolean): void {
    const { frames, view, header } = this;
    const type = isIpv4 ? IPV4_TYPE << 16 : IPV6_TYPE << 16;
    for (let i = 0; i < 4; i++) view.setInt32(start - 16 + 4 * i, i < 3 ? header[i] : header[i] | type, true);
    frames.offset[frame] = start - ETHERNET_HEADER;
    frames.length[frame] = length + ETHERNET_HEADER;
    this.enqueue(frame);
  }

  private sendSlowly(frame: number): void {
    const frames = this.frames;
    const hop = frames.nextHop[frame];
    this.hops.want(hop);
    const path = this.slowPaths[this.hops.port[hop]];
    const sent = path?.send(frames.offset[frame], frames.length[frame], hop) ?? false;
    this.counters[sent ? COUNT.slow : COUNT["drop.unresolved"]]++;
    frames.free(frame);
  }
}
