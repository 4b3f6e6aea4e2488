// What an interface is bound to: an interface id and a mark, as a VLAN's xfrm interface and firewall mark would be on
// Linux. Ports with the same binding form a domain. A packet meets the policies of the domain that it came from, and
// what comes out of an SA goes to the ports of the domains that the SA is meant for, and to no others.
//
// The rules are Linux's: a policy matches when the packet's mark, masked, is the policy's value and the interface ids are
// equal. Domain 0 is that of all ports without a binding: interface id 0, mark 0.

import type { Mark } from "./kernel.js";

export interface Binding {
  /** Interface id and mark of the packets that come from the port. */
  readonly interfaceId: number;
  readonly mark: number;
  /** Interface id and mark of the packets that go to it; they differ where charon's differ by direction. */
  readonly interfaceIdIn: number;
  readonly markIn: number;
}

export const UNBOUND: Binding = { interfaceId: 0, mark: 0, interfaceIdIn: 0, markIn: 0 };

/** Domains that there can be: they are bits of a number. */
const MAX_DOMAINS = 31;

function sameBinding(a: Binding, b: Binding): boolean {
  return (
    a.interfaceId === b.interfaceId &&
    a.mark === b.mark &&
    a.interfaceIdIn === b.interfaceIdIn &&
    a.markIn === b.markIn
  );
}

/** Does a packet with this mark carry the one that is asked for? */
export function hasMark(mark: number, { value, mask }: Mark): boolean {
  return (mark & mask) >>> 0 === value >>> 0;
}

/** The domains of a set of ports. */
export class Domains {
  /** By number of the domain. */
  readonly bindings: readonly Binding[];
  /** Domain of each port. */
  readonly ofPort: Uint8Array;

  constructor(ports: readonly { readonly binding?: Binding | undefined }[] = []) {
    const bindings = [UNBOUND];
    this.ofPort = Uint8Array.from(ports, ({ binding = UNBOUND }) => {
      const known = bindings.findIndex((other) => sameBinding(other, binding));
      return known >= 0 ? known : bindings.push(binding) - 1;
    });
    if (bindings.length > MAX_DOMAINS)
      throw new Error(
        `interfaces are bound to ${bindings.length - 1} interface ids and marks; ${MAX_DOMAINS - 1} are possible`,
      );
    this.bindings = bindings;
  }

  get count(): number {
    return this.bindings.length;
  }

  /** The domains whose packets a policy (or an outbound SA) is for, as bits. */
  matching(id: { mark: Mark; interfaceId: number }): number {
    let bits = 0;
    this.bindings.forEach(({ interfaceId, mark }, domain) => {
      if (interfaceId === id.interfaceId && hasMark(mark, id.mark)) bits |= 1 << domain;
    });
    return bits;
  }

  /**
   * The domains that the packets of an inbound SA may go to, as bits.
   *
   * Nothing but the SA can give a decrypted packet its mark: it is the SA's own or what its `in` policy asks for (`mark`,
   * undefined as long as no such policy came), changed by set_mark_in. While the mark is not known, only an interface id
   * that one domain without a mark has to itself is clear enough.
   */
  receiving(sa: { interfaceId: number; mark: Mark | undefined; setMark: Mark }): number {
    const { mark, setMark } = sa;
    const candidates = this.bindings.filter(({ interfaceIdIn }) => interfaceIdIn === sa.interfaceId);
    let accepts: (markIn: number) => boolean;
    if (setMark.mask !== 0) {
      const before = mark?.value ?? 0;
      const set = ((before & ~setMark.mask) | (setMark.value & setMark.mask)) >>> 0;
      accepts = (markIn) => markIn === set && (mark === undefined || hasMark(set, mark));
    } else if (mark) accepts = (markIn) => hasMark(markIn, mark);
    else accepts = (markIn) => markIn === 0 && candidates.length === 1;
    let bits = 0;
    this.bindings.forEach(({ interfaceIdIn, markIn }, domain) => {
      if (interfaceIdIn === sa.interfaceId && accepts(markIn)) bits |= 1 << domain;
    });
    return bits;
  }
}
