// Errors that a router owes to the sender of a packet: time exceeded, and packet too big, without which TCP through a
// tunnel stalls (RFC 792, RFC 1191, RFC 4443). The frame of the packet becomes the frame of the error: its beginning stays
// where it is and new headers are written in front of it.
//
// Nobody is told about errors themselves, later fragments, or packets without one sender or one receiver (RFC 1122 §3.2.2,
// RFC 4443 §2.4), and no more than `RATE` errors go out a second.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { FRAME_SHIFT, type Frames, NONE } from "../memory/frames.js";
import type { IpAddress } from "../net/address.js";
import { fold, pseudoHeader6, sum16 } from "../net/checksum.js";
import { TokenBucket } from "./token-bucket.js";

export const icmpErrorCounters = {
  time_exceeded: "ICMP time exceeded sent",
  too_big: "ICMP fragmentation needed or packet too big sent",
  "drop.silent": "an error that must not be sent: about an error, a fragment, a multicast",
  "drop.rate": "more errors than may be sent in a second",
  "drop.no_address": "no address of the packet's family to send the error from",
} as const;

const COUNT = counterIndex(icmpErrorCounters);

/** Errors a second, and how many may come at once. */
const RATE = 1000;
const BURST = 100;

const ICMP = 1;
const ICMPV6 = 58;
/** The error may quote so much that it stays within what every link carries (RFC 1812 §4.3.2.3, RFC 4443 §2.4). */
const MAX_IPV4 = 576;
const MAX_IPV6 = 1280;

/** Who knows the addresses of this machine: the FIB. */
export interface Addresses {
  /** The one from which errors about packets with this `frames.port` come. */
  localAddress(port: number, family: 4 | 6): IpAddress | undefined;
}

export class IcmpErrors {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly addresses: Addresses;
  private readonly output: Link;
  private readonly bucket = new TokenBucket(RATE, BURST);

  /** @param output where the errors go: IP packets that have yet to be routed */
  constructor(context: AppContext, addresses: Addresses, output: Link) {
    this.counters = context.counters("icmp-errors", icmpErrorCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.addresses = addresses;
    this.output = output;
  }

  /** Lets more errors out; to be called now and then. */
  refill(milliseconds: number): void {
    this.bucket.refill(milliseconds);
  }

  /** Turns the packet, whose TTL is used up, into the error. Owns the frame. */
  timeExceeded(frame: number): void {
    const isIpv4 = this.view.getUint8(this.frames.offset[frame]) >>> 4 === 4;
    this.send(frame, COUNT.time_exceeded, isIpv4, isIpv4 ? 11 : 3, 0, 0);
  }

  /** Turns the packet, which is longer than `mtu` bytes, into the error. Owns the frame. */
  tooBig(frame: number, mtu: number): void {
    const isIpv4 = this.view.getUint8(this.frames.offset[frame]) >>> 4 === 4;
    this.send(frame, COUNT.too_big, isIpv4, isIpv4 ? 3 : 2, isIpv4 ? 4 : 0, mtu);
  }

  private drop(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  /** @param rest second word of the ICMP header */
  private send(
    frame: number,
    counter: number,
    isIpv4: boolean,
    type: number,
    code: number,
    rest: number,
  ): void {
    const ip = this.frames.offset[frame];
    const headroom = ip - (frame << FRAME_SHIFT);
    if (headroom < 64 || (isIpv4 ? this.silent4(ip) : this.silent6(ip)))
      return this.drop(frame, COUNT["drop.silent"]);
    if (this.bucket.isEmpty) return this.drop(frame, COUNT["drop.rate"]);
    const source = this.addresses.localAddress(this.frames.port[frame], isIpv4 ? 4 : 6);
    if (!source) return this.drop(frame, COUNT["drop.no_address"]);
    this.bucket.take();
    this.counters[counter]++;
    // The error goes where the packet came from, and belongs to no SA yet.
    this.frames.sa[frame] = NONE;
    if (isIpv4) this.write4(frame, source, type, code, rest);
    else this.write6(frame, source, type, code, rest);
    this.output.transmit(frame);
  }

  private silent4(ip: number): boolean {
    const view = this.view;
    const header = (view.getUint8(ip) & 15) << 2;
    if ((view.getUint16(ip + 6) & 0x1fff) !== 0) return true;
    const source = view.getUint8(ip + 12);
    const destination = view.getUint8(ip + 16);
    if (source === 0 || source === 127 || source >= 224 || destination >= 224) return true;
    if (view.getUint8(ip + 9) !== ICMP) return false;
    const type = view.getUint8(ip + header);
    return type !== 0 && type !== 8 && type < 13;
  }

  private silent6(ip: number): boolean {
    const view = this.view;
    const source = view.getUint8(ip + 8);
    if (source === 0xff || view.getUint8(ip + 24) === 0xff) return true;
    if (source === 0 && sum16(view, ip + 8, 16, 0) === 0) return true;
    return view.getUint8(ip + 6) === ICMPV6 && view.getUint8(ip + 40) < 128;
  }

  private write4(frame: number, source: Uint8Array, type: number, code: number, rest: number): void {
    const frames = this.frames;
    const view = this.view;
    const quoted = frames.offset[frame];
    const start = quoted - 28;
    const quotedLength = Math.min(frames.length[frame], MAX_IPV4 - 28);
    const total = quotedLength + 28;
    view.setUint32(start, (0x45c00000 | total) >>> 0);
    view.setUint32(start + 4, 0);
    view.setUint32(start + 8, (64 << 24) | (ICMP << 16));
    frames.bytes.set(source, start + 12);
    view.setUint32(start + 16, view.getUint32(quoted + 12));
    view.setUint16(start + 10, fold(sum16(view, start, 20, 0)));
    view.setUint32(start + 20, (type << 24) | (code << 16));
    view.setUint32(start + 24, rest);
    view.setUint16(start + 22, fold(sum16(view, start + 20, 8 + quotedLength, 0)));
    frames.offset[frame] = start;
    frames.length[frame] = total;
  }

  private write6(frame: number, source: Uint8Array, type: number, code: number, rest: number): void {
    const frames = this.frames;
    const view = this.view;
    const quoted = frames.offset[frame];
    const start = quoted - 48;
    const quotedLength = Math.min(frames.length[frame], MAX_IPV6 - 48);
    view.setUint32(start, 0x60000000);
    view.setUint16(start + 4, 8 + quotedLength);
    view.setUint16(start + 6, (ICMPV6 << 8) | 64);
    frames.bytes.set(source, start + 8);
    frames.bytes.copyWithin(start + 24, quoted + 8, quoted + 24);
    view.setUint32(start + 40, (type << 24) | (code << 16));
    view.setUint32(start + 44, rest);
    view.setUint16(
      start + 42,
      fold(sum16(view, start + 40, 8 + quotedLength, pseudoHeader6(view, start, ICMPV6, 8 + quotedLength))),
    );
    frames.offset[frame] = start;
    frames.length[frame] = 48 + quotedLength;
  }
}
