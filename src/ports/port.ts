// A port is where packets enter and leave a worker. Whatever is behind it (a ring that the kernel shares, a TUN device,
// a file), the graph sees a source that fills one link and an app that empties another.
//
// Ethernet ports carry frames from the destination address on, without FCS. IP ports (TUN) carry packets from the IP
// header on. A received packet begins at least HEADROOM bytes into its frame, and at least TAILROOM bytes follow it.
// Longer packets are dropped by the port and counted.

import type { App, Source } from "../engine/app.js";
import type { Link } from "../engine/link.js";

/** ESP trailer, ICV and alignment at their largest: bytes that must be free behind a received packet. */
export const TAILROOM = 16 + 2 + 16;

/** A descriptor to wait on while there is nothing to do, with the events (POLLIN, POLLOUT) that end the wait. */
export interface Waiting {
  fd: number;
  events: number;
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
