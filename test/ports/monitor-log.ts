// Changes the network of this namespace step by step and prints what a network monitor tells about each step.

import { spawnSync } from "node:child_process";
import { interfaceIndex } from "../../src/native/libc.js";
import { formatAddress, formatPrefix, type IpAddress, parseAddress } from "../../src/net/address.js";
import type { NetworkListener } from "../../src/net/kernel-network.js";
import { NetworkMonitor } from "../../src/ports/network-monitor.js";
import { report } from "./child.js";

const ip = (text: string) => {
  const { status, stderr } = spawnSync("ip", text.split(" "), { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${text}: ${stderr}`);
};

let told: string[] = [];
const names = new Map<number, string>();
const name = (index: number) => names.get(index) ?? String(index);
const sign = (present: boolean) => (present ? "+" : "-");
const mac = (bytes: Uint8Array | undefined) => (bytes ? Buffer.from(bytes).toString("hex") : "none");
const listener: NetworkListener = {
  reset() {
    told.push("reset");
  },
  link(change, present) {
    names.set(change.index, change.name);
    told.push(`${sign(present)}link ${change.name} ${change.mtu} ${change.up ? "up" : "down"}`);
  },
  address(index, address, prefixLength, present) {
    told.push(`${sign(present)}address ${name(index)} ${formatAddress(address)}/${prefixLength}`);
  },
  route({ prefix, gateway, index, metric, type, behind }, present) {
    const via = gateway ? ` via ${formatAddress(gateway)}` : "";
    const after = present && behind ? " behind" : "";
    told.push(`${sign(present)}route ${type} ${formatPrefix(prefix)}${via} ${name(index)} ${metric}${after}`);
  },
  neighbour(index, address, bytes) {
    told.push(`neighbour ${name(index)} ${formatAddress(address)} ${mac(bytes)}`);
  },
};

const monitor = new NetworkMonitor(listener);
const steps: Record<string, string[]> = {};
const until = (condition: () => boolean) => {
  const end = Date.now() + 3000;
  do {
    const moved = monitor.poll();
    if (condition()) break;
    if (!moved) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  } while (Date.now() < end);
};
function step(title: string, commands: readonly string[], condition?: () => boolean): void {
  told = [];
  for (const command of commands) ip(command);
  const end = Date.now() + 60;
  until(condition ?? (() => Date.now() > end));
  steps[title] = told;
}

steps["start"] = told;
step("route", ["route add 10.1.0.0/16 via 192.0.2.2 metric 5"]);
step("replace", ["route replace 10.1.0.0/16 via 192.0.2.3 metric 5"]);
step("blackhole", ["route replace blackhole 10.1.0.0/16 metric 5"]);
step("delete", ["route del 10.1.0.0/16 metric 5"]);
step("other table", ["route add 10.1.0.0/16 via 192.0.2.2 table 220"]);
step("multipath", ["route add 10.2.0.0/16 nexthop via 192.0.2.2 nexthop via 192.0.2.3"]);
step("route via IPv6", ["route add 10.3.0.0/16 via inet6 2001:db8::2 dev p0"]);
step("IPv6 route", ["-6 route add 2001:db8:1::/48 via 2001:db8::2"]);
step("second next hop", ["-6 route append 2001:db8:1::/48 via 2001:db8::3"]);
step("first next hop leaves", ["-6 route del 2001:db8:1::/48 via 2001:db8::2"]);
step("appended", ["route add 10.4.0.0/16 via 192.0.2.2", "route append 10.4.0.0/16 via 192.0.2.3"]);
step("first of appended leaves", ["route del 10.4.0.0/16 via 192.0.2.2"]);
step("address", ["address add 198.51.100.1/24 dev p0"]);
step("route with source", ["route add 10.5.0.0/16 via 192.0.2.2 src 198.51.100.1"]);
step("address leaves with the route", ["address del 198.51.100.1/24 dev p0"]);
step("static neighbour", ["neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev p0"]);
step("neighbour leaves", ["neigh del 192.0.2.9 dev p0"]);
step("other device", [
  "link add q0 type veth peer name q1",
  "link set q1 up",
  "link set q0 up",
  "address add 192.0.2.200/24 dev q0",
]);
step("to the other device", ["route add 10.6.0.0/16 dev p0", "route replace 10.6.0.0/16 dev q0"]);
step("the first device's route leaves", ["route del 192.0.2.0/24 dev p0"]);
step("and comes back first", ["route prepend 192.0.2.0/24 dev p0 scope link src 192.0.2.1"]);
step("other device leaves", ["link del q0"]);

const index = interfaceIndex("p0");
const address = (text: string) => parseAddress(text) as IpAddress;
const resolved = (text: string) => () => told.some((line) => line.startsWith(`neighbour p0 ${text} 02`));
monitor.use(index, address("192.0.2.2"));
step("use IPv4", [], resolved("192.0.2.2"));
monitor.use(index, address("2001:db8::2"));
step("use IPv6", [], resolved("2001:db8::2"));
monitor.use(index, address("192.0.2.77"));
monitor.use(99999, address("192.0.2.2"));
step("use of what is not there", []);
step("down", ["link set p0 down"]);
step("up", ["link set p0 up"], () => told.some((line) => line.startsWith("+link p0 1500 up")));

// More changes than the receive buffer holds, while nobody reads.
told = [];
const batch: string[] = [];
for (let i = 0; i < 30_000; i++)
  batch.push(`route add 10.${64 + (i >>> 14)}.${(i >>> 6) & 255}.${(i & 63) << 2}/30 via 192.0.2.2`);
const flood = spawnSync("ip", ["-batch", "-"], { input: batch.join("\n"), encoding: "utf8" });
if (flood.status !== 0) throw new Error(flood.stderr);
const routes = (sign: string) => told.filter((line) => line.startsWith(`${sign}route unicast 10.`));
const start = performance.now();
until(() => told.length >= 30_000 && routes("+").length >= 30_000);
const milliseconds = performance.now() - start;
const flooded = { told: routes("+").length, distinct: new Set(routes("+")).size, milliseconds };
const again = spawnSync("ip", ["route", "flush", "root", "10.64.0.0/10"], { encoding: "utf8" });
if (again.status !== 0) throw new Error(again.stderr);
told = [];
until(() => told.length >= 30_000 && routes("-").length >= 30_000);
const flushed = { told: routes("+").length, removed: routes("-").length };
step("link leaves", ["link del p0"]);
monitor.close();
report({ steps, flooded, flushed });
