// Does a packet that came out of a tunnel belong to the SA that carried it (RFC 4301 §5.2)? Its addresses, and where the
// selectors ask for them its protocol and ports, must lie in one source and one destination selector of the SA.

import type { InnerPacket } from "./inner.js";
import { SaFlag, saSlot } from "./sad-layout.js";
import { containsIpv4, containsIpv6, matchesTransport, OPAQUE, SELECTOR_WORDS } from "./selectors.js";

// What the data path uses of other modules has a name here: see decapsulate.ts.
const TRANSPORT = SaFlag.transportSelectors;
const ENTRY_WORDS = SELECTOR_WORDS;
const NO_PORT = OPAQUE;
const holds4 = containsIpv4;
const holds6 = containsIpv6;
const matches = matchesTransport;

const FLAGS = saSlot.at.flags >>> 2;
const COUNTS = saSlot.at.selectorCounts >>> 2;
const SELECTORS_AT = saSlot.at.selectorsAt >>> 2;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const DCCP = 33;
const ICMPV6 = 58;
const SCTP = 132;
const UDP_LITE = 136;

/** Source port, destination port (0 and 2): bytes into the transport header. For ICMP both are type and code. */
export function transportPort(view: DataView, inner: InnerPacket, offset: number, end: number): number {
  const { protocol, transport } = inner;
  if (transport === 0) return NO_PORT;
  if (protocol === TCP || protocol === UDP || protocol === SCTP || protocol === DCCP || protocol === UDP_LITE)
    return transport + 4 <= end ? view.getUint16(transport + offset) : NO_PORT;
  if (protocol === ICMP || protocol === ICMPV6)
    return transport + 2 <= end ? view.getUint16(transport) : NO_PORT;
  return NO_PORT;
}

/**
 * @param slot word index of the SA's slot
 * @param offset where the inner packet begins in `view`
 */
export function admits(
  words: Uint32Array,
  slot: number,
  view: DataView,
  offset: number,
  inner: InnerPacket,
): boolean {
  const counts = words[slot + COUNTS];
  const sources = counts & 0xffff;
  const first = words[slot + SELECTORS_AT];
  if (!admitsSide(words, slot, first, sources, view, offset, inner, 0)) return false;
  return admitsSide(words, slot, first + sources * ENTRY_WORDS, counts >>> 16, view, offset, inner, 1);
}

/** Side 0: source address and port; side 1: destination. */
function admitsSide(
  words: Uint32Array,
  slot: number,
  first: number,
  count: number,
  view: DataView,
  offset: number,
  inner: InnerPacket,
  side: number,
): boolean {
  const end = first + count * ENTRY_WORDS;
  const withTransport = (words[slot + FLAGS] & TRANSPORT) !== 0;
  const port = withTransport ? transportPort(view, inner, side * 2, offset + inner.length) : 0;
  if (inner.isIpv4) {
    const address = view.getInt32(offset + 12 + side * 4);
    for (let entry = first; entry < end; entry += ENTRY_WORDS)
      if (holds4(words, entry, address) && (!withTransport || matches(words, entry, inner.protocol, port)))
        return true;
    return false;
  }
  const address = offset + 8 + side * 16;
  for (let entry = first; entry < end; entry += ENTRY_WORDS)
    if (
      holds6(words, entry, view, address) &&
      (!withTransport || matches(words, entry, inner.protocol, port))
    )
      return true;
  return false;
}
