// Packets for charon, or for the kernel as a whole, leave by the device on which it has the interface's addresses.
//
// Checksums that were never worked out are finished on the way (net/unfinished-checksum.ts). All others go on as they are, and
// the kernel judges them.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { finishUnfinished } from "../net/unfinished-checksum.js";
import { TokenBucket } from "./token-bucket.js";

export const puntCounters = {
  ike: "IKE handed to the kernel, and errors about it",
  others: "other packets handed to the kernel",
  checksums: "TCP and UDP checksums that were finished",
  "drop.rate_ike": "more IKE than charon is given in a second",
  "drop.rate_others": "more other packets than the kernel is given in a second",
} as const;

const COUNT = counterIndex(puntCounters);

/** Packets a second, and at once. */
const IKE_RATE = 10_000;
const IKE_BURST = 2000;
const OTHERS_RATE = 100_000;
const OTHERS_BURST = 5000;

export class Punt {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly ike = new TokenBucket(IKE_RATE, IKE_BURST);
  private readonly others = new TokenBucket(OTHERS_RATE, OTHERS_BURST);

  /** @param output the punt device: IP packets */
  constructor(
    context: AppContext,
    private readonly output: Link,
  ) {
    this.counters = context.counters("punt", puntCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
  }

  /** Hands the IP packet from `ip` to `end`, whose header is valid, to the kernel. Owns the frame. */
  toKernel(frame: number, ip: number, end: number, isIke: boolean): void {
    const { frames } = this;
    if (!(isIke ? this.ike : this.others).take()) {
      this.counters[isIke ? COUNT["drop.rate_ike"] : COUNT["drop.rate_others"]]++;
      return frames.free(frame);
    }
    if (finishUnfinished(this.view, ip, end)) this.counters[COUNT.checksums]++;
    frames.offset[frame] = ip;
    frames.length[frame] = end - ip;
    this.counters[isIke ? COUNT.ike : COUNT.others]++;
    this.output.transmit(frame);
  }

  tick(milliseconds: number): void {
    this.ike.refill(milliseconds);
    this.others.refill(milliseconds);
  }
}
