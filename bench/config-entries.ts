// Configurations with thousands of entries, as somebody would write them who connects so many sites: routes with their static
// SAs, and connections with a child and a pre-shared key each.

import type { VitaConfiguration } from "../src/lab/vita.js";

type Entries = Pick<VitaConfiguration, "route" | "inbound-sa" | "outbound-sa" | "connection">;
type Entry<List extends keyof Entries> = NonNullable<Entries[List]>[number];

/** So many digits of a number, with others before it. */
const hex = (prefix: string, n: number, digits: number) =>
  prefix + n.toString(16).padStart(digits - prefix.length, "0");

/** Site number n has a /24 of its own in 10/8, or in 11/8 for connections: no two entries overlap. */
const net = (first: number, n: number) => `${first}.${n >> 8}.${n & 255}.0/24`;

export function route(n: number): Entry<"route"> {
  const gateway = { ip: `198.18.${n >> 8}.${n & 255}` };
  return { id: `route-${n}`, net: [net(10, n)], "local-net": ["192.168.0.0/16"], gateway };
}

function sa(n: number, prefix: string, spi: number): Entry<"outbound-sa"> {
  const key = hex(prefix, n, 32);
  return { spi, route: `route-${n}`, aead: "aes-gcm-16-icv", key, salt: "01020304" };
}

export const inboundSa = (n: number) => sa(n, "1", 0x1_0000 + n);
export const outboundSa = (n: number) => sa(n, "2", 0x2_0000 + n);

/** Nobody is there at the other end, and nothing is started. */
export function connection(n: number): Entry<"connection"> {
  return {
    id: `connection-${n}`,
    "local-address": ["192.0.2.1"],
    "remote-address": [`198.19.${n >> 8}.${n & 255}`],
    proposal: ["aes128gcm16-prfsha256-x25519"],
    local: { auth: "psk", id: "gateway.example" },
    remote: { auth: "psk", id: `site-${n}.example` },
    "pre-shared-key": `0x${hex("3", n, 64)}`,
    child: [{ id: "net", "local-ts": ["192.168.0.0/16"], "remote-ts": [net(11, n)] }],
  };
}

export type Kind = "routes" | "SAs" | "connections";

/** So many of each kind; SAs are one inbound and one outbound for each route. */
export function entries(kinds: readonly Kind[], count: number): Entries {
  const list = <T>(make: (n: number) => T) => Array.from({ length: count }, (_, n) => make(n));
  return {
    ...(kinds.includes("routes") && { route: list(route) }),
    ...(kinds.includes("SAs") && { "inbound-sa": list(inboundSa), "outbound-sa": list(outboundSa) }),
    ...(kinds.includes("connections") && { connection: list(connection) }),
  };
}
