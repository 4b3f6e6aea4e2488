// IPv4 fragmentation (RFC 791 §2.3) of packets that may be fragmented and are longer than what is ahead of them carries.
// Before a tunnel this is done to the inner packet, so that the peer need not reassemble outer ones (RFC 4301 §8.1 lets
// the gateway choose).

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { fold, sum16 } from "../net/checksum.js";

export const fragmentCounters = {
  packets: "packets that were cut into fragments",
  fragments: "fragments made of them",
  "drop.no_frames": "no free frames for the fragments",
  "drop.mtu": "the MTU ahead is too small for any fragment",
} as const;

const COUNT = counterIndex(fragmentCounters);
const MORE_FRAGMENTS = 0x2000;

export class Fragmenter {
  readonly counters: Counters;
  private readonly frames: Frames;

  constructor(context: AppContext) {
    this.counters = context.counters("fragment", fragmentCounters);
    this.frames = context.frames;
  }

  /** Cuts the packet into fragments of at most `mtu` bytes, which go to `output`. Owns the frame. */
  fragment(frame: number, mtu: number, output: Link): void {
    const frames = this.frames;
    const { view, bytes } = frames;
    const ip = frames.offset[frame];
    const header = (view.getUint8(ip) & 15) << 2;
    const payload = frames.length[frame] - header;
    // Options that need not be copied into later fragments are copied all the same: a router may (RFC 791 §3.1 names those that must).
    const step = (mtu - header) & ~7;
    if (step < 8) return this.drop(frame, COUNT["drop.mtu"]);
    const count = Math.ceil(payload / step);
    if (frames.available < count) return this.drop(frame, COUNT["drop.no_frames"]);
    const flags = view.getUint16(ip + 6);
    for (let done = 0; done < payload; done += step) {
      const piece = frames.allocate();
      if (piece === NONE) break;
      const length = payload - done > step ? step : payload - done;
      const start = frames.offset[piece];
      bytes.copyWithin(start, ip, ip + header);
      bytes.copyWithin(start + header, ip + header + done, ip + header + done + length);
      const isLast = done + length === payload;
      const more = isLast ? flags & MORE_FRAGMENTS : MORE_FRAGMENTS;
      view.setUint16(start + 2, header + length);
      view.setUint16(start + 6, more | ((flags & 0x1fff) + (done >>> 3)));
      view.setUint16(start + 10, 0);
      view.setUint16(start + 10, fold(sum16(view, start, header, 0)));
      frames.length[piece] = header + length;
      this.counters[COUNT.fragments]++;
      output.transmit(piece);
    }
    this.counters[COUNT.packets]++;
    frames.free(frame);
  }

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }
}
