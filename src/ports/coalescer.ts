// Coalescing: what the segmenter does, backwards. Of the packets that are to be written, those that are consecutive
// segments of one flow become one train, which the kernel takes in one piece of up to 64 KiB (GSO), with one header:
//
//   [headers 1 | payload 1]  [headers 2 | payload 2]  …  →  [virtio header | headers | payload 1 | payload 2 | …]
//
// Nothing is copied but the headers, of which a train has its own: its packets stay as they are, and can still be written one
// by one. What may be joined is what the kernel joins itself (net/ipv4/tcp_offload.c, GRO): the receiver could cut the train
// again and get the same packets. So both checksums must be right, because the train gets one that says so.
//
// ESP in UDP may be joined too, on its way out of a public port (RFC 3948): it has no checksum and needs none, because ESP has
// its own, and the one that its train gets does no harm (§2.1). Of one SA in a batch most packets are as long as the next.
//
// Order is kept: a packet never overtakes one of its flow, nor one that belongs to no flow.

import type { Frames } from "../memory/frames.js";
import { pseudoHeader4, pseudoHeader6, sumPayload } from "../net/checksum.js";
import { isChecksumRight } from "../net/ipv4.js";
import { copyHeaders, writeVirtioHeader } from "./train-header.js";
import { VIRTIO_BYTES } from "./virtio-header.js";

// Names of this module's own, which V8 compiles in.
const pseudo4 = pseudoHeader4;
const pseudo6 = pseudoHeader6;
const sumBytes = sumPayload;
const isHeaderRight = isChecksumRight;
const copyHeader = copyHeaders;
const describeTrain = writeVirtioHeader;
const HEADER = VIRTIO_BYTES;

/** Packets that are looked at together. */
const BATCH = 128;
export const COALESCE_BATCH = BATCH;
/** Datagrams that kernels take in one piece (UDP_MAX_SEGMENTS was 64 before Linux 6.6). */
const MOST_DATAGRAMS = 64;
/** Bytes of IP packet. */
const LARGEST = 65_535;
const SLOTS = 256;

const TCP = 6;
const UDP = 17;
const NAT_TRAVERSAL = 4500;
// In the 32-bit word of the TCP header that has data offset, flags and window.
const FIN = 0x0001_0000;
const PSH = 0x0008_0000;
const CWR = 0x0080_0000;
const ACK = 0x0010_0000;
/** SYN, RST, URG. */
const ALONE = 0x0026_0000;
const MAY_DIFFER = ~(FIN | PSH | CWR);
const DF = 0x4000;

// What a packet is to the coalescer.
/** It belongs to no flow; nothing may overtake it. */
const NO_FLOW = 0;
/** It belongs to a flow, and stays alone. */
const IN_FLOW = 1;
const JOINABLE = 2;

export class Coalescer {
  /** Trains of this batch, in the order in which they are to be written. */
  trains = 0;
  /** By train: its first packet, and how many there are. */
  readonly first = new Int32Array(BATCH);
  readonly count = new Int32Array(BATCH);
  /** By train: bytes of link, IP and transport header in front of the payload; known for trains of several. */
  readonly header = new Int32Array(BATCH);
  /** By frame: the packet that follows in its train. */
  readonly following: Int32Array;

  private readonly view: DataView;
  private readonly offset: Int32Array;
  private readonly length: Int32Array;
  private readonly link: number;
  private readonly joinsUdp: boolean;
  private readonly joinsEsp: boolean;

  // By train: what its next packet must look like.
  private readonly last = new Int32Array(BATCH);
  private readonly isOpen = new Uint8Array(BATCH);
  private readonly isChecked = new Uint8Array(BATCH);
  private readonly hasEsp = new Uint8Array(BATCH);
  /** Bytes of payload in each packet but the last, and of IP packet in all. */
  private readonly size = new Int32Array(BATCH);
  private readonly total = new Int32Array(BATCH);
  private readonly sequence = new Int32Array(BATCH);
  /** FIN and PSH, of any of its packets. */
  private readonly flags = new Int32Array(BATCH);
  /** IPv4 identification: how much more it is in each packet. */
  private readonly step = new Uint8Array(BATCH);
  /** The last train of each flow, by hash. Trains before `open` are closed. */
  private readonly slots = new Int16Array(SLOTS).fill(-1);
  private open = 0;

  // The packet at hand.
  private ip = 0;
  private isIpv4 = false;
  private isTcp = false;
  private isEsp = false;
  private transport = 0;
  private payload = 0;
  private end = 0;

  /**
   * @param link bytes of link header in front of the IP header
   * @param joinsUdp whether the kernel takes trains of datagrams
   * @param joinsEsp whether ESP in UDP that goes out from here is joined as well
   */
  constructor(frames: Frames, link: number, joinsUdp: boolean, joinsEsp = false) {
    this.view = frames.view;
    this.offset = frames.offset;
    this.length = frames.length;
    this.following = new Int32Array(frames.capacity);
    this.link = link;
    this.joinsUdp = joinsUdp;
    this.joinsEsp = joinsEsp;
  }

