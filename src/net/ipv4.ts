// The IPv4 header (RFC 791) as a router handles it: its checksum, and the TTL that it counts down.

import { sum16 } from "./checksum.js";

/** Is the checksum of the header of `length` bytes at `ip` right? */
export function isChecksumRight(view: DataView, ip: number, length: number): boolean {
  const sum = length === 20 ? shortHeaderSum(view, ip) : sum16(view, ip, length, 0);
  // No header has so many words that the first folding could leave more than one carry.
  return (sum & 0xffff) + (sum >>> 16) === 0xffff;
}

/** Unfolded sum of a header without options. */
function shortHeaderSum(view: DataView, ip: number): number {
  // In the machine's byte order: the sum comes out with its bytes swapped, and 0xffff stays what it is.
  const a = view.getInt32(ip, true);
  const b = view.getInt32(ip + 4, true);
  const c = view.getInt32(ip + 8, true);
  const d = view.getInt32(ip + 12, true);
  const e = view.getInt32(ip + 16, true);
  const even = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return even + (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16);
}

/** The checksum for a header whose words, without it, add up to `sum` (below 2^31). */
export function headerChecksum(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return ~((once & 0xffff) + (once >>> 16)) & 0xffff;
}

/**
 * The third word of a header (TTL, protocol, checksum) with a TTL that is one lower.
 * @param word as it lies in memory, read by this machine, which has the low byte first
 */
function countedDown(word: number): number {
  // One less in the high byte of a header's word is one more in the high byte of the checksum (RFC 1624).
  if ((word & 0xfe_0000) !== 0xfe_0000) return (word + 0x1_0000 - 1) | 0;
  const checksum = (((word >>> 8) & 0xff00) | (word >>> 24)) + 0x100;
  const carried = checksum >= 0xffff ? checksum + 1 : checksum;
  return ((word & 0xffff) - 1) | ((carried & 0xff00) << 8) | (carried << 24);
}

/** Counts TTL or hop limit down by one. @returns false, and changes nothing, when it is used up. */
export function decrementTtl(view: DataView, ip: number, isIpv4: boolean): boolean {
  if (isIpv4) {
    const word = view.getInt32(ip + 8, true);
    if ((word & 0xfe) === 0) return false;
    view.setInt32(ip + 8, countedDown(word), true);
    return true;
  }
  const limit = view.getUint8(ip + 7);
  if (limit < 2) return false;
  view.setUint8(ip + 7, limit - 1);
  return true;
}

// Under a name of its own, V8 compiles it into `decrementTtl`: it looks exported ones up at each use.
export { countedDown as ttlCountedDown };
