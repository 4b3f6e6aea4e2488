// A NAT between some gateways and the WAN of a lab: a namespace that forwards and masquerades, as a home router does.
//
//   gw-a ─┐
//   gw-c ─┤ inside (a switch) ── NAT ── outside, on the WAN's switch
//
// Every client is alone on its address, and all of them share the one outside. The NAT can be made to forget what it
// knows and to give out other ports or another address from then on, which is what a rebinding is.

import { run } from "./command.js";
import type { Lab } from "./lab.js";
import { addAddress, addRoute, createBridge, createLink, setSysctls } from "./netns.js";

export interface NatAddresses {
  /** Of the NAT on the WAN, and inside; without prefix length. */
  outside: string;
  inside: string;
  /** Lengths of both networks' prefixes. */
  outsideBits: number;
  insideBits: number;
}

// Documentation addresses (RFC 5737, RFC 3849) outside, private ones inside.
export const natAddresses: Record<4 | 6, NatAddresses> = {
  4: { outside: "192.0.2.3", inside: "192.168.77.1", outsideBits: 24, insideBits: 24 },
  6: { outside: "2001:db8:ffff::3", inside: "fd77::1", outsideBits: 64, insideBits: 64 },
};

export interface NatOptions {
  family: 4 | 6;
  /** Namespace on the WAN, whose switch is called `switch`. */
  wan: string;
  /** Source ports that it gives out, first and last. */
  ports: [number, number];
}

export interface NatClient {
  namespace: string;
  /** Device to be made in it. One that is there is removed first. */
  device: string;
  /** Its address behind the NAT. */
  address: string;
}

export class Nat {
  readonly namespace: string;
  readonly addresses: NatAddresses;
  readonly #family: 4 | 6;
  #outside: string;
  #clients = 0;

  private constructor(namespace: string, family: 4 | 6, addresses: NatAddresses) {
    this.namespace = namespace;
    this.addresses = addresses;
    this.#family = family;
    this.#outside = addresses.outside;
  }

  static async create(lab: Lab, options: NatOptions): Promise<Nat> {
    const { family, wan, ports } = options;
    const addresses = natAddresses[family];
    const namespace = await lab.namespace("nat");
    const { outside, inside, outsideBits, insideBits } = addresses;
    await createLink(
      { namespace, device: "outside", addresses: [`${outside}/${outsideBits}`] },
      { namespace: wan, device: "to-nat" },
    );
    await run("ip", ["-n", wan, "link", "set", "to-nat", "master", "switch"]);
    await createBridge(namespace, "inside", []);
    await addAddress(namespace, "inside", `${inside}/${insideBits}`);
    await setSysctls(namespace, { "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 });
    const nat = new Nat(namespace, family, addresses);
    await nat.masquerade(ports);
    return nat;
  }

  /** The NAT's address on the WAN, as it is now. */
  get outside(): string {
    return this.#outside;
  }

  /** Connects a client to the inside; its default route leads through the NAT. */
  async connect({ namespace, device, address }: NatClient): Promise<void> {
    const port = `client${++this.#clients}`;
    await run("ip", ["-n", namespace, "link", "del", device], { tolerate: true });
    await createLink(
      { namespace, device, addresses: [`${address}/${this.addresses.insideBits}`] },
      { namespace: this.namespace, device: port },
    );
    await run("ip", ["-n", this.namespace, "link", "set", port, "master", "inside"]);
    await addRoute(namespace, "default", this.addresses.inside);
  }

  /** UDP that leaves has source ports from this range from now on, as far as its flow is new. */
  async masquerade([first, last]: [number, number]): Promise<void> {
    const table = `${this.#family === 4 ? "ip" : "ip6"} lab`;
    await run("nft", ["-f", "-"], {
      namespace: this.namespace,
      input: `table ${table}
delete table ${table}
table ${table} {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "outside" meta l4proto udp masquerade to :${first}-${last}
    oifname "outside" masquerade
  }
}
`,
    });
  }

  /**
   * Forgets every flow and gives out other ports, or another address, from the next packet on. The kernel drops what it
   * knows of masqueraded flows when the address that they have goes.
   */
  async rebind(ports: [number, number], outside = this.#outside): Promise<void> {
    await this.masquerade(ports);
    const { namespace, addresses } = this;
    const bits = addresses.outsideBits;
    await run("ip", ["-n", namespace, "address", "del", `${this.#outside}/${bits}`, "dev", "outside"]);
    await addAddress(namespace, "outside", `${outside}/${bits}`);
    this.#outside = outside;
  }
}
