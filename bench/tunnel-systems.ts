// The systems that `bench tunnel` compares, each as a function that lays a tunnel between two namespaces. All of them
// work in user space, on the same veth pair, between the same inner addresses; the private side is the TUN device of
// each, and the programs that measure run in the gateways' own namespaces.

import { writeFileSync } from "node:fs";
import { Charon, type System } from "../src/lab/charon.js";
import { run, until } from "../src/lab/command.js";
import type { Lab } from "../src/lab/lab.js";
import { addAddress, createLink } from "../src/lab/netns.js";
import { pingOnce } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

export interface End {
  namespace: string;
  /** Address on the WAN link. */
  outer: string;
  /** Address inside of the tunnel. */
  inner: string;
  other: { outer: string; inner: string };
}

export interface Tunnel {
  ends: [End, End];
  /** Addresses that the measurement uses. */
  from: string;
  to: string;
  cipher: string;
}

type Setup = (lab: Lab, ends: [End, End]) => Promise<string>;

const outer = ["192.0.2.1", "192.0.2.2"] as const;
const inner = ["10.1.0.1", "10.2.0.1"] as const;

async function createEnds(lab: Lab): Promise<[End, End]> {
  const left = await lab.namespace("left");
  const right = await lab.namespace("right");
  await createLink(
    { namespace: left, device: "wan0", addresses: [`${outer[0]}/24`] },
    { namespace: right, device: "wan0", addresses: [`${outer[1]}/24`] },
    // Whoever can make use of what such a link carries in one piece may do so.
    { offloads: true },
  );
  return [
    { namespace: left, outer: outer[0], inner: inner[0], other: { outer: outer[1], inner: inner[1] } },
    { namespace: right, outer: outer[1], inner: inner[1], other: { outer: outer[0], inner: inner[0] } },
  ];
}

interface Variant {
  driver: "xdp" | "packet";
  /** ESP in UDP, though there is no NAT. */
  encapsulate: boolean;
}

async function ipsec(
  lab: Lab,
  ends: [End, End],
  system: System,
  { driver, encapsulate }: Variant,
): Promise<string> {
  const charons: Charon[] = [];
  for (const [i, end] of ends.entries()) {
    const name = `end-${i}`;
    // Any local device will do for the address: the policies' routes lead into the TUN.
    await addAddress(end.namespace, "lo", `${end.inner}/32`);
    let vitaSocket: string | undefined;
    if (system === "vita") {
      const vita = await Vita.start(lab, end.namespace, {
        node: name,
        "public-interface": [{ name: "wan0", driver, mode: "shared" }],
        "private-interface": [{ name: "vita0", driver: "tun" }],
        workers: 1,
      });
      vitaSocket = vita.charonSocket;
    }
    charons.push(
      await Charon.start(lab, {
        name,
        namespace: end.namespace,
        system,
        ...(vitaSocket === undefined ? {} : { vitaSocket }),
        connection: {
          localId: end.outer,
          remoteId: end.other.outer,
          localAddress: end.outer,
          remoteAddress: end.other.outer,
          localSelectors: [`${end.inner}/32`],
          remoteSelectors: [`${end.other.inner}/32`],
          preSharedKey: "for measuring only",
          ikeProposals: "aes128gcm16-prfsha256-x25519",
          espProposals: system === "vita" ? "aes128gcm16-x25519-esn" : "aes128gcm16-x25519-noesn",
          encapsulate,
          extra: ["mobike = no", "rekey_time = 0"],
          childExtra: ["rekey_time = 0", "life_time = 0"],
        },
      }),
    );
  }
  await (charons[0] as Charon).initiate();
  const sa = await until("an installed CHILD_SA", () => charons[0]?.installed(), 5000);
  return `${sa.algorithm}${sa.esn ? " ESN" : ""}${sa.encapsulated ? " in UDP" : ""}`;
}

// wireguard-go keeps its control socket in /run/wireguard, which all namespaces share, under the device's name. A
// mount of one's own keeps it in the lab; `ip netns exec` has made the mount namespace already.
async function wireguardGo(lab: Lab, ends: [End, End]): Promise<string> {
  const device = "wg0";
  const privately = (i: number, command: string): [string, string[]] => {
    const sockets = lab.path(`wireguard-${i}`);
    const script = `mkdir -p /run/wireguard "$0" && mount --bind "$0" /run/wireguard && exec ${command}`;
    return ["sh", ["-c", script, sockets]];
  };
  const keys: { file: string; publicKey: string }[] = [];
  for (const [i, { namespace }] of ends.entries()) {
    const privateKey = (await run("wg", ["genkey"])).stdout;
    const publicKey = (await run("wg", ["pubkey"], { input: privateKey })).stdout.trim();
    const file = lab.path(`wireguard-${i}.key`);
    writeFileSync(file, privateKey, { mode: 0o600 });
    keys.push({ file, publicKey });
    const child = lab.start(...privately(i, `wireguard-go -f ${device}`), {
      name: `wireguard-go-${i}`,
      namespace,
      env: { ...process.env, WG_PROCESS_FOREGROUND: "1" },
    });
    await until(
      "wireguard-go's device",
      async () => {
        child.assertRunning();
        const [command, args] = privately(i, `wg show ${device}`);
        return (await run(command, args, { namespace, tolerate: true })).status === 0;
      },
      10_000,
    );
  }
  for (const [i, end] of ends.entries()) {
    const { namespace } = end;
    const peer = (keys[1 - i] as (typeof keys)[0]).publicKey;
    const own = (keys[i] as (typeof keys)[0]).file;
    const set = `wg set ${device} listen-port 51820 private-key ${own} peer ${peer} endpoint ${end.other.outer}:51820 allowed-ips ${end.other.inner}/32`;
    const [command, args] = privately(i, set);
    await run(command, args, { namespace });
    await addAddress(namespace, device, `${end.inner}/32`);
    await run("ip", ["-n", namespace, "link", "set", device, "up"]);
    await run("ip", ["-n", namespace, "route", "add", `${end.other.inner}/32`, "dev", device]);
  }
  return "ChaCha20-Poly1305";
}

const systems: Record<string, Setup> = {
  vita: (lab, ends) => ipsec(lab, ends, "vita", { driver: "xdp", encapsulate: false }),
  "vita-udp": (lab, ends) => ipsec(lab, ends, "vita", { driver: "packet", encapsulate: true }),
  libipsec: (lab, ends) => ipsec(lab, ends, "libipsec", { driver: "xdp", encapsulate: true }),
  "wireguard-go": wireguardGo,
  // The bare link, for comparison: no tunnel at all.
  veth: async () => "none",
};

export const systemNames = Object.keys(systems);

/** Lays the tunnel of `system` in a fresh lab; a packet has gone through it when this returns. */
export async function layTunnel(lab: Lab, system: string): Promise<Tunnel> {
  const ends = await createEnds(lab);
  const setup = systems[system] as Setup;
  const cipher = await setup(lab, ends);
  const bare = system === "veth";
  const [from, to] = bare ? outer : inner;
  const answer = async () => (await pingOnce(ends[0].namespace, to, from)) !== undefined;
  await until(`${system}: an answer through the tunnel`, answer, 10_000);
  return { ends, from, to, cipher };
}