  /** Forgets the trains. */
  clear(): void {
    this.trains = 0;
    this.open = 0;
    this.slots.fill(-1);
  }

  /** Takes a packet in: it joins a train, or begins one. At most COALESCE_BATCH between two calls of `clear`. */
  add(frame: number): void {
    const kind = this.parse(frame);
    if (kind === NO_FLOW) {
      this.begin(frame);
      this.open = this.trains;
      return;
    }
    const { slots } = this;
    const hash = this.hash();
    const train = slots[hash];
    if (kind === JOINABLE && train >= this.open && this.isOpen[train] !== 0 && this.fits(train)) {
      this.join(frame, train);
      return;
    }
    slots[hash] = this.trains;
    this.begin(frame);
    if (kind === JOINABLE) this.describe(this.trains - 1);
  }

  /** Where the flow of the packet at hand has its slot. */
  private hash(): number {
    const { view, ip, transport } = this;
    const source = ip + (this.isIpv4 ? 12 : 20);
    let hash = Math.imul(view.getInt32(transport), 0x9e3779b1);
    hash = Math.imul(hash ^ view.getInt32(source), 0x85ebca6b);
    hash ^= hash >>> 15;
    // IPv4's destination, or the end of IPv6's, of which the beginning tells networks apart.
    hash = Math.imul(hash ^ view.getInt32(transport - 4), 0xc2b2ae35);
    if (!this.isIpv4) hash = Math.imul(hash ^ view.getInt32(ip + 24) ^ view.getInt32(ip + 28), 0x27d4eb2f);
    return hash >>> 24;
  }

  /** Begins a train which nothing can join yet. */
  private begin(frame: number): void {
    const train = this.trains++;
    this.first[train] = frame;
    this.last[train] = frame;
    this.count[train] = 1;
    this.isOpen[train] = 0;
  }

  /** Looks at a packet, and leaves what it finds in the fields for the packet at hand. */
  private parse(frame: number): number {
    const { view } = this;
    const ip = this.offset[frame] + this.link;
    const end = this.offset[frame] + this.length[frame];
    if (end - ip < 28) return NO_FLOW;
    const first = view.getInt32(ip);
    let protocol = 0;
    let transport = 0;
    // Without options, and whole: but for those packets GRO does nothing either.
    if (first >>> 24 === 0x45) {
      if ((first & 0xffff) !== end - ip || (view.getUint16(ip + 6) & ~DF) !== 0) return NO_FLOW;
      protocol = view.getUint8(ip + 9);
      transport = ip + 20;
      this.isIpv4 = true;
    } else if (first >>> 28 === 6) {
      if (end - ip < 48 || 40 + view.getUint16(ip + 4) !== end - ip) return NO_FLOW;
      protocol = view.getUint8(ip + 6);
      transport = ip + 40;
      this.isIpv4 = false;
    } else return NO_FLOW;
    this.ip = ip;
    this.end = end;
    this.transport = transport;
    this.isEsp = false;
    if (protocol === TCP) {
      if (transport + 20 > end) return NO_FLOW;
      this.isTcp = true;
      const word = view.getInt32(transport + 12);
      const header = (word >>> 28) << 2;
      this.payload = transport + header;
      if (header < 20 || this.payload > end) return NO_FLOW;
      return (word & (ALONE | ACK)) === ACK && this.payload < end ? JOINABLE : IN_FLOW;
    }
    if (protocol !== UDP) return NO_FLOW;
    this.isTcp = false;
    this.payload = transport + 8;
    const isWhole = view.getUint16(transport + 4) === end - transport && this.payload < end;
    // No checksum at all: the train would get one.
    const mayJoin = view.getUint16(transport + 6) !== 0 || this.isEspInUdp(transport, end);
    return this.joinsUdp && isWhole && mayJoin ? JOINABLE : IN_FLOW;
  }

  /** ESP from port 4500, neither a keepalive nor IKE, without a checksum. */
  private isEspInUdp(transport: number, end: number): boolean {
    const { view } = this;
    this.isEsp =
      this.joinsEsp &&
      view.getUint16(transport) === NAT_TRAVERSAL &&
      transport + 12 <= end &&
      view.getInt32(transport + 8) !== 0;
    return this.isEsp;
  }

  /** Notes what a packet must look like to join the train that the one at hand begins. */
  private describe(train: number): void {
    const { view, transport, payload, end } = this;
    const size = end - payload;
    this.isChecked[train] = 0;
    this.hasEsp[train] = this.isEsp ? 1 : 0;
    this.size[train] = size;
    this.total[train] = end - this.ip;
    this.header[train] = payload - this.ip + this.link;
    this.flags[train] = 0;
    this.isOpen[train] = 1;
    if (this.isTcp) {
      this.sequence[train] = (view.getInt32(transport + 4) + size) | 0;
      const flags = view.getInt32(transport + 12) & (FIN | PSH);
      this.flags[train] = flags;
      if (flags !== 0) this.isOpen[train] = 0;
    }
  }

