// Names of protocols and ports on this machine, as /etc/protocols and /etc/services have them.

import { readFileSync } from "node:fs";
import type { Names } from "../net/ip-selector.js";

/** The few that are always known. */
const protocols = new Map([
  ["icmp", 1],
  ["tcp", 6],
  ["udp", 17],
  ["gre", 47],
  ["esp", 50],
  ["ah", 51],
  ["ipv6-icmp", 58],
  ["icmpv6", 58],
  ["ospf", 89],
  ["sctp", 132],
]);

let known: { protocols: Map<string, number>; ports: Map<string, number> } | undefined;

/** Those of this machine. */
export const systemNames: Names = {
  protocol: (name) => protocols.get(name) ?? system().protocols.get(name),
  port: (name) => system().ports.get(name),
};

function system() {
  known ??= { protocols: namesIn("/etc/protocols"), ports: namesIn("/etc/services") };
  return known;
}

/** `name number[/protocol] alias …`, and comments behind `#`. */
function namesIn(path: string): Map<string, number> {
  const names = new Map<string, number>();
  let text = "";
  try {
    text = readFileSync(path, "latin1");
  } catch {
    // A machine without the file has no names.
  }
  for (const line of text.split("\n")) {
    const [name, value, ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
    const parsed = Number.parseInt(value ?? "", 10);
    if (Number.isNaN(parsed)) continue;
    for (const each of [name, ...aliases]) {
      const lower = each.toLowerCase();
      if (!names.has(lower)) names.set(lower, parsed);
    }
  }
  return names;
}
