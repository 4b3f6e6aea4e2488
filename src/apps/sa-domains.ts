// Which domains of ports (ipsec/binding.ts) the packets of an inbound SA may go to: worked out once, kept by SAD slot until
// the slot or what it says of the SA's mark changes.

import type { Domains } from "../ipsec/binding.js";
import type { Sad } from "../ipsec/sad.js";
import { SaFlag, saSlot } from "../ipsec/sad-layout.js";
import { NONE } from "../memory/frames.js";

const at = saSlot.at;
const VERSION = at.version >>> 2;

export class SaDomains {
  private readonly sad: Sad;
  private readonly domains: Domains;
  /**
   * Two numbers a slot, on one cache line: the version for which the domains were worked out, NONE for never; the domains.
   * A version counts on from life to life of its slot, and stands where all the data path reads; anything else that
   * tells lives apart would be a cache line more for each packet.
   */
  private readonly entries: Int32Array;

  constructor(sad: Sad, domains: Domains) {
    this.sad = sad;
    this.domains = domains;
    this.entries = new Int32Array(2 * sad.slotCount).fill(NONE);
  }

  /** The domains as bits; 0 when no port is bound to what the SA is for. */
  of(sa: number): number {
    const words = this.sad.words;
    const slot = this.sad.offset(sa) >>> 2;
    const stamp = words[slot + VERSION] & 0x7fffffff;
    if (this.entries[2 * sa] !== stamp) this.resolve(sa, slot, stamp);
    return this.entries[2 * sa + 1];
  }

  private resolve(sa: number, slot: number, stamp: number): void {
    const { words } = this.sad;
    const word = (field: number) => words[slot + (field >>> 2)];
    // The mark is written once, and the flag behind it: a mark that is known is whole.
    const known = (word(at.flags) & SaFlag.markKnown) !== 0;
    const bits = this.domains.receiving({
      interfaceId: word(at.interfaceId),
      mark: known ? { value: word(at.markValue), mask: word(at.markMask) } : undefined,
      setMark: { value: word(at.setMarkValue), mask: word(at.setMarkMask) },
    });
    this.entries[2 * sa] = stamp;
    this.entries[2 * sa + 1] = bits;
  }
}
