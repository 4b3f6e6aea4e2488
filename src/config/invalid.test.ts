// Configurations that are refused: each with the one problem that is told about it, word by word, and a tree into which one is
// put stays as it was.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigurationError, problemText } from "./problem.js";
import { Schema } from "./schema.js";
import { Tree } from "./tree.js";

const minimal = {
  node: "a",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
};
const secret = "5ec2e700".repeat(4);
const route = { id: "r", net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" } };
const policy = { action: "discard", "local-ts": ["10.1.0.0/16[tcp]"], "remote-ts": ["10.0.0.0/8"] };
const sa = { spi: 300, route: "r", key: secret, salt: "01020304" };
const connection = { id: "c", child: [{ id: "k" }] };

const wan = (leaves: object) => ({ ...minimal, "public-interface": [{ name: "wan0", ...leaves }] });
const lan = (leaves: object) => ({ ...minimal, "private-interface": [{ name: "lan0", ...leaves }] });
const owned = (leaves: object) => wan({ mode: "owned", address: ["192.0.2.1/24"], ...leaves });
const inbound = (leaves: object) => ({ ...minimal, route: [route], "inbound-sa": [{ ...sa, ...leaves }] });
const policies = (...leaves: object[]) => ({
  ...minimal,
  "security-policy": leaves.map((each, i) => ({ ...policy, id: "pq"[i], ...each })),
});
const routes = (...leaves: object[]) => ({
  ...minimal,
  route: leaves.map((each, i) => ({ ...route, id: "rs"[i], ...each })),
});
const ike = (leaves: object) => ({ ...minimal, connection: [{ ...connection, ...leaves }] });

/** Documents, or texts, with the line that is told about each. */
const invalid: [unknown, string][] = [
  // Not a document.
  ["", "/: is not JSON: it ends too early, in line 1"],
  ["{", "/: is not JSON: it ends too early, in line 1"],
  [JSON.stringify(inbound({}), null, 2).slice(0, 300), "/: is not JSON: it ends too early, in line 24"],
  [JSON.stringify(inbound({})).slice(0, -1), "/: is not JSON: it ends too early, in line 1"],
  ['{\n  "node": a\n}', "/: is not JSON: line 2, column 11"],
  ['{"node": "a",}', "/: is not JSON: line 1, column 14"],
  ['{"node": "a"} {}', "/: is not JSON: line 1, column 15"],
  [`{"node": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "/: is nested deeper than 64 levels"],
  ["null", "/: null is not an object"],
  ["[]", "/: [] is not an object"],
  // Unknown and misplaced.
  [{ ...minimal, nodes: 1 }, "/nodes: there is no such leaf"],
  [{ ...minimal, "other:leaf": 1 }, "/other:leaf: there is no module other"],
  [wan({ color: 1 }), '/public-interface[name="wan0"]/color: there is no such leaf'],
  [ike({ child: [{ id: "k", color: 1 }] }), '/connection[id="c"]/child[id="k"]/color: there is no such leaf'],
  [{ ...minimal, limits: { routes: 1 } }, "/limits/routes: there is no such leaf"],
  [
    { ...minimal, "gateway-state": {} },
    "/gateway-state: is state, which the node tells, and cannot be configured",
  ],
  [
    wan({ gateway: ["192.0.2.1"] }),
    '/public-interface[name="wan0"]/gateway: "192.0.2.1" is for mode "owned" only',
  ],
  [wan({ punt: { device: "ike0" } }), '/public-interface[name="wan0"]/punt: is for mode "owned" only'],
  [
    inbound({ "integrity-key": secret }),
    '/inbound-sa[spi="300"]/integrity-key: is for aead "aes-cbc-…" only',
  ],
  // Missing.
  [{ ...minimal, node: undefined }, "/node: is missing"],
  [{ ...minimal, "public-interface": undefined }, "/public-interface: is missing"],
  [{ ...minimal, "public-interface": [] }, "/public-interface: is missing"],
  [{ ...minimal, "public-interface": [{ driver: "xdp" }] }, "/public-interface[1]/name: is missing"],
  [{ ...minimal, route: [{ ...route, net: [] }] }, '/route[id="r"]/net: is missing'],
  [{ ...minimal, route: [{ ...route, gateway: {} }] }, '/route[id="r"]/gateway/ip: is missing'],
  [inbound({ key: undefined }), '/inbound-sa[spi="300"]/key: is missing'],
  [inbound({ spi: undefined }), "/inbound-sa[1]/spi: is missing"],
  [ike({ child: undefined }), '/connection[id="c"]/child: is missing'],
  [{ ...minimal, restconf: { tcp: { certificate: "/c.pem" } } }, "/restconf/tcp/private-key: is missing"],
  // There twice.
  ['{"node": "a", "workers": 1, "vita-gateway:workers": 2}', "/workers: is there twice"],
  ['{"limits": {"sas": 2, "sas": 3}}', "/limits/sas: is there twice"],
  [
    { ...minimal, "public-interface": [{ name: "wan0" }, { name: "wan0" }] },
    '/public-interface[name="wan0"]: is there twice',
  ],
  [{ ...minimal, route: [route, { ...route, net: ["10.0.0.0/9"] }] }, '/route[id="r"]: is there twice'],
  [
    { ...minimal, route: [{ ...route, net: ["10.0.0.0/8", "10.0.0.0/8"] }] },
    '/route[id="r"]/net: "10.0.0.0/8" is there twice',
  ],
  [ike({ child: [{ id: "k" }, { id: "k" }] }), '/connection[id="c"]/child[id="k"]: is there twice'],
  [
    { ...minimal, "private-interface": [{ name: "wan0" }] },
    '/private-interface[name="wan0"]/name: "wan0" is already at /public-interface[name="wan0"]/name',
  ],
  [
    {
      ...minimal,
      "private-interface": [
        { name: "t0", driver: "tun" },
        { name: "t1", driver: "tun" },
      ],
    },
    '/private-interface[name="t1"]/driver: "tun" is for one interface only',
  ],
  [
    { ...minimal, route: [route], "outbound-sa": [sa, { ...sa, spi: 301, salt: "00000000" }] },
    '/outbound-sa[spi="301"]/route: "r" is already at /outbound-sa[spi="300"]/route',
  ],
  [
    { ...minimal, route: [route], "inbound-sa": [sa], "outbound-sa": [{ ...sa, key: secret.toUpperCase() }] },
    '/outbound-sa[spi="300"]/key: is already at /inbound-sa[spi="300"]/key, with the same salt',
  ],
  [
    routes({}, { net: ["10.1.0.0/16", "10.9.9.9/8"] }),
    '/route[id="s"]/net: "10.0.0.0/8" is already at /route[id="r"]/net: traffic between two networks has one route',
  ],
  [
    routes({}, { "local-net": ["10.1.0.0/16", "0.0.0.0/0"] }),
    '/route[id="s"]/net: "10.0.0.0/8" is already at /route[id="r"]/net, from 0.0.0.0/0 as here: traffic between two networks has one route',
  ],
  [
    routes(
      {
        net: ["2001:db8::/32", "10.0.0.0/8"],
        "local-net": ["10.3.0.0/16", "10.1.0.0/16"],
        mark: 7,
        "if-id": 42,
      },
      {
        gateway: { ip: "2001:db8::1" },
        "local-net": ["10.2.0.0/16", "10.1.0.0/16"],
        mark: 7,
        "if-id": "0x2a",
      },
    ),
    '/route[id="s"]/net: "10.0.0.0/8" is already at /route[id="r"]/net, from 10.1.0.0/16 as here: traffic between two networks has one route',
  ],
  [
    {
      ...minimal,
      route: [route],
      "inbound-sa": [256, 257].map((spi) => ({
        ...{ spi, route: "r", aead: "aes-cbc-hmac-sha2-256-128", key: secret },
        "integrity-key": `${spi}5ec2e700`.padEnd(64, "0").slice(0, 64),
      })),
    },
    '/inbound-sa[spi="257"]/key: is already at /inbound-sa[spi="256"]/key',
  ],
  // References.
  [{ ...minimal, "inbound-sa": [sa] }, '/inbound-sa[spi="300"]/route: "r" names no entry of /route'],
  [{ ...minimal, "outbound-sa": [sa] }, '/outbound-sa[spi="300"]/route: "r" names no entry of /route'],
  [ike({ pool: ["road"] }), '/connection[id="c"]/pool: "road" names no entry of /pool'],
  // Types.
  [{ ...minimal, node: 5 }, "/node: 5 is not text"],
  [{ ...minimal, node: null }, "/node: null is not text"],
  [{ ...minimal, node: {} }, "/node: {} is not text"],
  [{ ...minimal, workers: "2" }, '/workers: "2" is not a number, but text'],
  [{ ...minimal, workers: 1.5 }, "/workers: 1.5 is not a whole number"],
  [{ ...minimal, workers: 1e30 }, "/workers: 1e+30 is more than 16"],
  [{ ...minimal, "busy-poll": "yes" }, '/busy-poll: "yes" is not a boolean'],
  [{ ...minimal, "public-interface": {} }, "/public-interface: {} is not an array"],
  [{ ...minimal, "public-interface": ["wan0"] }, '/public-interface[1]: "wan0" is not an object'],
  [{ ...minimal, route: {} }, "/route: {} is not an array"],
  [{ ...minimal, route: [route, "s"] }, '/route[2]: "s" is not an object'],
  [{ ...minimal, limits: [] }, "/limits: [] is not an object"],
  [
    ike({ child: [{ id: "k", "rekey-bytes": 5 }] }),
    '/connection[id="c"]/child[id="k"]/rekey-bytes: 5 is not a 64-bit number, which stands in quotes: "1000"',
  ],
  // Ranges and forms.
  [{ ...minimal, workers: 0 }, "/workers: 0 is less than 1"],
  [{ ...minimal, workers: 17 }, "/workers: 17 is more than 16"],
  [{ ...minimal, workers: -1 }, "/workers: -1 is less than 1"],
  [{ ...minimal, limits: { sas: 1e9 } }, "/limits/sas: 1000000000 is more than 524288"],
  [{ ...minimal, mtu: 100 }, "/mtu: 100 is less than 576"],
  [lan({ mtu: 100 }), '/private-interface[name="lan0"]/mtu: 100 is less than 1280'],
  [
    { ...minimal, "public-interface": Array.from({ length: 17 }, (_, i) => ({ name: `wan${i}` })) },
    "/public-interface: has more than 16 entries",
  ],
  [
    { ...minimal, "route-table": 254 },
    "/route-table: 254 is not a routing table that Vita can have for itself: 1 to 32764, but not default, main or local",
  ],
  [{ ...minimal, "transport-route-table": 221 }, "/transport-route-table: 221 is already at /route-table"],
  [
    { ...minimal, node: "../a" },
    "/node: \"../a\" is not a node name: letters, digits, '.', '_' and '-', at most 63",
  ],
  [
    wan({ name: "sixteen-bytes-xx" }),
    "/public-interface[1]/name: \"sixteen-bytes-xx\" is not an interface name: 1 to 15 bytes without white space, '/' and ':'",
  ],
  [
    wan({ name: "fünfzehn-bytes-" }),
    "/public-interface[name=\"fünfzehn-bytes-\"]/name: \"fünfzehn-bytes-\" is not an interface name: 1 to 15 bytes without white space, '/' and ':'",
  ],
  [wan({ driver: "tun" }), '/public-interface[name="wan0"]/driver: "tun" is none of "xdp", "packet"'],
  [
    { ...minimal, "public-interface": [{ driver: "tun", name: "wan'0" }] },
    '/public-interface[name="wan\'0"]/driver: "tun" is none of "xdp", "packet"',
  ],
  [
    lan({ "if-id": -1 }),
    '/private-interface[name="lan0"]/if-id: -1 is not a number from 0 to 4294967295 ("0x2a" will do)',
  ],
  [
    lan({ mark: "4294967296" }),
    '/private-interface[name="lan0"]/mark: "4294967296" is not a number from 0 to 4294967295 ("0x2a" will do)',
  ],
  [
    { ...minimal, route: [{ ...route, net: ["10.0.0.0/8", "10.0.0.0/33"] }] },
    '/route[id="r"]/net: "10.0.0.0/33" is not a prefix, such as 10.1.0.0/16 or 2001:db8::/32',
  ],
  [
    { ...minimal, route: [{ ...route, gateway: { ip: "10.0.0" } }] },
    '/route[id="r"]/gateway/ip: "10.0.0" is not an IP address',
  ],
  [
    { ...minimal, route: [{ ...route, "local-ip": "2001:db8::1" }] },
    '/route[id="r"]/local-ip: "2001:db8::1" is not of the gateway\'s address family',
  ],
  [
    { ...minimal, route: [{ ...route, "local-net": ["2001:db8::/32"] }] },
    '/route[id="r"]/local-net: "2001:db8::/32" has no network of its address family in net',
  ],
  [
    ike({ child: [{ id: "k", "local-ts": ["dynamic", "all"] }] }),
    '/connection[id="c"]/child[id="k"]/local-ts: "all" is not a traffic selector, such as 10.1.0.0/16, dynamic or 10.1.0.1[tcp/443]',
  ],
  [
    ike({ proposal: ["aes128gcm16-x25519", "aes 128"] }),
    '/connection[id="c"]/proposal: "aes 128" is not a proposal, such as aes128gcm16-prfsha256-x25519',
  ],
  [
    { ...minimal, restconf: { tcp: { certificate: "c.pem", "private-key": "/k.pem" } } },
    '/restconf/tcp/certificate: "c.pem" is not an absolute path',
  ],
  [
    { ...minimal, charon: { vici: "charon" } },
    '/charon/vici: "charon" is not a vici socket, such as unix:///var/run/charon.vici',
  ],
  ...["dynamic", "dynamic[tcp/443]", "all"].map((text): [object, string] => [
    policies({ "local-ts": ["10.1.0.0/16", text] }),
    `/security-policy[id="p"]/local-ts: "${text}" is not a selector of addresses, such as 10.1.0.0/16 or 10.1.0.1[tcp/443] (dynamic is for IKE's children alone)`,
  ]),
  ...[
    "10.1.0.9-10.1.0.5",
    "10.1.0.0/33",
    "10.1.0.0/16[nosuch]",
    "10.1.0.0/16[constructor]",
    "10.1.0.0/16[tcp/65536]",
    "::1-10.0.0.1",
  ].map((text): [object, string] => [
    policies({ "remote-ts": [text] }),
    `/security-policy[id="p"]/remote-ts: "${text}" is not a traffic selector: an address, a prefix or a range, and [protocol/port] behind it`,
  ]),
  ...["2001:db8::/32[tcp]", "10.0.0.0/8[udp]"].map((text): [object, string] => [
    policies({ "remote-ts": [text] }),
    '/security-policy[id="p"]/remote-ts: has no selector of the address family and protocol of one in local-ts',
  ]),
  [
    policies({}, { action: "bypass", "local-ts": ["::/0", "10.1.5.0/16[6]"] }),
    '/security-policy[id="q"]/action: "bypass" is not what /security-policy[id="p"]/action says for the same selectors: give the two different priorities',
  ],
  // Rules over several leaves.
  [
    { ...owned({}), workers: 2 },
    '/public-interface[name="wan0"]/mode: "owned" needs /workers 1: what an owned interface hears of its neighbours, one worker alone can hear',
  ],
  [
    { ...minimal, workers: 3, limits: { frames: 262_144 } },
    "/limits/frames: 262144 is too much for so many /workers: together at most 524288",
  ],
  [{ ...minimal, "worker-cpu": [2, 3] }, "/worker-cpu: 2 is one of more CPUs than /workers"],
  [
    { ...ike({}), "data-plane": true },
    "/data-plane: true leaves no IKE: remove /connection, or set it to false",
  ],
  // Owned interfaces.
  [
    wan({ mode: "owned" }),
    '/public-interface[name="wan0"]/address: is missing: in mode "owned" Vita has the addresses from here',
  ],
  ...["192.0.2.1", "192.0.2.0/24", "192.0.2.255/24", "127.0.0.1/8", "fe80::1/64", "ff02::1/64"].map(
    (address): [unknown, string] => [
      owned({ address: [address] }),
      `/public-interface[name="wan0"]/address: "${address}" is not an address of a host with its prefix length, such as 192.0.2.1/24 or 2001:db8::1/64`,
    ],
  ),
  [
    owned({ address: ["192.0.2.1/24", "192.0.2.1/25"] }),
    '/public-interface[name="wan0"]/address: "192.0.2.1/25" is already at /public-interface[name="wan0"]/address',
  ],
  [
    owned({ gateway: ["192.0.3.1"] }),
    '/public-interface[name="wan0"]/gateway: "192.0.3.1" is not on the link: no address of this interface has it in its prefix',
  ],
  [
    owned({ gateway: ["192.0.2.1"] }),
    '/public-interface[name="wan0"]/gateway: "192.0.2.1" is an address of this interface itself',
  ],
  [
    owned({ gateway: ["fe80::1"] }),
    '/public-interface[name="wan0"]/gateway: "fe80::1" has no address of its family on this interface',
  ],
  [
    owned({ gateway: ["192.0.2.2", "192.0.2.3"] }),
    '/public-interface[name="wan0"]/gateway: "192.0.2.3" is the second gateway of its family',
  ],
  [owned({ gateway: ["wan"] }), '/public-interface[name="wan0"]/gateway: "wan" is not an IP address'],
  [
    owned({ gateway: ["224.0.0.1"] }),
    '/public-interface[name="wan0"]/gateway: "224.0.0.1" is not an address of a host',
  ],
  [
    owned({ punt: { device: "lan0" } }),
    '/public-interface[name="wan0"]/punt/device: "lan0" is already at /private-interface[name="lan0"]/name',
  ],
  [
    owned({ punt: { traffic: "some" } }),
    '/public-interface[name="wan0"]/punt/traffic: "some" is none of "ike", "all"',
  ],
  [
    owned({ punt: { "route-table": 221 } }),
    '/public-interface[name="wan0"]/punt/route-table: 221 is already at /route-table',
  ],
  // Keys: none of these lines has one.
  [inbound({ spi: 12 }), "/inbound-sa[1]/spi: 12 is not an SPI: 256 to 4294967295 (RFC 4303, section 2.1)"],
  [inbound({ key: `${secret}zz` }), '/inbound-sa[spi="300"]/key: is not a key: pairs of hexadecimal digits'],
  [
    inbound({ key: "5ec2e7" }),
    '/inbound-sa[spi="300"]/key: is not a key: 16 to 128 bytes as hexadecimal digits',
  ],
  [inbound({ key: 5_222_700 }), '/inbound-sa[spi="300"]/key: is not text'],
  [inbound({ key: [secret] }), '/inbound-sa[spi="300"]/key: is not text'],
  [inbound({ salt: "5ec2e7" }), '/inbound-sa[spi="300"]/salt: is not a salt: 8 hexadecimal digits'],
  [inbound({ salt: undefined }), '/inbound-sa[spi="300"]/salt: is missing, and aes-gcm-16-icv needs it'],
  [
    inbound({ key: `${secret}0000` }),
    '/inbound-sa[spi="300"]/key: has 18 bytes, and aes-gcm-16-icv takes 16, 24 or 32',
  ],
  [
    inbound({ aead: "chacha20-poly1305" }),
    '/inbound-sa[spi="300"]/key: has 16 bytes, and chacha20-poly1305 takes 32',
  ],
  [
    inbound({ aead: "aes-cbc-hmac-sha2-256-128", salt: undefined }),
    '/inbound-sa[spi="300"]/integrity-key: is missing, and aes-cbc-hmac-sha2-256-128 needs it',
  ],
  [
    inbound({ aead: "aes-cbc-hmac-sha2-256-128", "integrity-key": secret.repeat(2) }),
    '/inbound-sa[spi="300"]/salt: has no use: aes-cbc-hmac-sha2-256-128 has no salt',
  ],
  [
    inbound({ aead: "aes-cbc-hmac-sha2-512-256", "integrity-key": secret, salt: undefined }),
    '/inbound-sa[spi="300"]/integrity-key: has 16 bytes, and aes-cbc-hmac-sha2-512-256 takes 64',
  ],
  [ike({ "pre-shared-key": 5 }), '/connection[id="c"]/pre-shared-key: is not text'],
  ...["pass", "drop"].map((mode): [object, string] => [
    ike({ child: [{ id: "n", mode }] }),
    `/connection[id="c"]/child[id="n"]/mode: "${mode}" needs start-action "trap": charon puts a shunt in force with nothing else`,
  ]),
  [ike({ "pre-shared-key": "" }), '/connection[id="c"]/pre-shared-key: is too short'],
];

const schema = Schema.load();

/** What is told about a document that is to take the place of another one. */
function problemsOf(text: string): string[] {
  const running = Tree.parse(schema, JSON.stringify(minimal), "json");
  running.validate();
  const before = running.print(undefined, { format: "json", defaults: "all", secrets: true });
  const candidate = running.clone();
  try {
    candidate.apply({ operation: "replace", target: "/", value: { text, format: "json" } });
    candidate.validate();
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, String(error));
    return error.problems.map(problemText);
  } finally {
    candidate.free();
    assert.equal(running.print(undefined, { format: "json", defaults: "all", secrets: true }), before);
    running.validate();
    running.free();
  }
}

