// Answers echo requests for the addresses of a link that Vita owns (RFC 1122 §3.2.2.6, RFC 4443 §4.2). The answer goes
// back to the station that the request came from: no route and no neighbour has to be looked up for a stranger.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { ETHERNET_HEADER } from "../net/ethernet.js";
import { turnIntoEchoReply4, turnIntoEchoReply6 } from "../net/icmp-echo.js";
import type { Station } from "./station.js";
import { TokenBucket } from "./token-bucket.js";

export const icmpEchoCounters = {
  answered: "echo requests answered",
  "drop.rate": "more echo requests than are answered in a second",
} as const;

const COUNT = counterIndex(icmpEchoCounters);

/** Answers a second, and at once. */
const RATE = 5000;
const BURST = 500;

export class IcmpEcho {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly bucket = new TokenBucket(RATE, BURST);

  constructor(
    context: AppContext,
    private readonly station: Station,
    private readonly output: Link,
  ) {
    this.counters = context.counters("icmp-echo", icmpEchoCounters);
    this.frames = context.frames;
  }

  /**
   * Takes an Ethernet frame with an echo request in it, directly behind an IP header without options, and owns it.
   * @param end where the IP packet ends in the region
   */
  answer(frame: number, isIpv4: boolean, end: number): void {
    const { frames } = this;
    const { bytes, view } = frames;
    if (!this.bucket.take()) {
      this.counters[COUNT["drop.rate"]]++;
      return frames.free(frame);
    }
    const ethernet = frames.offset[frame];
    if (isIpv4) turnIntoEchoReply4(view, ethernet + ETHERNET_HEADER);
    else turnIntoEchoReply6(view, ethernet + ETHERNET_HEADER);
    bytes.copyWithin(ethernet, ethernet + 6, ethernet + 12);
    bytes.set(this.station.mac, ethernet + 6);
    // Ethernet's padding does not go back.
    frames.length[frame] = end - ethernet;
    this.counters[COUNT.answered]++;
    this.output.transmit(frame);
  }

  tick(milliseconds: number): void {
    this.bucket.refill(milliseconds);
  }
}
