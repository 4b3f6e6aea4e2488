// By what packets come in to the outbound policies: by private ports, or out of a tunnel. For what came out of a tunnel each
// domain (ipsec/binding.ts) has an entrance, a number behind those of the ports. A packet keeps it, also while it waits for an
// SA, so that it is known to whom its errors go, and that it must not leave in the clear.

import type { Domains } from "../ipsec/binding.js";

interface EntrancePort {
  readonly kind: "ethernet" | "ip";
  readonly side: "public" | "private";
}

/** Errors speak from the private side if there is one, and rather from a network than from this host. */
function fitness({ kind, side }: EntrancePort): number {
  return (side === "private" ? 2 : 0) + (kind === "ethernet" ? 1 : 0);
}

export class Entrances {
  /** The number of domain 0's; those of the others follow. */
  readonly first: number;
  /** Domain of each port, and of each entrance. */
  readonly domainOf: Uint8Array;
  /** By domain: the port that errors speak from; port 0 for a domain without any, where there are no packets either. */
  private readonly speakers: Int32Array;

  constructor(ports: readonly EntrancePort[], { count, ofPort }: Domains) {
    this.first = ports.length;
    this.domainOf = Uint8Array.from([...ofPort, ...Array(count).keys()]);
    this.speakers = Int32Array.from({ length: count }, (_, domain) => {
      const own = [...ports.keys()].filter((port) => ofPort[port] === domain);
      return own.sort((a, b) => fitness(ports[b]) - fitness(ports[a]))[0] ?? 0;
    });
  }

  /** The entrance of a domain. */
  of(domain: number): number {
    return this.first + domain;
  }

  /** The port whose addresses errors about a packet speak from. @param port a port, or an entrance */
  speaker(port: number): number {
    return port < this.first ? port : this.speakers[port - this.first];
  }
}
