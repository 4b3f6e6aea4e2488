// ARP on a link that Vita owns (RFC 826): answers requests for its own addresses, tells the neighbour cache what others
// say about themselves, and asks for neighbours. Somebody else who claims an address of ours is a conflict (RFC 5227
// §2.4): it is logged, and the address is defended by an announcement, which the rate of ARP limits like all else.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { IpAddress } from "../net/address.js";
import { ARP_REPLY, arpAt, isArp, turnIntoArpReply, writeArpRequest } from "../net/arp.js";
import { ETHERNET_HEADER } from "../net/ethernet.js";
import type { Neighbours } from "./neighbours.js";
import type { Station } from "./station.js";
import { TokenBucket } from "./token-bucket.js";

export const arpCounters = {
  requests: "ARP requests for an address of this interface, which were answered",
  replies: "ARP replies to this interface",
  others: "ARP between others, and announcements",
  conflicts: "packets in which somebody else claims an address of this interface, or is about to",
  "drop.malformed": "not ARP for IPv4 over Ethernet, or cut off",
  "drop.rate": "more ARP packets than are looked at in a second",
} as const;

const COUNT = counterIndex(arpCounters);

/** Packets a second, and at once. */
const RATE = 2000;

const NOBODY = new Uint8Array(4);

/** What the apps of one owned link have in common. */
export interface LinkParts {
  readonly station: Station;
  readonly neighbours: Neighbours;
  /** To the port: Ethernet frames. */
  readonly output: Link;
  /** Somebody else claims `address`. */
  onConflict(address: IpAddress, mac: Uint8Array): void;
}

export class Arp {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly bucket = new TokenBucket(RATE, RATE);

  constructor(
    context: AppContext,
    private readonly parts: LinkParts,
  ) {
    this.counters = context.counters("arp", arpCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.bytes = context.frames.bytes;
  }

  private end(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  /** Takes an Ethernet frame with ARP in it, and owns it. */
  handle(frame: number): void {
    const { view, bytes, frames } = this;
    const { station, neighbours } = this.parts;
    const ethernet = frames.offset[frame];
    const arp = ethernet + ETHERNET_HEADER;
    if (!this.bucket.take()) return this.end(frame, COUNT["drop.rate"]);
    if (!isArp(view, bytes, arp, frames.length[frame] - ETHERNET_HEADER))
      return this.end(frame, COUNT["drop.malformed"]);
    // What we said ourselves, and a switch gave back.
    if (station.isMac(bytes, arp + arpAt.senderMac)) return this.end(frame, COUNT.others);
    if (station.has4(view, arp + arpAt.sender)) {
      this.conflict(arp, arpAt.sender);
      return frames.free(frame);
    }
    const isForUs = station.has4(view, arp + arpAt.target);
    const isReply = view.getUint16(arp + arpAt.operation) === ARP_REPLY;
    // An announcement, or a broadcast reply, says who, but nobody asked: a neighbour that is in use takes it over.
    const answers = isReply && isForUs && station.isMac(bytes, ethernet);
    neighbours.heard4(view, bytes, arp + arpAt.sender, arp + arpAt.senderMac, answers);
    if (isReply || !isForUs) return this.end(frame, answers ? COUNT.replies : COUNT.others);
    // Somebody is about to take the address (RFC 5227 §2.1.1): the answer tells him that it is taken.
    if (view.getUint32(arp + arpAt.sender) === 0) this.conflict(arp, arpAt.target);
    this.counters[COUNT.requests]++;
    frames.length[frame] = turnIntoArpReply(view, bytes, ethernet, station.mac);
    this.parts.output.transmit(frame);
  }

  /** @param at where the address in question stands */
  private conflict(arp: number, at: number): void {
    const { bytes } = this;
    this.counters[COUNT.conflicts]++;
    const mac = bytes.slice(arp + arpAt.senderMac, arp + arpAt.senderMac + 6);
    this.parts.onConflict(bytes.slice(arp + at, arp + at + 4), mac);
  }

  /** Asks who has `target`: everybody, or the one that had it. */
  solicit(target: IpAddress, station: Uint8Array | undefined): void {
    this.request(this.parts.station.sourceFor(target) ?? NOBODY, target, station);
  }

  /** Does anybody else have this address? (RFC 5227 §2.1.1) */
  probe(address: IpAddress): void {
    this.request(NOBODY, address, undefined);
  }

  /** Tells everybody that this address is here (RFC 5227 §2.3). */
  announce(address: IpAddress): void {
    this.request(address, address, undefined);
  }

  private request(sender: IpAddress, target: IpAddress, station: Uint8Array | undefined): void {
    const { frames, view, bytes, parts } = this;
    const frame = frames.allocate();
    if (frame === NONE) return;
    const at = frames.offset[frame];
    frames.length[frame] = writeArpRequest(view, bytes, at, parts.station.mac, sender, target, station);
    parts.output.transmit(frame);
  }

  tick(milliseconds: number): void {
    this.bucket.refill(milliseconds);
  }
}
