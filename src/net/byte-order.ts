// Numbers as they lie in memory. Packets have the high byte first; the machine reads words with the low byte first, and quickest
// so. What stands in a packet is therefore often kept and compared the way that the machine reads it.

/** A 32-bit number with its bytes turned round: between what a packet says and what the machine reads. */
export function swap32(value: number): number {
  return (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}

/** The same for a 16-bit number. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
