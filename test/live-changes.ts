// Changes that are none of the workers' business, for reconfiguration.test.ts: a configuration with a route and static SAs, a
// connection, policies, a pool and a secret besides what the flow uses, and one change of each kind.

import type { Child, Connection, StaticRoute } from "../src/config/configuration.js";
import type { VitaConfiguration } from "../src/lab/vita.js";

const KEY = "00112233445566778899aabbccddeeff";
const THIRD_KEY = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
const OTHER_KEY = "ffeeddccbbaa99887766554433221100";

const route = (id: string, more: Partial<StaticRoute> = {}): StaticRoute => ({
  id,
  net: ["10.77.0.0/24"],
  "local-net": ["10.1.0.0/24"],
  gateway: { ip: "192.0.2.77" },
  "if-id": 0,
  mark: 0,
  ...more,
});

const sa = (spi: number, key = KEY) => ({
  spi,
  route: "far",
  aead: "aes-gcm-16-icv" as const,
  key,
  salt: "01020304",
  esn: true,
});
const inbound = (spi: number, key = OTHER_KEY) => ({ ...sa(spi, key), "replay-window": 1024 });

const child = (id: string, more: Partial<Child> = {}): Child => ({
  id,
  "local-ts": ["10.1.0.0/24"],
  "remote-ts": ["10.88.0.0/24"],
  "esp-proposal": ["aes128gcm16"],
  mode: "tunnel",
  "start-action": "none",
  "close-action": "none",
  "dpd-action": "clear",
  ...more,
});

const connection = (id: string, more: Partial<Connection> = {}): Connection => ({
  id,
  "local-address": ["192.0.2.1"],
  "remote-address": ["192.0.2.88"],
  proposal: ["aes128gcm16-prfsha256-x25519"],
  local: { auth: "psk", id: "gw-a", certificate: [], "public-key": [] },
  remote: { auth: "psk", id: "gw-far", certificate: [], "public-key": [], "ca-certificate": [] },
  "pre-shared-key": "of the far gateway",
  "virtual-ip": [],
  pool: [],
  encapsulation: false,
  mobike: true,
  child: [child("net")],
  ...more,
});

/** @param usual what the node has without any of this */
export function furnished(usual: VitaConfiguration, vici: string): VitaConfiguration {
  return {
    ...usual,
    route: [route("far")],
    "inbound-sa": [inbound(1001)],
    "outbound-sa": [sa(2001)],
    "security-policy": [
      {
        id: "web",
        action: "discard",
        "local-ts": ["10.1.0.9/32"],
        "remote-ts": ["10.99.0.0/24"],
        "if-id": 0,
        mark: 0,
      },
    ],
    charon: { vici },
    connection: [connection("far")],
    pool: [{ id: "people", addresses: "10.66.0.0/24", dns: [] }],
    secret: [{ id: "someone", type: "eap", identity: ["someone"], data: "in secret" }],
  };
}

type Edit = (configuration: VitaConfiguration) => Partial<VitaConfiguration>;

/** Each is made, and undone. */
export const liveChanges: [string, Edit][] = [
  ["a route added", (c) => ({ route: [...(c.route ?? []), route("second", { net: ["10.78.0.0/24"] })] })],
  ["a route's gateway changed", () => ({ route: [route("far", { gateway: { ip: "192.0.2.78" } })] })],
  [
    "a route's networks changed",
    () => ({ route: [route("far", { net: ["10.77.0.0/25", "10.79.0.0/24"] })] }),
  ],
  ["a route removed with its SAs", () => ({ route: [], "inbound-sa": [], "outbound-sa": [] })],
  ["an inbound SA added", () => ({ "inbound-sa": [inbound(1001), inbound(1002, THIRD_KEY)] })],
  ["an outbound SA rekeyed", () => ({ "outbound-sa": [sa(2001, THIRD_KEY)] })],
  ["an outbound SA with another SPI", () => ({ "outbound-sa": [sa(2002)] })],
  ["static SAs removed", () => ({ "inbound-sa": [], "outbound-sa": [] })],
  [
    "a security policy added",
    (c) => ({
      "security-policy": [
        ...(c["security-policy"] ?? []),
        {
          id: "dns",
          action: "bypass",
          "local-ts": ["10.1.0.0/24"],
          "remote-ts": ["10.98.0.1/32[udp/53]"],
          "if-id": 0,
          mark: 0,
        },
      ],
    }),
  ],
  ["a security policy removed", () => ({ "security-policy": [] })],
  [
    "a connection added",
    (c) => ({
      connection: [...(c.connection ?? []), connection("farther", { "remote-address": ["192.0.2.89"] })],
    }),
  ],
  ["a connection changed", () => ({ connection: [connection("far", { "dpd-delay": 30 })] })],
  ["a connection removed", () => ({ connection: [] })],
  [
    "a child added",
    () => ({
      connection: [
        connection("far", { child: [child("net"), child("more", { "remote-ts": ["10.89.0.0/24"] })] }),
      ],
    }),
  ],
  [
    "a child changed",
    () => ({ connection: [connection("far", { child: [child("net", { "start-action": "trap" })] })] }),
  ],
  [
    "a pre-shared key changed",
    () => ({ connection: [connection("far", { "pre-shared-key": "a newer one" })] }),
  ],
  ["a pool changed", () => ({ pool: [{ id: "people", addresses: "10.67.0.0/24", dns: ["10.1.0.53"] }] })],
  ["a secret removed", () => ({ secret: [] })],
  ["orphan-seconds", () => ({ limits: { "orphan-seconds": 60 } })],
];
