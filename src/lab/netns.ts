// Network namespaces, the veth pairs between them, addresses and sysctls, all through iproute2. Names are the lab's
// business (lab.ts); here a namespace is a name.

import { run, runJson, sleep } from "./command.js";

/** One end of a veth pair. */
export interface LinkEnd {
  namespace: string;
  device: string;
  /** Addresses with prefix length, IPv4 or IPv6. */
  addresses?: string[];
}

export interface LinkOptions {
  mtu?: number;
  /** As the kernel makes such links: packets cross them without checksums, and joined to 64 KiB. */
  offloads?: boolean;
}

// A gateway's kernel must never forward in the clear, must not drop what comes from an address that it would not send
// to, and must not wait a second for duplicate address detection. Loopback stays usable.
const quietSysctls = {
  "net.ipv4.ip_forward": 0,
  "net.ipv4.conf.all.rp_filter": 0,
  "net.ipv4.conf.default.rp_filter": 0,
  "net.ipv4.conf.all.send_redirects": 0,
  "net.ipv4.conf.default.send_redirects": 0,
  "net.ipv6.conf.all.forwarding": 0,
  "net.ipv6.conf.all.accept_dad": 0,
  "net.ipv6.conf.default.accept_dad": 0,
  "net.ipv6.conf.default.accept_ra": 0,
  "net.ipv6.conf.default.router_solicitations": 0,
};

export async function setSysctls(namespace: string, values: Record<string, string | number>): Promise<void> {
  const settings = Object.entries(values).map(([name, value]) => `${name}=${value}`);
  // -e: a kernel without IPv6 does not know half of them.
  await run("sysctl", ["-e", "-q", "-w", ...settings], { namespace });
}

export async function createNamespace(name: string): Promise<void> {
  await run("ip", ["netns", "add", name]);
  await setSysctls(name, quietSysctls);
  await run("ip", ["-n", name, "link", "set", "lo", "up"]);
}

export async function listNamespaces(): Promise<string[]> {
  return (await runJson<{ name: string }[]>("ip", ["-j", "netns", "list"])).map(({ name }) => name);
}

/** Kills what still runs in a namespace, by pid, and deletes it. */
export async function deleteNamespace(name: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const { stdout } = await run("ip", ["netns", "pids", name], { tolerate: true });
    const pids = stdout.split("\n").filter(Boolean).map(Number);
    if (pids.length === 0) break;
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It went by itself.
      }
    }
    await sleep(20);
  }
  await run("ip", ["netns", "delete", name], { tolerate: true });
}

// veth hands packets over with checksums that nobody has worked out yet, and joined to 64 KB: fine between two kernels,
// wrong for a gateway that reads the bytes. Real links have neither.
async function honestPackets(namespace: string, device: string): Promise<void> {
  await run("ethtool", ["-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], { namespace });
}

export async function addAddress(namespace: string, device: string, address: string): Promise<void> {
  const nodad = address.includes(":") ? ["nodad"] : [];
  await run("ip", ["-n", namespace, "address", "add", address, "dev", device, ...nodad]);
}

/** Creates a veth pair from `a` to `b`, with addresses, up. */
export async function createLink(a: LinkEnd, b: LinkEnd, options: LinkOptions = {}): Promise<void> {
  const mtu = ["mtu", String(options.mtu ?? 1500)];
  const peer = ["peer", "name", b.device, "netns", b.namespace, ...mtu];
  await run("ip", ["-n", a.namespace, "link", "add", a.device, ...mtu, "type", "veth", ...peer]);
  for (const end of [a, b]) {
    if (!options.offloads) await honestPackets(end.namespace, end.device);
    for (const address of end.addresses ?? []) await addAddress(end.namespace, end.device, address);
    await run("ip", ["-n", end.namespace, "link", "set", end.device, "up"]);
  }
}

/** Joins devices of a namespace to a switch, so that a capture there sees what crosses between them. */
export async function createBridge(namespace: string, device: string, ports: string[]): Promise<void> {
  const ip = (...args: string[]) => run("ip", ["-n", namespace, ...args]);
  await ip("link", "add", device, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0");
  await ip("link", "set", device, "up");
  for (const port of ports) await ip("link", "set", port, "master", device);
}

export async function addRoute(namespace: string, prefix: string, via: string): Promise<void> {
  const family = via.includes(":") ? ["-6"] : [];
  await run("ip", ["-n", namespace, ...family, "route", "replace", prefix, "via", via]);
}
