// Read-ahead for packets to be sent (see ipsec/foresight.ts): destination, list of candidates, entry, SA. With few SAs all
// that is in the cache, and nothing is done.

import type { Link } from "../engine/link.js";
import { foreseeLong, foreseeOutbound, LONG_PACKET, RunCount } from "../ipsec/foresight.js";
import type { Sad } from "../ipsec/sad.js";
import type { SpdIndex } from "../ipsec/spd-index.js";
import type { Frames } from "../memory/frames.js";
import { NO_MATCH } from "../net/lpm.js";
import type { SaRoutes } from "./sa-routes.js";

// Names of this module's own, which V8 compiles in.
const foresee = foreseeOutbound;
const foreseeKey = foreseeLong;
const NO_ENTRY = NO_MATCH;
const LONG = LONG_PACKET;
const MAX_BATCH = 128;
/** Bytes of a packet that this looks at. */
const REACH = 64;

export class OutboundForesight extends RunCount {
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly index: SpdIndex;
  private readonly sad: Sad;
  private readonly routes: SaRoutes;
  /** Of packets with unlike destinations: number of the list of candidates, then of the entry, then of its SA. */
  private readonly guesses = new Int32Array(MAX_BATCH);
  private readonly isLong = new Uint8Array(MAX_BATCH);
  private seen = 0;

  constructor(frames: Frames, parts: { index: SpdIndex; sad: Sad; routes: SaRoutes }) {
    super();
    this.frames = frames;
    this.view = frames.view;
    this.index = parts.index;
    this.sad = parts.sad;
    this.routes = parts.routes;
  }

  /**
   * Looks at the first `count` packets on a link, whose IP header stands `skip` bytes into them.
   * @param domain of the port that they came in by
   */
  look(link: Link, count: number, skip: number, domain: number): void {
    const { guesses, isLong, view, index, sad, routes } = this;
    const { offset, length } = this.frames;
    const { words } = sad;
    let found = 0;
    let last = 0;
    const end = count > MAX_BATCH ? MAX_BATCH : count;
    for (let i = 0; i < end; i++) {
      const frame = link.at(i);
      const ip = offset[frame] + skip;
      if (ip + REACH > view.byteLength) continue;
      // IPv4's destination, or IPv6's end of the source: packets that follow each other often have it in common.
      const key = view.getInt32(ip + 16);
      const long = length[frame] > LONG ? 1 : 0;
      if (key === last) {
        if (found > 0) isLong[found - 1] |= long;
        continue;
      }
      last = key;
      isLong[found] = long;
      guesses[found++] = index.candidates(view, ip, domain);
    }
    for (let i = 0; i < found; i++) guesses[i] = index.guess(guesses[i], domain);
    for (let i = 0; i < found; i++) if (guesses[i] !== NO_ENTRY) guesses[i] = index.sa(guesses[i]);
    let seen = 0;
    for (let i = 0; i < found; i++) {
      const sa = guesses[i];
      if (sa < 0) continue;
      const slot = sad.offset(sa) >>> 2;
      seen ^= foresee(words, slot) ^ routes.foresee(sa);
      if (isLong[i] !== 0) seen ^= foreseeKey(words, slot);
    }
    this.seen ^= seen;
  }
}