  /** Whether the packet at hand is the next one of a train. */
  private fits(train: number): boolean {
    const { view, ip, transport, payload, end, isTcp } = this;
    const first = this.offset[this.first[train]] + this.link;
    const size = end - payload;
    if (size > this.size[train] || this.total[train] + size > LARGEST) return false;
    if (!isTcp && this.count[train] === MOST_DATAGRAMS) return false;
    if (payload - ip + this.link !== this.header[train]) return false;
    if (this.link > 0 && !this.sameLink(first)) return false;
    if (this.isIpv4 ? !this.sameIpv4(first, train) : !this.sameIpv6(first)) return false;
    const other = first + transport - ip;
    if (view.getInt32(transport) !== view.getInt32(other)) return false;
    if (isTcp) {
      if (view.getInt32(transport + 4) !== this.sequence[train]) return false;
      if (view.getInt32(transport + 8) !== view.getInt32(other + 8)) return false;
      const word = view.getInt32(transport + 12);
      if (((word ^ view.getInt32(other + 12)) & MAY_DIFFER) !== 0 || (word & CWR) !== 0) return false;
      for (let i = 20; transport + i < payload; i += 4)
        if (view.getInt32(transport + i) !== view.getInt32(other + i)) return false;
    }
    // IKE must not share a train with ESP: whoever takes the one from the wire does not take the other.
    if (this.isEsp !== (this.hasEsp[train] !== 0)) return false;
    if (this.isEsp) return true;
    if (this.isChecked[train] === 0) {
      this.isChecked[train] = 1;
      if (!this.isRight(first, other, this.offset[this.first[train]] + this.length[this.first[train]])) {
        this.isOpen[train] = 0;
        return false;
      }
    }
    return this.isRight(ip, transport, end);
  }

  /** Ethernet addresses and type. */
  private sameLink(first: number): boolean {
    const { view, ip, link } = this;
    for (let i = 2; i <= link; i += 2) if (view.getUint16(ip - i) !== view.getUint16(first - i)) return false;
    return true;
  }

  private sameIpv4(first: number, train: number): boolean {
    const { view, ip } = this;
    // Version and type of service; flags; TTL and protocol; addresses.
    if (view.getUint16(ip) !== view.getUint16(first)) return false;
    if (((view.getInt32(ip + 8) ^ view.getInt32(first + 8)) & ~0xffff) !== 0) return false;
    if (view.getInt32(ip + 12) !== view.getInt32(first + 12)) return false;
    if (view.getInt32(ip + 16) !== view.getInt32(first + 16)) return false;
    const word = view.getInt32(ip + 4);
    const firstWord = view.getInt32(first + 4);
    if (((word ^ firstWord) & 0xffff) !== 0) return false;
    // Where fragmentation is forbidden the identification means nothing, and may stay the same (RFC 6864 §4.1).
    const count = this.count[train];
    const ahead = ((word >>> 16) - (firstWord >>> 16)) & 0xffff;
    if (count === 1) this.step[train] = ahead === 0 && (word & DF) !== 0 ? 0 : 1;
    return ahead === Math.imul(this.step[train], count);
  }

  private sameIpv6(first: number): boolean {
    const { view, ip } = this;
    // Version, traffic class and flow label; next header and hop limit; addresses.
    if (view.getInt32(ip) !== view.getInt32(first)) return false;
    if (view.getUint16(ip + 6) !== view.getUint16(first + 6)) return false;
    for (let i = 8; i < 40; i += 4) if (view.getInt32(ip + i) !== view.getInt32(first + i)) return false;
    return true;
  }

  /** Whether a packet's checksums are right. */
  private isRight(ip: number, transport: number, end: number): boolean {
    const { view } = this;
    if (this.isIpv4 && !isHeaderRight(view, ip, 20)) return false;
    const covered = end - transport;
    const protocol = this.isTcp ? TCP : UDP;
    const pseudo = this.isIpv4 ? pseudo4(view, ip, protocol, covered) : pseudo6(view, ip, protocol, covered);
    const sum = pseudo + sumBytes(view, transport, covered);
    const once = (sum & 0xffff) + (sum >>> 16);
    return (once & 0xffff) + (once >>> 16) === 0xffff;
  }

  private join(frame: number, train: number): void {
    const size = this.end - this.payload;
    this.following[this.last[train]] = frame;
    this.last[train] = frame;
    this.count[train]++;
    this.total[train] += size;
    this.sequence[train] = (this.sequence[train] + size) | 0;
    const flags = this.isTcp ? this.view.getInt32(this.transport + 12) & (FIN | PSH) : 0;
    this.flags[train] |= flags;
    if (flags !== 0 || size < this.size[train]) this.isOpen[train] = 0;
  }

  /**
   * Writes virtio header, link header, IP and transport header of a train of several packets to `to`, a place in the frames'
   * region with room for TRAIN_HEADER bytes.
   * @returns how many bytes these are
   */
  writeHeader(train: number, to: number): number {
    const { view, link } = this;
    const packet = this.offset[this.first[train]];
    const header = this.header[train];
    copyHeader(view, packet, to, link, header, this.total[train]);
    describeTrain(view, to, link, header, this.size[train], this.flags[train]);
    return HEADER + header;
  }
}
