// A port is where packets enter and leave a worker. Whatever is behind it (a ring that the kernel shares, a TUN device,
// a file), the graph sees a source that fills one link and an app that empties another.
//
// Ethernet ports carry frames from the destination address on, without FCS. IP ports (TUN) carry packets from the IP
// header on. A received packet begins at least ETHERNET_START bytes into its frame, and at least TAILROOM bytes follow it.
// Longer packets are dropped by the port and counted.

import type { App, CounterTexts, Source } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import type { IpAddress } from "../net/address.js";

/** ESP trailer, ICV and alignment at their largest: bytes that must be free behind a received packet. */
export const TAILROOM = 16 + 2 + 16;

/** A descriptor to wait on while there is nothing to do, with the events (POLLIN, POLLOUT) that end the wait. */
export interface Waiting {
  fd: number;
  events: number;
}

/** What every port is built with, beside the context. */
export interface PortOptions {
  /** Names the port's counters; for ports on a network device also the device. */
  readonly name: string;
  /** The link that received packets are transmitted on. */
  readonly output: Link;
}

/** Counters that every port has, under indices 0 to 4. */
export const portCounters = {
  "rx.packets": "packets received",
  "rx.bytes": "bytes received, without those of dropped packets",
  "tx.packets": "packets transmitted",
  "tx.bytes": "bytes transmitted",
  "drop.oversize": "received packets that left too little room in their frame for ESP",
} satisfies CounterTexts;

/** Makes a frame that a port filled look the way the graph expects a fresh packet. */
export function received(frames: Frames, frame: number, offset: number, length: number): void {
  frames.offset[frame] = offset;
  frames.length[frame] = length;
}

export interface Port {
  readonly name: string;
  readonly kind: "ethernet" | "ip";
  /** Receives: pulls packets onto the link that the port was built with. */
  readonly source: Source;
  /** Transmits what is on its input link, in one call for the whole batch. Owns and frees the frames. */
  readonly sink: App & { readonly input: Link };
  /** What to hand to poll() before going to sleep. Called right before each sleep: may depend on work under way. */
  waiting(): readonly Waiting[];
  /** Releases descriptors, programs and rings. The frames in flight are lost with the worker's frame memory. */
  close(): void;
}

/** What every port on a network device is built with. */
export interface DevicePortOptions extends PortOptions {
  /** The network device; default: the port's name. */
  readonly device?: string;
  /** Addresses of this host to begin with. Without them a private port takes the host's own packets for foreign ones. */
  readonly local?: readonly IpAddress[];
}

/** A port on a network device that the kernel uses as well: it takes some packets and leaves the others. */
export interface DevicePort extends Port {
  readonly kind: "ethernet";
  readonly device: string;
  /**
   * Adds an address to those of this host, or takes it away. Public ports take what is for them, private ones what is
   * not; private ports want to know the broadcast addresses of subnets too.
   */
  setLocal(address: IpAddress, present: boolean): void;
  /** Tells the device's Ethernet address, where it has changed since the port was opened. */
  setMac(mac: Uint8Array): void;
}
