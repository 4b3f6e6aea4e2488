// The outer header of tunnel mode (RFC 4301 §5.1.2), with and without UDP (RFC 3948): an SA's template (outer-header.ts), and what
// differs from packet to packet. Encapsulate (encapsulate.ts) writes the most usual one, IPv4 without UDP, itself.

import type { Frames } from "../memory/frames.js";
import type { Lanes } from "../memory/lanes.js";
import { offHeapInt32 } from "../memory/off-heap.js";
import { swap16 } from "../net/byte-order.js";
import { fold, sum16 } from "../net/checksum.js";
import { headerChecksum } from "../net/ipv4.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";

// What the data path uses of other modules has a name here: see encapsulate.ts.
const checksumOf = headerChecksum;
const swapHalf = swap16;
const sum = sum16;
const foldSum = fold;
const { copyDf: COPY_DF, copyEcn: COPY_ECN, copyDscpOut: COPY_DSCP } = SaFlag;
const VERSION = saSlot.at.version >>> 2;
const OUTER_LENGTH = saSlot.at.outerLength >>> 2;
const OUTER = saSlot.at.outer >>> 2;
const OUTER_SUM = saSlot.at.outerSum >>> 2;

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const UDP = 17;
/** As it lies in memory, in the second half of the header's second word. */
const DF = 0x0040;
/** Packets of two batches at most: those with AES-GCM, and those with other ciphers. */
const MAX_DUE = 256;

export class TunnelHeader {
  /** The SA's template: bytes of it, its words as they lie in memory, and their sum. */
  length = 0;
  readonly words = offHeapInt32(12);
  sum = 0;
  /** What of the inner TOS byte and of its DF flag the outer header takes over, as masks. */
  tosMask = 0;
  dfMask = 0;
  private readonly view: DataView;
  private readonly lanes: Lanes;
  private readonly slots: Uint32Array;
  private readonly atomics: Int32Array;
  /**
   * Packets of the batch whose UDP checksum is due once they are encrypted (UDP over IPv6, RFC 8200 §8.1): where the IP
   * header and the UDP header begin.
   */
  private readonly dueIp = new Int32Array(MAX_DUE);
  private readonly dueUdp = new Int32Array(MAX_DUE);
  private dueCount = 0;

  constructor(frames: Frames, sad: Sad) {
    this.view = frames.view;
    this.lanes = frames.lanes;
    this.slots = sad.words;
    this.atomics = sad.atomics;
  }

  /** The packets that follow belong to the SA in the slot at word `slot`, which has these flags. */
  open(slot: number, flags: number): void {
    const { slots, atomics, words } = this;
    this.tosMask = ((flags & COPY_DSCP) !== 0 ? 0xfc : 0) | ((flags & COPY_ECN) !== 0 ? 3 : 0);
    this.dfMask = (flags & COPY_DF) !== 0 ? DF : 0;
    // The end points may move while this reads them: the sequence lock says so, and it reads again.
    let version = 0;
    do {
      version = Atomics.load(atomics, slot + VERSION);
      const length = slots[slot + OUTER_LENGTH] | 0;
      this.length = length;
      this.sum = swapHalf(~checksumOf(slots[slot + OUTER_SUM] | 0) & 0xffff);
      for (let i = 0; i < length >>> 2; i++) words[i] = slots[slot + OUTER + i];
    } while ((version & 1) !== 0 || version !== Atomics.load(atomics, slot + VERSION));
  }

  /** 20 or 28 bytes are IPv4, 40 or 48 IPv6, without and with UDP. */
  get isIpv4(): boolean {
    return this.length < IPV6_HEADER;
  }

  /** The outer TOS byte for an inner packet with this first word, as it lies in memory. */
  tos(first: number): number {
    const isIpv4 = (first & 0xf0) === 0x40;
    return (isIpv4 ? first >>> 8 : (first << 4) | ((first >>> 12) & 15)) & this.tosMask;
  }

  /**
   * The outer DF flag for an inner packet with these first words, as they and it lie in memory. IPv6 packets must not be
   * fragmented on the way, so the outer header says so for them (RFC 4301 §8.1).
   */
  df(first: number, second: number): number {
    return ((first & 0xf0) === 0x40 ? second >>> 16 : DF) & this.dfMask;
  }

  /**
   * Writes the header in front of `length` bytes of ESP that begin at `esp`.
   * @param first, second the inner packet's first words, as they lie in memory, as does `low`, half of the sequence number
   * @returns where the header begins
   */
  put(esp: number, length: number, first: number, second: number, low: number): number {
    const start = (esp - this.length) | 0;
    const total = (this.length + length) | 0;
    const tos = this.tos(first);
    if (this.isIpv4) this.putIpv4(start, total, tos, this.df(first, second), low);
    else this.putIpv6(start, total, tos);
    return start;
  }

  private putIpv4(start: number, total: number, tos: number, df: number, low: number): void {
    const { words } = this;
    const { at0, at1, at2, at3, at4, at5, at6 } = this.lanes;
    const word = start >> 2;
    const length = swapHalf(total);
    // With DF set the identification means nothing (RFC 6864 §4.1); without, it should not repeat soon.
    const id = df === 0 ? low >>> 16 : 0;
    at0[word] = words[0] | (tos << 8) | (length << 16);
    at1[word] = id | (df << 16);
    at2[word] = words[2] | (checksumOf((this.sum + (tos << 8) + length + id + df) | 0) << 16);
    at3[word] = words[3];
    at4[word] = words[4];
    if (this.length === IPV4_HEADER) return;
    at5[word] = words[5];
    // UDP over IPv4 goes without a checksum (RFC 3948 §2.2).
    at6[word] = swapHalf(total - IPV4_HEADER);
  }

  private putIpv6(start: number, total: number, tos: number): void {
    const { words } = this;
    const packets = this.lanes.at0;
    const word = start >> 2;
    packets[word] = words[0] | (tos >>> 4) | ((tos & 15) << 12);
    packets[word + 1] = words[1] | swapHalf(total - IPV6_HEADER);
    for (let i = 2; i < IPV6_HEADER >>> 2; i++) packets[word + i] = words[i];
    if (this.length === IPV6_HEADER) return;
    packets[word + 10] = words[10];
    packets[word + 11] = swapHalf(total - IPV6_HEADER);
    this.oweChecksum(start, start + IPV6_HEADER);
  }

  /** Notes a packet whose UDP checksum is to be worked out when the batch is encrypted. */
  oweChecksum(ip: number, udp: number): void {
    this.dueIp[this.dueCount] = ip;
    this.dueUdp[this.dueCount] = udp;
    this.dueCount++;
  }

  /** The batch is encrypted. UDP over IPv6 must carry a checksum; over IPv4 it is 0 (RFC 3948 §2.2). */
  payChecksums(): void {
    const { view, dueIp, dueUdp } = this;
    for (let i = 0; i < this.dueCount; i++) {
      const udp = dueUdp[i];
      const length = view.getUint16(udp + 4);
      view.setUint16(udp + 6, 0);
      const pseudo = sum(view, dueIp[i] + 8, 32, length + UDP);
      const checksum = foldSum(sum(view, udp, length, pseudo));
      view.setUint16(udp + 6, checksum === 0 ? 0xffff : checksum);
    }
    this.dueCount = 0;
  }
}
