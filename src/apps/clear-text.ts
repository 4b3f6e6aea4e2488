// What may cross an owned link in the clear (RFC 4301 §5.1, §5.2): packets between this machine itself and others that no
// policy wants to be protected, or dropped. An address of the link may well lie in a tunnel's selectors. IKE is not asked
// about here, and ESP is not clear.
//
// Inbound packets are judged by the outbound policy for the answer: charon's policies come in pairs.

import { INNER_MALFORMED, type InnerPacket, parseInner } from "../ipsec/inner.js";
import type { SpdIndex } from "../ipsec/spd-index.js";
import { PolicyType } from "../ipsec/spd-layout.js";
import { NO_MATCH } from "../net/lpm.js";

/** So many bytes of a packet decide: extension headers rarely reach farther, and then there are no ports. */
const JUDGED = 256;
/** Owned interfaces are public ones, which are bound to nothing. */
const UNBOUND_DOMAIN = 0;
const TCP = 6;
const UDP = 17;
const SCTP = 132;

export class ClearText {
  private readonly packet: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };
  private readonly mirror = new Uint8Array(JUDGED);
  private readonly mirrorView = new DataView(this.mirror.buffer);

  constructor(private readonly index: SpdIndex) {}

  /** May the IP packet of `length` bytes at `ip`, whose header is valid, leave in the clear? */
  leaves(view: DataView, ip: number, length: number, isIpv4: boolean): boolean {
    const { packet } = this;
    if (parseInner(packet, view, ip, length, isIpv4) === INNER_MALFORMED) return false;
    return this.allows(view, ip);
  }

  /** May it come in? */
  enters(view: DataView, bytes: Uint8Array, ip: number, length: number, isIpv4: boolean): boolean {
    const { packet, mirror, mirrorView } = this;
    if (parseInner(packet, view, ip, length, isIpv4) === INNER_MALFORMED) return false;
    const judged = length < JUDGED ? length : JUDGED;
    for (let i = 0; i < judged; i++) mirror[i] = bytes[ip + i];
    const source = isIpv4 ? 12 : 8;
    const size = isIpv4 ? 4 : 16;
    mirror.copyWithin(source, source + size, source + 2 * size);
    for (let i = 0; i < size; i++) mirror[source + size + i] = bytes[ip + source + i];
    if (packet.transport !== 0) {
      const transport = packet.transport - ip;
      packet.transport = transport + 4 <= judged ? transport : 0;
      const { protocol } = packet;
      if (packet.transport !== 0 && (protocol === TCP || protocol === UDP || protocol === SCTP)) {
        const port = mirrorView.getUint16(transport);
        mirrorView.setUint16(transport, mirrorView.getUint16(transport + 2));
        mirrorView.setUint16(transport + 2, port);
      }
    }
    packet.length = judged;
    return this.allows(mirrorView, 0);
  }

  private allows(view: DataView, ip: number): boolean {
    const entry = this.index.lookup(view, ip, this.packet, UNBOUND_DOMAIN);
    return entry === NO_MATCH || this.index.type(entry) === PolicyType.pass;
  }
}
