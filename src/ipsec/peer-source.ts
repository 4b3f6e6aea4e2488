// A peer behind a NAT may speak from another address or port than before: what its packets say of that is believed once they are
// authentic and new (RFC 3948 §3.2 needs no more), and told to the key manager, which moves the SA's end points.

import type { Frames } from "../memory/frames.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";
import type { Notifier } from "./worker-events.js";

const { outerIpv6: OUTER_IPV6 } = SaFlag;
const SOURCE = saSlot.at.src;
const SOURCE_PORT = saSlot.at.srcPort;
const UDP = 17;

export class PeerSource {
  private readonly view: DataView;
  private readonly slots: DataView;
  /** The second in which the key manager was last told that an SA's peer has moved, by slot. */
  private readonly told: Int32Array;
  private isIpv6 = false;
  /** Where the SA's packets should come from. */
  private port = 0;
  private readonly address = new Int32Array(4);

  constructor(
    frames: Frames,
    private readonly sad: Sad,
    private readonly clock: { seconds: number },
    private readonly notifier: Notifier,
  ) {
    this.view = frames.view;
    this.slots = sad.view;
    this.told = new Int32Array(sad.slotCount);
  }

  /**
   * Reads where the packets of an SA with ESP in UDP should come from. If that changes in this moment the supervisor, who
   * changes it, knows.
   * @param offset byte offset of its slot
   */
  open(offset: number, flags: number): void {
    const { slots, address } = this;
    this.isIpv6 = (flags & OUTER_IPV6) !== 0;
    this.port = slots.getUint16(offset + SOURCE_PORT, true);
    for (let i = 0; i < 4; i++) address[i] = slots.getInt32(offset + SOURCE + 4 * i);
  }

  /**
   * Looks where an authentic packet of SA `sa`, the open one, came from.
   * @param ip, esp where its outer IP header and its ESP header begin
   * @returns whether its peer has moved
   */
  hasMoved(sa: number, ip: number, esp: number): boolean {
    const { view, address, isIpv6 } = this;
    if (view.getUint8(ip) >>> 4 !== (isIpv6 ? 6 : 4)) return false;
    if (view.getUint8(isIpv6 ? ip + 6 : ip + 9) !== UDP) return false;
    const port = view.getUint16(esp - 8);
    // Port 0 is any: strongSwan's SAs for each CPU have it.
    let same = port === this.port || this.port === 0;
    if (isIpv6) for (let i = 0; i < 4; i++) same &&= view.getInt32(ip + 8 + 4 * i) === address[i];
    else same &&= view.getInt32(ip + 12) === address[0];
    if (same) return false;
    const now = this.clock.seconds;
    if (this.told[sa] !== now) {
      this.told[sa] = now;
      this.notifier.mapping(sa, this.sad.spi(sa), view, ip, port);
    }
    return true;
  }
}
