// The driver `packet` takes copies only; the kernel gets the packets too. Rules of nftables at the device's ingress, where
// packet sockets have had theirs already, keep it from hearing what is Vita's. The XDP driver needs none.
//
// owned:   IP and ARP. The kernel would answer as well.
// public:  ESP, and ESP in UDP, for this host. The kernel would look up its route and its socket, cut what arrives joined
//          into packets, and have charon's filter drop each of them, which costs time (docs/kernel-costs.md).

import { messageOf } from "../config/refusal.js";
import { interfaceIndex } from "../native/libc.js";
import { nft as runNft, saidBy } from "./commands.js";

/** What the kernel is not to hear. ESP in UDP is what has no non-ESP marker (RFC 3948 §2). */
const rules = {
  owned: ["meta protocol { ip, ip6, arp } drop"],
  public: [
    "meta l4proto esp fib daddr type local drop",
    "udp dport 4500 @th,64,32 != 0 fib daddr type local drop",
  ],
} as const;

export class KernelDeafness {
  readonly #device: string;

  /** Makes the rules, or takes over those of an earlier run. @throws Error with nftables' words */
  constructor(device: string, role: "owned" | "public") {
    this.#device = device;
    const table = tableOf(device);
    nft(
      [
        // Of a table that is there already, nothing must stay; and deleting one that is not there is an error.
        `table ${table} {`,
        "}",
        `delete table ${table}`,
        `table ${table} {`,
        "  chain input {",
        `    type filter hook ingress device "${device}" priority -500; policy accept;`,
        ...rules[role].map((rule) => `    ${rule}`),
        "  }",
        "}",
        "",
      ].join("\n"),
      `keeping the kernel from hearing ${device}`,
    );
  }

  close(): void {
    KernelDeafness.remove(this.#device);
  }

  /** Removes the rules, if there are any. */
  static remove(device: string): void {
    try {
      nft(`delete table ${tableOf(device)}\n`, "");
    } catch {
      // There are none, or the device went, and the rules with it.
    }
  }
}

/** A device's name may hold what nftables takes no table's name with. */
function tableOf(device: string): string {
  return `netdev vita_${interfaceIndex(device)}`;
}

function nft(script: string, what: string): void {
  try {
    runNft(script);
  } catch (error) {
    throw new Error(
      `${what} needs nftables with the ingress hook, which the driver "xdp" does not: ` +
        (saidBy(error) || messageOf(error)),
      { cause: error },
    );
  }
}
