// Trains: IPv4 packets that follow each other have most of their header in common. What was found out about the header of
// the first one need not be found out again, and of the checksum only what differs has to be added up.
//
// Words are compared and added up as they lie in memory, read by this machine, which has the low byte first: a sum then
// comes out with its bytes swapped, and 0xffff stays what it is.

import { offHeapInt32 } from "../memory/off-heap.js";

const FIRST = 0;
const THIRD = 1;
const SOURCE = 2;
const DESTINATION = 3;
const SUM = 4;

/** What the headers of a train have in common: version, header length and TOS, TTL and protocol, addresses. */
export class Ipv4Train {
  /**
   * The first half of the first word (no header has the value to begin with), the first half of the third word, and the
   * other two words; the unfolded sum of all that.
   */
  private readonly common = offHeapInt32(5).fill(-1, 0, 1);

  /**
   * Does the header belong to the train? It has no options then.
   * @param first, third words of the header
   */
  continues(first: number, third: number, source: number, destination: number): boolean {
    const { common } = this;
    return (
      (first & 0xffff) === common[FIRST] &&
      (third & 0xffff) === common[THIRD] &&
      source === common[SOURCE] &&
      destination === common[DESTINATION]
    );
  }

  /** Is the checksum of a header of the train right? @param first, second, third words of it */
  isChecksumRight(first: number, second: number, third: number): boolean {
    const sum =
      (this.common[SUM] + (first >>> 16) + (second >>> 16) + (second & 0xffff) + (third >>> 16)) | 0;
    return (sum & 0xffff) + (sum >>> 16) === 0xffff;
  }

  /** The header, which has no options, begins a new train. */
  begin(first: number, third: number, source: number, destination: number): void {
    const { common } = this;
    common[FIRST] = first & 0xffff;
    common[THIRD] = third & 0xffff;
    common[SOURCE] = source;
    common[DESTINATION] = destination;
    common[SUM] =
      (first & 0xffff) +
      (third & 0xffff) +
      (source >>> 16) +
      (source & 0xffff) +
      (destination >>> 16) +
      (destination & 0xffff);
  }

  /** The first half of the first word of its headers; 0 when there is no train. */
  get first(): number {
    const first = this.common[FIRST];
    return first < 0 ? 0 : first;
  }

  /** The next header begins a train, whatever it is. */
  end(): void {
    this.common[FIRST] = -1;
  }
}

/** Bytes of a packet, as the first word of its IPv4 header says. */
export function ipv4Length(first: number): number {
  return ((first >>> 8) & 0xff00) | (first >>> 24);
}
