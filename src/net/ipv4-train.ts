// Trains: IPv4 packets that follow each other have most of their header in common. What was found out about the header of
// the first one need not be found out again, and of the checksum only what differs has to be added up.

/** What the headers of a train have in common: version, header length and TOS, TTL and protocol, addresses. */
export class Ipv4Train {
  // The first half of the first word, the first half of the third word, and the other two words. No header has the first
  // value to begin with.
  private first = -1;
  private third = 0;
  private source = 0;
  private destination = 0;
  /** The unfolded sum of all that. */
  private sum = 0;

  /**
   * Does the header at `ip` belong to the train? It has no options then.
   * @param first, third words of the header, as big-endian numbers
   */
  continues(view: DataView, ip: number, first: number, third: number): boolean {
    return (
      first >>> 16 === this.first &&
      third >>> 16 === this.third &&
      view.getInt32(ip + 12) === this.source &&
      view.getInt32(ip + 16) === this.destination
    );
  }

  /** Is the checksum of a header of the train right? @param first, second, third words of it */
  isChecksumRight(first: number, second: number, third: number): boolean {
    const sum = (this.sum + (first & 0xffff) + (second >>> 16) + (second & 0xffff) + (third & 0xffff)) | 0;
    return (sum & 0xffff) + (sum >>> 16) === 0xffff;
  }

  /** The header at `ip`, which has no options, begins a new train. */
  begin(view: DataView, ip: number, first: number, third: number): void {
    const source = view.getInt32(ip + 12);
    const destination = view.getInt32(ip + 16);
    this.first = first >>> 16;
    this.third = third >>> 16;
    this.source = source;
    this.destination = destination;
    this.sum =
      this.first +
      this.third +
      (source >>> 16) +
      (source & 0xffff) +
      (destination >>> 16) +
      (destination & 0xffff);
  }

  /** The next header begins a train, whatever it is. */
  end(): void {
    this.first = -1;
  }
}
