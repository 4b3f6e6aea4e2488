// Neighbour discovery on a link that Vita owns (RFC 4861): answers solicitations for its own addresses, tells the
// neighbour cache what others say about themselves, and asks for neighbours. Duplicate addresses (RFC 4862 §5.4) are
// noticed and logged, and go on being used: an operator has configured them. Router advertisements and redirects are not
// listened to: the gateway stands in the configuration.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { IpAddress } from "../net/address.js";
import { ETHERNET_HEADER } from "../net/ethernet.js";
import {
  isNeighbourMessage,
  isUnspecified,
  ND_OVERRIDE,
  ND_SOLICITATION,
  ND_SOLICITED,
  ND_SOURCE_OPTION,
  ND_TARGET,
  ND_TARGET_OPTION,
  stationOption,
  writeAdvertisement,
  writeSolicitation,
} from "../net/icmpv6-nd.js";
import { IPV6_HEADER, UNSPECIFIED } from "../net/ipv6.js";
import { MLD_GROUPS, writeMldReport } from "../net/mld.js";
import type { LinkParts } from "./arp.js";
import { TokenBucket } from "./token-bucket.js";

export const neighbourDiscoveryCounters = {
  solicitations: "solicitations for an address of this interface, which were answered",
  advertisements: "advertisements of neighbours",
  others: "solicitations for the addresses of others",
  conflicts: "messages in which somebody else claims an address of this interface, or is about to",
  reports: "multicast listener reports sent",
  "drop.malformed": "invalid by RFC 4861 §7.1: from beyond the link, cut off, or with a wrong checksum",
  "drop.rate": "more messages than are looked at in a second",
} as const;

const COUNT = counterIndex(neighbourDiscoveryCounters);

/** Messages a second, and at once; reports. */
const RATE = 2000;
const REPORTS = 2;

export class NeighbourDiscovery {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly bucket = new TokenBucket(RATE, RATE);
  private readonly reports = new TokenBucket(REPORTS, 2 * REPORTS);

  constructor(
    context: AppContext,
    private readonly parts: LinkParts,
  ) {
    this.counters = context.counters("neighbour-discovery", neighbourDiscoveryCounters);
    this.frames = context.frames;
    this.view = context.frames.view;
    this.bytes = context.frames.bytes;
  }

  private end(frame: number, reason: number): void {
    this.counters[reason]++;
    this.frames.free(frame);
  }

  /**
   * Takes an Ethernet frame with a solicitation or an advertisement in it, directly behind the IPv6 header, and owns it.
   * @param end where the IPv6 packet ends in the region
   */
  handle(frame: number, end: number): void {
    const { view, bytes } = this;
    const { station } = this.parts;
    const ethernet = this.frames.offset[frame];
    const ip = ethernet + ETHERNET_HEADER;
    const icmp = ip + IPV6_HEADER;
    if (!this.bucket.take()) return this.end(frame, COUNT["drop.rate"]);
    if (!isNeighbourMessage(view, ip, icmp, end)) return this.end(frame, COUNT["drop.malformed"]);
    const isOurs = station.has6(view, bytes, icmp + ND_TARGET);
    // What we said ourselves, and a switch gave back.
    if (station.isMac(bytes, ethernet + 6)) return this.end(frame, COUNT.others);
    if (view.getUint8(icmp) !== ND_SOLICITATION) return this.advertised(frame, ip, icmp, end, isOurs);
    if (station.has6(view, bytes, ip + 8)) return this.conflict(frame, ip + 8);
    const source = stationOption(view, bytes, icmp, end, ND_SOURCE_OPTION);
    if (source >= 0) this.parts.neighbours.heard6(view, bytes, ip + 8, source, false, true);
    if (!isOurs) return this.end(frame, COUNT.others);
    this.answer(frame, ip, icmp, source >= 0 ? source : ethernet + 6);
  }

  private answer(frame: number, ip: number, icmp: number, station: number): void {
    const { view, bytes, frames, parts } = this;
    const target = bytes.slice(icmp + ND_TARGET, icmp + ND_TARGET + 16);
    // Somebody is about to take an address of ours: the answer goes to all, so that it does not.
    const isDetection = isUnspecified(view, ip + 8);
    if (isDetection) {
      this.counters[COUNT.conflicts]++;
      parts.onConflict(target, bytes.slice(station, station + 6));
    }
    const to = isDetection
      ? undefined
      : { destination: bytes.slice(ip + 8, ip + 24), station: bytes.slice(station, station + 6) };
    this.counters[COUNT.solicitations]++;
    frames.length[frame] = writeAdvertisement(
      view,
      bytes,
      frames.offset[frame],
      parts.station.mac,
      target,
      to,
    );
    parts.output.transmit(frame);
  }

  private advertised(frame: number, ip: number, icmp: number, end: number, isOurs: boolean): void {
    const { view, bytes } = this;
    if (isOurs) return this.conflict(frame, icmp + ND_TARGET);
    const flags = view.getUint32(icmp + 4);
    const option = stationOption(view, bytes, icmp, end, ND_TARGET_OPTION);
    // An answer to a solicitation to a single station may leave the option out (RFC 4861 §4.4).
    const station = option >= 0 ? option : ip - ETHERNET_HEADER + 6;
    this.parts.neighbours.heard6(
      view,
      bytes,
      icmp + ND_TARGET,
      station,
      (flags & ND_SOLICITED) !== 0,
      (flags & ND_OVERRIDE) !== 0,
    );
    this.end(frame, COUNT.advertisements);
  }

  /** @param at where the address in question stands */
  private conflict(frame: number, at: number): void {
    const { bytes } = this;
    const ethernet = this.frames.offset[frame];
    const address = bytes.slice(at, at + 16);
    this.parts.onConflict(address, bytes.slice(ethernet + 6, ethernet + 12));
    this.end(frame, COUNT.conflicts);
  }

  /** Asks who has `target`: its group, or the one that had it. */
  solicit(target: IpAddress, station: Uint8Array | undefined): void {
    const source = this.parts.station.sourceFor(target);
    if (source)
      this.write((at) =>
        writeSolicitation(this.view, this.bytes, at, this.parts.station.mac, source, target, station),
      );
  }

  /** Does anybody else have this address? (RFC 4862 §5.4.2) */
  probe(address: IpAddress): void {
    this.write((at) =>
      writeSolicitation(this.view, this.bytes, at, this.parts.station.mac, UNSPECIFIED, address),
    );
  }

  /** Tells everybody that this address is here (RFC 4861 §7.2.6). */
  announce(address: IpAddress): void {
    this.write((at) => writeAdvertisement(this.view, this.bytes, at, this.parts.station.mac, address));
  }

  /** Tells the switches which groups are joined: at the beginning, and when a router asks (RFC 3810 §5.1). */
  report(): void {
    const { mac, linkLocal } = this.parts.station;
    const groups = this.parts.station.groups().slice(0, MLD_GROUPS);
    if (!linkLocal || !this.reports.take()) return;
    this.counters[COUNT.reports]++;
    this.write((at) => writeMldReport(this.view, this.bytes, at, mac, linkLocal, groups));
  }

  private write(message: (at: number) => number): void {
    const frame = this.frames.allocate();
    if (frame === NONE) return;
    this.frames.length[frame] = message(this.frames.offset[frame]);
    this.parts.output.transmit(frame);
  }

  tick(milliseconds: number): void {
    this.bucket.refill(milliseconds);
    this.reports.refill(milliseconds);
  }
}
