// Finishes checksums that senders without a network card have left to one (net/unfinished-checksum.ts), on devices where such
// packets come from.

import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { finishUnfinished } from "../net/unfinished-checksum.js";
import { driver } from "./device.js";

const ETHERNET_HEADER = 14;
const finishPacket = finishUnfinished;

/** Drivers of devices whose packets may come right from a kernel, of this machine or of a virtual machine's host. */
const virtual = new Set(["veth", "tun", "bridge", "macvlan", "802.1Q VLAN Support", "virtio_net"]);

export class ChecksumFinisher {
  private readonly frames: Frames;
  /** Whether packets from the device may lack the checksum that their sender left to a network card. */
  private readonly isNeeded: boolean;

  constructor(frames: Frames, device: string) {
    this.frames = frames;
    this.isNeeded = virtual.has(driver(device)?.name ?? "");
  }

  /**
   * Looks at the Ethernet frames on `link` from number `from` on.
   * @returns how many have got their checksum
   */
  finish(link: Link, from: number): number {
    if (!this.isNeeded) return 0;
    const { offset, length, view } = this.frames;
    let finished = 0;
    for (let i = from; i < link.readable; i++) {
      const frame = link.at(i);
      const at = offset[frame];
      if (finishPacket(view, at + ETHERNET_HEADER, at + length[frame])) finished++;
    }
    return finished;
  }
}