for (const [document, expected] of invalid) {
  const text = typeof document === "string" ? document : JSON.stringify(document);
  test(`refused: ${expected}`, () => {
    const found = problemsOf(text);
    assert.deepEqual(found, [expected]);
    assert.doesNotMatch(found.join(), /5ec2e7/i);
  });
}

const together: [what: string, object, object, of?: (...leaves: object[]) => object][] = [
  ["a route of a narrower network", {}, { net: ["10.0.0.0/9"] }],
  ["a route of a wider network", {}, { net: ["0.0.0.0/0"] }],
  ["a route from another network", { "local-net": ["10.1.0.0/16"] }, { "local-net": ["10.2.0.0/16"] }],
  ["a route from a narrower network", {}, { "local-net": ["10.1.0.0/16"] }],
  ["a route of another customer", {}, { "if-id": 42 }],
  ["a route of another mark", { mark: 7 }, { mark: 8 }],
  // 10.0.0.0/8 and 2001:db8:1::/48 stand in both, but nothing goes from one to the other.
  [
    "a route whose networks are the same in different families",
    { net: ["10.0.0.0/8", "2001:db8:2::/48"], "local-net": ["10.1.0.0/16", "2001:db8:1::/48"] },
    { net: ["10.0.0.0/8", "2001:db8:3::/48"], "local-net": ["10.2.0.0/16", "2001:db8:1::/48"] },
  ],
  ["a policy that says the same", {}, {}, policies],
  ["a policy with a rank of its own", {}, { action: "bypass", priority: 7 }, policies],
  ["a policy of another customer", {}, { action: "bypass", mark: 7 }, policies],
  ["a policy for more", {}, { action: "bypass", "local-ts": ["10.1.0.0/16"] }, policies],
];

for (const [what, one, other, of = routes] of together)
  test(`two go together: one is ${what}`, () => {
    assert.deepEqual(problemsOf(JSON.stringify(of(one, other))), []);
  });

test("several problems are told at once", () => {
  const document = {
    ...minimal,
    nodes: 1,
    workers: 0,
    route: [{ ...route, net: ["10.0.0.0/33"] }, route, { ...route, id: "s", gateway: { ip: "x" } }],
  };
  assert.deepEqual(problemsOf(JSON.stringify(document)), [
    "/nodes: there is no such leaf",
    '/route[id="r"]/net: "10.0.0.0/33" is not a prefix, such as 10.1.0.0/16 or 2001:db8::/32',
    '/route[id="s"]/gateway/ip: "x" is not an IP address',
    "/workers: 0 is less than 1",
  ]);
});
