// ESP in transport mode, outbound (RFC 4303 §3.1.1): the packet keeps its IP header, and ESP goes between that and what
// it carries. The payload stays where it is, the header moves to the front.
//
//   IPv4 header | (UDP) | SPI sequence | IV | payload … | padding 1 2 3 … | pad length, next header | ICV
//   IPv6 header, hop-by-hop, routing | (UDP) | SPI … | destination options, payload … | …
//
// Encapsulate (encapsulate.ts) works off the batches and calls this for the packets of SAs in transport mode. Only whole
// packets from and to the very end points of the SA are protected (RFC 4303 §3.3.4).

import type { Frames } from "../memory/frames.js";
import { swap32 } from "../net/byte-order.js";
import { fold, sum16 } from "../net/checksum.js";
import type { AeadBatch } from "./aead.js";
import { AEAD_HEADER, AEAD_ICV_BYTES, frameAead } from "./esp-format.js";
import type { OtherEncryption } from "./other-ciphers.js";
import type { Sad } from "./sad.js";
import { saSlot } from "./sad-layout.js";

/** Why a packet cannot be protected in transport mode. */
export const TransportRefusal = { none: 0, fragment: 1, address: 2 } as const;

// What the data path uses of other modules has a name here: see encapsulate.ts.
const { none: NONE, fragment: FRAGMENT, address: ADDRESS } = TransportRefusal;
const sum = sum16;
const foldSum = fold;
const swapWord = swap32;
const SRC = saSlot.at.src;
const DST = saSlot.at.dst;

// Of AES-GCM.
const HEADER = AEAD_HEADER;
const ICV = AEAD_ICV_BYTES;
const frameForGcm = frameAead;
const ESP = 50;
const UDP = 17;
const IPV6_HEADER = 40;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT_HEADER = 44;
const DESTINATION_OPTIONS = 60;

/** What is the same for the packets of a run: the SA's fields, as encapsulate.ts has read them. */
export interface TransportSa {
  /** AES-GCM; else it is the one that OtherEncryption has opened. */
  isGcm: boolean;
  spi: number;
  /** 0, or 8 for ESP in UDP; its ports as they lie in memory. */
  udpLength: number;
  udpPorts: number;
}

export class TransportEncapsulate {
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly slots: DataView;
  private readonly gcm: AeadBatch;
  private readonly others: OtherEncryption;

  // The packet that was looked at last: where the field stands that names its payload's protocol, and where that begins.
  private field = 0;
  private payload = 0;
  /** Bytes of the IP header, extension headers included, of the packet that was framed last. */
  headerLength = 0;

  constructor(frames: Frames, sad: Sad, gcm: AeadBatch, others: OtherEncryption) {
    this.frames = frames;
    this.view = frames.view;
    this.slots = sad.view;
    this.gcm = gcm;
    this.others = others;
  }

  /** @returns a TransportRefusal: none, or why the packet cannot be protected by the SA whose slot is at `offset` */
  refuse(frame: number, offset: number): number {
    const ip = this.frames.offset[frame];
    const { view } = this;
    if (view.getUint8(ip) >>> 4 === 4) {
      if ((view.getUint16(ip + 6) & 0x3fff) !== 0) return FRAGMENT;
      return this.isBetween(ip + 12, 4, offset) ? NONE : ADDRESS;
    }
    const reason = this.findPayload6(ip);
    if (reason !== NONE) return reason;
    return this.isBetween(ip + 8, 16, offset) ? NONE : ADDRESS;
  }

  /** Are the source address at `at` and the destination behind it the SA's end points? */
  private isBetween(at: number, length: number, offset: number): boolean {
    const { view, slots } = this;
    // The slot has IPv4 addresses in the first four of sixteen bytes. Those of an IPv6 SA would not match both.
    for (let i = 0; i < length; i += 4) {
      if (view.getInt32(at + i) !== slots.getInt32(offset + SRC + i)) return false;
      if (view.getInt32(at + length + i) !== slots.getInt32(offset + DST + i)) return false;
    }
    return true;
  }

  /**
   * Finds where ESP goes in an IPv6 packet: behind the headers that routers on the way look at (RFC 8200 §4.1). Destination
   * options are for the last receiver, and are protected, unless a routing header follows them. The policy decision has
   * walked the headers before, and none of them runs beyond the packet.
   */
  private findPayload6(ip: number): number {
    const { view } = this;
    this.field = ip + 6;
    this.payload = ip + IPV6_HEADER;
    let field = this.field;
    let at = this.payload;
    for (let next = view.getUint8(field); ; next = view.getUint8(field)) {
      if (next === FRAGMENT_HEADER) return FRAGMENT;
      if (next !== HOP_BY_HOP && next !== ROUTING && next !== DESTINATION_OPTIONS) return NONE;
      field = at;
      at += (view.getUint8(at + 1) + 1) << 3;
      if (next === DESTINATION_OPTIONS) continue;
      this.field = field;
      this.payload = at;
    }
  }

  /**
   * Frames one packet, which `refuse` had nothing against, and sets it up for encryption, with AES-GCM as number `i` of the
   * batch.
   * @returns bytes of the packet as it was
   */
  packet(i: number, frame: number, high: number, low: number, sa: TransportSa): number {
    const { view, frames } = this;
    const ip = frames.offset[frame];
    const length = frames.length[frame];
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    if (isIpv4) {
      this.field = ip + 9;
      this.payload = ip + ((view.getUint8(ip) & 15) << 2);
    } else this.findPayload6(ip);
    const { payload } = this;
    const { others } = this;
    const { isGcm, udpLength } = sa;
    const esp = payload - (isGcm ? HEADER : others.headerLength);
    const start = ip - (payload - esp) - udpLength;
    const carried = ip + length - payload;
    const nextHeader = view.getUint8(this.field);
    view.setUint8(this.field, udpLength === 0 ? ESP : UDP);
    frames.bytes.copyWithin(start, ip, payload);
    let end = payload;
    if (isGcm) {
      const text = frameForGcm(view, payload, carried, nextHeader, sa.spi, high, low);
      this.gcm.encrypt(i, swapWord(low), payload, text);
      end += text + ICV;
    } else end += others.frame(payload, carried, nextHeader, high, low) + others.icvLength;

    const total = end - start;
    this.headerLength = payload - ip;
    frames.offset[frame] = start;
    frames.length[frame] = total;
    if (udpLength !== 0) {
      const udp = esp - udpLength;
      view.setInt32(udp, sa.udpPorts, true);
      // Over IPv4 without a checksum (RFC 3948 §2.2); over IPv6 it comes when the packet is encrypted.
      view.setInt32(udp + 4, (start + total - udp) << 16);
    }
    if (isIpv4) {
      view.setUint16(start + 2, total);
      view.setUint16(start + 10, 0);
      view.setUint16(start + 10, foldSum(sum(view, start, payload - ip, 0)));
    } else view.setUint16(start + 4, total - IPV6_HEADER);
    return length;
  }
}
