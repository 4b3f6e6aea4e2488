// The Internet checksum (RFC 1071) over bytes in a region, its incremental update (RFC 1624), and the pseudo-headers of
// IPv4 (RFC 9293 §3.1, RFC 768) and IPv6 (RFC 8200 §8.1).
//
// A sum is carried unfolded, as a plain number, from one call to the next: `fold(sum16(view, at, length, pseudo))`.
// Parts that are added this way must have even lengths, except for the last one.

/**
 * Adds up the 16-bit words of `length` bytes (at most 65,535), an odd last byte being the high half of its word.
 * @param initial an unfolded sum to add to
 * @returns the unfolded sum; stays below 2^53 for more parts than a packet has
 */
export function sum16(view: DataView, offset: number, length: number, initial: number): number {
  // 32,768 words of 16 bits stay below 2^31, so that the loop needs nothing but 32-bit integers.
  let sum = 0;
  let at = offset;
  const end = offset + length;
  for (; at + 16 <= end; at += 16) {
    const a = view.getUint32(at);
    const b = view.getUint32(at + 4);
    const c = view.getUint32(at + 8);
    const d = view.getUint32(at + 12);
    sum = (sum + (a >>> 16) + (a & 0xffff) + (b >>> 16) + (b & 0xffff)) | 0;
    sum = (sum + (c >>> 16) + (c & 0xffff) + (d >>> 16) + (d & 0xffff)) | 0;
  }
  for (; at + 2 <= end; at += 2) sum = (sum + view.getUint16(at)) | 0;
  if (at < end) sum = (sum + (view.getUint8(at) << 8)) | 0;
  return initial + sum;
}

/**
 * The same for payloads: words of 32 bits as the machine stores them, added up as floating-point numbers, which are exact
 * far beyond what a packet adds up to, and need no taking apart of each word (RFC 1071 §2 (B) and (C)). A third less time.
 * @returns the sum folded to 16 bits, in network order
 */
export function sumPayload(view: DataView, offset: number, length: number): number {
  let a = 0;
  let b = 0;
  let at = offset;
  const end = offset + length;
  for (; at + 32 <= end; at += 32) {
    a += view.getUint32(at, true) + view.getUint32(at + 4, true);
    b += view.getUint32(at + 8, true) + view.getUint32(at + 12, true);
    a += view.getUint32(at + 16, true) + view.getUint32(at + 20, true);
    b += view.getUint32(at + 24, true) + view.getUint32(at + 28, true);
  }
  for (; at + 4 <= end; at += 4) a += view.getUint32(at, true);
  if (at + 2 <= end) {
    b += view.getUint16(at, true);
    at += 2;
  }
  if (at < end) b += view.getUint8(at);
  const sum = a + b;
  const low = sum >>> 0;
  const high = (sum - low) / 0x100000000;
  let folded = (low & 0xffff) + (low >>> 16) + (high & 0xffff) + (high >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

/** Folds an unfolded sum to 16 bits and complements it: the checksum. 0 over data that contains its own checksum. */
export function fold(sum: number): number {
  // Bit operators see a number modulo 2^32; what is above is added by hand.
  let folded = (sum & 0xffff) + (sum >>> 16);
  if (sum > 0xffffffff) {
    const high = Math.floor(sum / 0x100000000);
    folded += (high & 0xffff) + (high >>> 16);
  }
  folded = (folded & 0xffff) + (folded >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

/** The checksum after a 16-bit word that it covers went from `before` to `after` (RFC 1624, equation 3). */
export function update16(checksum: number, before: number, after: number): number {
  let sum = (~checksum & 0xffff) + (~before & 0xffff) + after;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/**
 * Unfolded sum of the IPv4 pseudo-header, addresses taken from the IPv4 header at `ip`.
 * @param length bytes of the upper-layer header and its data
 */
export function pseudoHeader4(view: DataView, ip: number, protocol: number, length: number): number {
  return sum16(view, ip + 12, 8, protocol + length);
}

/**
 * Unfolded sum of the IPv6 pseudo-header, addresses taken from the IPv6 header at `ip`.
 * @param nextHeader the upper-layer protocol, which may stand in an extension header
 * @param length bytes of the upper-layer header and its data, at most 65,535
 */
export function pseudoHeader6(view: DataView, ip: number, nextHeader: number, length: number): number {
  return sum16(view, ip + 8, 32, nextHeader + length);
}

/**
 * Finishes a checksum that the sender's kernel left to the hardware: the field already holds the sum of the
 * pseudo-header (Linux `CHECKSUM_PARTIAL`, virtio 1.1 §5.1.6.2 `VIRTIO_NET_HDR_F_NEEDS_CSUM`).
 * @param start where the checksum's coverage begins (the TCP or UDP header)
 * @param end where it ends (the packet's end)
 * @param field where the checksum stands
 */
export function finishChecksum(view: DataView, start: number, end: number, field: number): void {
  const checksum = fold(sum16(view, start, end - start, 0));
  // Zero means "no checksum" in UDP; both forms of zero are the same number in one's complement.
  view.setUint16(field, checksum === 0 ? 0xffff : checksum);
}
