// Listens on the WAN for what must never be there: a packet with a LAN address in its outer header. And because a deaf
// eavesdropper hears nothing either, it has to hear other things: ESP, and a packet with a LAN address that gateway A's
// kernel sends in the clear on purpose, from its own LAN address to the other gateway's WAN address, which no policy
// covers. The first of these is sent before any tunnel is there, and one more at the end: once that is heard, so is all
// that came before it. Where Vita owns gateway A's public interface, no kernel could send such a packet: there it comes
// from the WAN, with gateway B's LAN address.

import { Capture } from "../lab/capture.js";
import { run, until } from "../lab/command.js";
import type { Lab } from "../lab/lab.js";
import { addAddress } from "../lab/netns.js";
import type { Network } from "../lab/sites.js";
import { formatAddress } from "../net/address.js";

/**
 * What tcpdump calls a packet with a LAN address. ARP has addresses of its own kind and does not count, nor does its
 * successor in IPv6, which the sender on the WAN needs.
 */
export function clearTextFilter(network: Network): string {
  const { a, b } = network.sides;
  if (network.family === 4) return `ip net ${a.lan} or ip net ${b.lan}`;
  return `(ip6 net ${a.lan} or ip6 net ${b.lan}) and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 137)`;
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

/** Who sends the packet that must be heard: gateway A's kernel, or somebody on the WAN. */
export type Sender = "gateway" | "wan";

/** Gives the switch gateway B's LAN address, and a way to gateway A. */
async function prepareWan({ wan, sides, family }: Network): Promise<void> {
  await addAddress(wan, "switch", `${sides.b.gateway}/${family === 4 ? 32 : 128}`);
  const version = family === 4 ? "-4" : "-6";
  await run("ip", ["-n", wan, version, "route", "add", sides.a.wan, "dev", "switch"]);
}

/** True for the packet that is sent on purpose, and for an answer to it. */
export function onPurpose(network: Network, packet: Uint8Array): boolean {
  const length = network.family === 4 ? 4 : 16;
  const source = 14 + (network.family === 4 ? 12 : 8);
  const address = (at: number) => formatAddress(packet.subarray(at, at + length));
  const ends = [address(source), address(source + length)];
  const { a, b } = network.sides;
  return [a, b].some((near) => ends.includes(near.gateway) && ends.includes((near === a ? b : a).wan));
}

export class Eavesdropper {
  readonly #network: Network;
  readonly #sender: Sender;
  readonly #clearText: Capture;
  readonly #esp: Capture;

  private constructor(network: Network, sender: Sender, clearText: Capture, esp: Capture) {
    this.#network = network;
    this.#sender = sender;
    this.#clearText = clearText;
    this.#esp = esp;
  }

  /** To be called before the gateways run. Throws when the capture misses the packet sent on purpose. */
  static async start(lab: Lab, network: Network, sender: Sender = "gateway"): Promise<Eavesdropper> {
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
    if (sender === "wan") await prepareWan(network);
    const eavesdropper = new Eavesdropper(network, sender, clearText, esp);
    await eavesdropper.#mustHear();
    return eavesdropper;
  }

  #count(): { meant: number; leaked: number } {
    const packets = this.#clearText.packets();
    const meant = packets.filter((packet) => onPurpose(this.#network, packet)).length;
    return { meant, leaked: packets.length - meant };
  }

  async #mustHear(): Promise<void> {
    const { sides, gateways, wan } = this.#network;
    const before = this.#count().meant;
    const [from, to, namespace] =
      this.#sender === "gateway"
        ? [sides.a.gateway, sides.b.wan, gateways.a]
        : [sides.b.gateway, sides.a.wan, wan];
    await run("ping", ["-n", "-c", "1", "-W", "0.1", "-I", from, to], { namespace, tolerate: true });
    await until("the capture on the WAN link to see a packet", () => this.#count().meant > before, 5000);
  }

  async stop(): Promise<Heard> {
    const problems: string[] = [];
    await this.#mustHear();
    const missed = await this.#clearText.stop();
    if (missed > 0) problems.push(`the capture on the WAN link missed ${missed} packets`);
    await this.#esp.stop();
    const esp = this.#esp.count;
    if (esp === 0) problems.push("the capture on the WAN link saw no ESP at all");
    return { clearText: this.#count().leaked, esp, problems };
  }
}
