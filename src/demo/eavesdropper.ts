// Listens on the WAN for what must never be there: a packet with a LAN address in its outer header. And because a deaf
// eavesdropper hears nothing either, it has to hear two other things first: one packet with a LAN address that gateway
// A sends in the clear on purpose, before any tunnel is there; and ESP, once there is one.

import { Capture } from "../lab/capture.js";
import { run, until } from "../lab/command.js";
import type { Lab } from "../lab/lab.js";
import type { Network } from "../lab/sites.js";

/** What tcpdump calls a packet with a LAN address. ARP has addresses of its own kind and does not count. */
export function clearTextFilter(network: Network): string {
  const protocol = network.family === 4 ? "ip" : "ip6";
  const { a, b } = network.sides;
  return `${protocol} net ${a.lan} or ${protocol} net ${b.lan}`;
}

/** ESP as such, and in UDP on port 4500: there, four zero bytes mark IKE (RFC 3948 §2.2), one 0xff a keepalive. */
export function espFilter(family: 4 | 6): string {
  if (family === 4) return "ip proto 50 or (udp port 4500 and udp[4:2] > 9 and udp[8:4] != 0)";
  // tcpdump's `udp[…]` reads IPv4 only; the UDP header follows 40 bytes of IPv6.
  return "ip6 proto 50 or (ip6 proto 17 and port 4500 and ip6[44:2] > 9 and ip6[48:4] != 0)";
}

export interface Heard {
  clearText: number;
  esp: number;
  problems: string[];
}

export class Eavesdropper {
  readonly #clearText: Capture;
  readonly #esp: Capture;
  readonly #onPurpose: number;

  private constructor(clearText: Capture, esp: Capture, onPurpose: number) {
    this.#clearText = clearText;
    this.#esp = esp;
    this.#onPurpose = onPurpose;
  }

  /** To be called before the gateways run. Throws when the capture misses the packet sent on purpose. */
  static async start(lab: Lab, network: Network): Promise<Eavesdropper> {
    const at = { namespace: network.wan, device: network.wanPort };
    const clearText = await Capture.start(lab, {
      ...at,
      name: "cleartext",
      filter: clearTextFilter(network),
    });
    const esp = await Capture.start(lab, {
      ...at,
      name: "esp",
      filter: espFilter(network.family),
      limit: 100,
    });
    const { a, b } = network.sides;
    await run("ping", ["-n", "-c", "1", "-W", "1", "-I", a.gateway, b.wan], {
      namespace: network.gateways.a,
      tolerate: true,
    });
    const heard = await until("the capture on the WAN link to see a packet", () => clearText.count, 5000);
    return new Eavesdropper(clearText, esp, heard);
  }

  async stop(): Promise<Heard> {
    const problems: string[] = [];
    const missed = await this.#clearText.stop();
    if (missed > 0) problems.push(`the capture on the WAN link missed ${missed} packets`);
    await this.#esp.stop();
    const esp = this.#esp.count;
    if (esp === 0) problems.push("the capture on the WAN link saw no ESP at all");
    return { clearText: this.#clearText.count - this.#onPurpose, esp, problems };
  }
}
