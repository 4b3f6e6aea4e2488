// Read-ahead for received packets (see foresight.ts): before a batch is worked off, what its packets will need of their SAs
// is read, one step for all of them before the next step. With few SAs it is in the cache anyway, and nothing is done.
//
// Where the SPI of a packet stands is guessed here, and checked when the packet is. A wrong guess costs a read.

import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { foreseeInbound, foreseeLong, LONG_PACKET, RunCount } from "./foresight.js";
import type { Sad } from "./sad.js";

// Names of this module's own, which V8 compiles in.
const NO_SA = NONE;
const foresee = foreseeInbound;
const foreseeKey = foreseeLong;
const LONG = LONG_PACKET;
const MAX_BATCH = 128;

const ETHERNET_HEADER = 14;
const UDP = 17;
/** Bytes of a frame that a guess may look at. */
const REACH = 96;

export class InboundForesight extends RunCount {
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly sad: Sad;
  private readonly words: Uint32Array;
  private readonly spis = new Int32Array(MAX_BATCH);
  private readonly slots = new Int32Array(MAX_BATCH);
  private readonly isLong = new Uint8Array(MAX_BATCH);
  private seen = 0;

  constructor(frames: Frames, sad: Sad) {
    super();
    this.frames = frames;
    this.view = frames.view;
    this.sad = sad;
    this.words = sad.words;
  }

  /** Looks at the first `count` Ethernet frames on a link. */
  look(link: Link, count: number): void {
    const { spis, slots, isLong, view, words, sad } = this;
    const { length, offset } = this.frames;
    let found = 0;
    let last = 0;
    const end = count > MAX_BATCH ? MAX_BATCH : count;
    for (let i = 0; i < end; i++) {
      const frame = link.at(i);
      if (offset[frame] + REACH > view.byteLength) continue;
      const spi = this.guess(offset[frame] + ETHERNET_HEADER);
      const long = length[frame] > LONG ? 1 : 0;
      if (spi === last) {
        if (found > 0) isLong[found - 1] |= long;
        continue;
      }
      last = spi;
      isLong[found] = long;
      spis[found++] = spi;
    }
    let seen = 0;
    // Short loops one after the other: the fewer instructions there are from read to read, the more reads are under way at
    // a time.
    for (let i = 0; i < found; i++) seen ^= sad.foreseeIndex(spis[i]);
    for (let i = 0; i < found; i++) slots[i] = sad.lookup(spis[i] >>> 0);
    for (let i = 0; i < found; i++) {
      if (slots[i] === NO_SA) continue;
      const slot = sad.offset(slots[i]) >>> 2;
      seen ^= foresee(words, slot);
      if (isLong[i] !== 0) seen ^= foreseeKey(words, slot);
    }
    this.seen ^= seen;
  }

  /** What would be the SPI if the IP packet at `ip` had ESP, or UDP and ESP, right behind its header. */
  private guess(ip: number): number {
    const { view } = this;
    const first = view.getUint8(ip);
    const isIpv4 = first >>> 4 === 4;
    const protocol = view.getUint8(isIpv4 ? ip + 9 : ip + 6);
    const header = isIpv4 ? (first & 15) << 2 : 40;
    return view.getInt32(protocol === UDP ? ip + header + 8 : ip + header);
  }
}
