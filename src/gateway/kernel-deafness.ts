// Keeps the kernel from hearing IP and ARP on a device that Vita owns with the driver `packet`, which takes copies only:
// a rule of nftables at the device's ingress, where packet sockets have had theirs already. The XDP driver needs none.

import { interfaceIndex } from "../native/libc.js";
import { nft as runNft, saidBy } from "./commands.js";
import { messageOf } from "./log.js";

export class KernelDeafness {
  readonly #device: string;

  /** Makes the rule, or takes over the one of an earlier run. @throws Error with nftables' words */
  constructor(device: string) {
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
        "    meta protocol { ip, ip6, arp } drop",
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

  /** Removes the rule, if there is one. */
  static remove(device: string): void {
    try {
      nft(`delete table ${tableOf(device)}\n`, "");
    } catch {
      // There is none, or the device went, and the rule with it.
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
