// Capture files in the classic format (draft-ietf-opsawg-pcap): a header of 24 bytes, then records of 16 bytes and a
// packet each. Read in either byte order, with microseconds or nanoseconds; written little-endian, with nanoseconds.

export const LINKTYPE_ETHERNET = 1;
/** IPv4 or IPv6 packets, told apart by their version. */
export const LINKTYPE_RAW = 101;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const MAGIC_PCAPNG = 0x0a0d0d0a;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const LARGEST = 262144;

export interface CapturedPacket {
  /** Since 1970. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** What was captured of it; a view on the file's bytes. */
  readonly bytes: Uint8Array;
  /** How long it was on the wire. */
  readonly originalLength: number;
}

export interface Capture {
  /** See https://www.tcpdump.org/linktypes.html; variants of raw IP are given as LINKTYPE_RAW. */
  readonly linkType: number;
  readonly packets: CapturedPacket[];
  /** The file ends in the middle of a record, as it does when the capturing program was killed. */
  readonly truncated: boolean;
}

/** @throws Error that says what is wrong with the file */
export function parsePcap(file: Uint8Array): Capture {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < FILE_HEADER) throw new Error(`not a pcap file: ${file.length} bytes are too few`);
  const little = [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].includes(view.getUint32(0, true));
  const magic = view.getUint32(0, little);
  if (magic === MAGIC_PCAPNG)
    throw new Error("a pcapng file: convert it with editcap -F pcap, or capture with tcpdump");
  if (magic !== MAGIC_MICROSECONDS && magic !== MAGIC_NANOSECONDS)
    throw new Error(`not a pcap file: it begins with 0x${magic.toString(16).padStart(8, "0")}`);
  const unit = magic === MAGIC_MICROSECONDS ? 1000 : 1;
  const packets: CapturedPacket[] = [];
  let at = FILE_HEADER;
  while (at + RECORD_HEADER <= file.length) {
    const length = view.getUint32(at + 8, little);
    if (length > LARGEST) throw new Error(`damaged pcap file: a packet of ${length} bytes at offset ${at}`);
    const end = at + RECORD_HEADER + length;
    if (end > file.length) break;
    packets.push({
      seconds: view.getUint32(at, little),
      nanoseconds: view.getUint32(at + 4, little) * unit,
      bytes: file.subarray(at + RECORD_HEADER, end),
      originalLength: view.getUint32(at + 12, little),
    });
    at = end;
  }
  return { linkType: linkType(view.getUint32(20, little) & 0xffff), packets, truncated: at < file.length };
}

/** BSD's numbers for raw IP, and the two that are for one version only. */
function linkType(number: number): number {
  return [12, 14, 228, 229].includes(number) ? LINKTYPE_RAW : number;
}

/** The beginning of a capture file. */
export function pcapHeader(linkType: number): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, LARGEST, true);
  view.setUint32(20, linkType, true);
  return bytes;
}

/** @param milliseconds since 1970, with as many decimals as the clock has */
export function pcapRecord(packet: Uint8Array, milliseconds: number): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER + packet.length);
  const view = new DataView(bytes.buffer);
  const seconds = Math.floor(milliseconds / 1000);
  view.setUint32(0, seconds, true);
  view.setUint32(4, Math.min(999_999_999, Math.round((milliseconds - seconds * 1000) * 1e6)), true);
  view.setUint32(8, packet.length, true);
  view.setUint32(12, packet.length, true);
  bytes.set(packet, RECORD_HEADER);
  return bytes;
}
