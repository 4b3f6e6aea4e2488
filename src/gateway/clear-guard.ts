// What a policy in transport mode wants protected must not come in the clear either: the kernel's own IPsec would refuse
// it, but the kernel knows nothing of Vita's policies, and takes packets from the public interface itself. So they are
// told to its packet filter, in a table of its own:
//
//   came through the TUN device, IKE, neighbour discovery: go on
//   the `in` policies in the order of their evaluation: protect → drop, pass → go on, drop → drop
//
// There are rules only while there is a policy in transport mode: tunnels lead to other hosts, whose packets the gateway
// does not take in the clear anyhow.

import { messageOf } from "../config/refusal.js";
import { MODE_TRANSPORT } from "../ipsec/add-sa.js";
import type { PolicyRequest, Selector } from "../ipsec/kernel.js";
import { policyRank } from "../ipsec/spd.js";
import { PolicyDirection, PolicyType } from "../ipsec/spd-layout.js";
import { formatAddress } from "../net/address.js";
import { nft } from "./commands.js";
import type { Logger } from "./log.js";

function tableOf(node: string): string {
  return `vita-${node}`;
}

/** Works also where there is no such table. */
function clearing(table: string): string {
  return `table inet ${table} {}\ndelete table inet ${table}\n`;
}

const ICMP = 1;
const ICMPV6 = 58;

export class ClearGuard {
  readonly #table: string;
  readonly #device: string;
  readonly #log: Logger;
  /** Verdicts by rule, with their policies' ranks; the newest first among equals. */
  #policies: { rule: string; rank: number; isTransport: boolean }[] = [];
  #pending: NodeJS.Immediate | undefined;
  #isLaid = false;
  #isBroken = false;

  /**
   * @param keep the policies of an earlier run are in force, and so are its rules, until they are written anew
   */
  constructor(node: string, device: string, keep: boolean, log: Logger) {
    this.#table = tableOf(node);
    this.#device = device;
    this.#log = log;
    this.#isLaid = true;
    if (keep) this.#pending = setImmediate(() => this.#write());
    else this.#write();
  }

  /** A policy came or went. */
  change(request: PolicyRequest, present: boolean): void {
    const { id, type, mode } = request;
    if (id.direction !== PolicyDirection.in || id.interfaceId !== 0 || (id.mark.value & id.mark.mask) !== 0)
      return;
    const isTransport = type === PolicyType.ipsec && mode === MODE_TRANSPORT;
    if (type === PolicyType.ipsec && !isTransport) return;
    const policy = { rule: ruleOf(request), rank: policyRank(request), isTransport };
    const same = (other: typeof policy) => other.rule === policy.rule && other.rank === policy.rank;
    if (present) this.#policies.unshift(policy);
    else {
      const at = this.#policies.findIndex(same);
      if (at >= 0) this.#policies.splice(at, 1);
    }
    // charon adds and removes several at a time.
    this.#pending ??= setImmediate(() => this.#write());
  }

  #write(): void {
    clearImmediate(this.#pending);
    this.#pending = undefined;
    const wanted = this.#policies.some(({ isTransport }) => isTransport);
    if (!wanted && !this.#isLaid) return;
    try {
      nft(wanted ? this.#text() : clearing(this.#table));
      this.#isLaid = wanted;
    } catch (error) {
      // Without nft there is nothing to clear.
      if (!wanted) this.#isLaid = false;
      else if (!this.#isBroken)
        this.#log.warn(
          `packets in the clear from peers in transport mode are not refused, for want of nft (Debian: nftables): ${messageOf(error)}`,
        );
      this.#isBroken = wanted;
    }
  }

  #text(): string {
    const sorted = [...this.#policies].sort((a, b) => a.rank - b.rank);
    const rules = [...new Set(sorted.map(({ rule }) => rule))];
    return `${clearing(this.#table)}table inet ${this.#table} {
  chain input {
    type filter hook input priority filter - 10
    iifname { "${this.#device}", "lo" } return
    udp dport { 500, 4500 } return
    icmpv6 type { 133, 134, 135, 136, 137 } return
    ${rules.join("\n    ")}
  }
}
`;
  }

  /** Removes the table of an earlier run, if there is one. */
  static remove(node: string): void {
    try {
      nft(clearing(tableOf(node)));
    } catch {
      // Without nft there is nothing to remove.
    }
  }

  /** Leaves the table as it is. */
  release(): void {
    clearImmediate(this.#pending);
  }

  /** Removes the table. */
  close(): void {
    this.#policies = [];
    this.#isLaid = true;
    this.#write();
  }
}

/** What matches the packets of a policy, and the verdict. */
export function ruleOf({ id, type }: PolicyRequest): string {
  const { srcSelector: src, dstSelector: dst } = id;
  const family = src.from.length === 4 ? "ip" : "ip6";
  const protocol = src.protocol || dst.protocol;
  const words = [range(`${family} saddr`, src), range(`${family} daddr`, dst)];
  if (protocol !== 0) words.push(`meta l4proto ${protocol}`);
  if (protocol === ICMP || protocol === ICMPV6) words.push(ports("@th,0,16", src) || ports("@th,0,16", dst));
  else if (protocol !== 0) words.push(ports("@th,0,16", src), ports("@th,16,16", dst));
  words.push(type === PolicyType.pass ? "return" : "drop");
  return words.filter((word) => word !== "").join(" ");
}

function range(what: string, { from, to }: Selector): string {
  const [first, last] = [formatAddress(from), formatAddress(to)];
  return first === last ? `${what} ${first}` : `${what} ${first}-${last}`;
}

/** OPAQUE ports cannot be told, and match as if there were none. */
function ports(what: string, { fromPort, toPort }: Selector): string {
  if (fromPort > toPort || (fromPort === 0 && toPort === 0xffff)) return "";
  return fromPort === toPort ? `${what} ${fromPort}` : `${what} ${fromPort}-${toPort}`;
}
