// From the model to vici, leaf by leaf, with files that are made up; and what is to be done to get from one configuration to
// another.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Child, Configuration, Connection } from "../config/configuration.js";
import { IkeError } from "./ike-error.js";
import type { IkeFiles } from "./ike-files.js";
import { entriesOf, type IkePlan, planOf } from "./ike-items.js";
import {
  authorityFields,
  chainOf,
  connectionFields,
  poolFields,
  preSharedKeyFields,
  secretBytes,
  secretFields,
} from "./ike-messages.js";
import { refusalOf } from "./ike-refusal.js";

/** Every file holds its own name; `chain` two certificates. */
const files: IkeFiles = {
  certificates: (path, file) => {
    if (file === "/missing") throw new IkeError(path, `"${file}" cannot be read (ENOENT)`);
    return file === "/chain" ? [Buffer.from("own"), Buffer.from("middle")] : [Buffer.from(file)];
  },
  authorities: (_, file) => [Buffer.from(`ca ${file}`)],
  publicKey: (_, file) => Buffer.from(`public ${file}`),
  privateKey: (_, file) => Buffer.from(`private ${file}`),
};

const child = (more: Partial<Child> = {}): Child => ({
  id: "net",
  "local-ts": [],
  "remote-ts": [],
  "esp-proposal": [],
  mode: "tunnel",
  "start-action": "none",
  "close-action": "none",
  "dpd-action": "clear",
  ...more,
});

const connection = (more: Partial<Connection> = {}): Connection => ({
  id: "hq",
  "local-address": [],
  "remote-address": [],
  proposal: [],
  local: { auth: "psk", certificate: [], "public-key": [] },
  remote: { auth: "psk", certificate: [], "public-key": [], "ca-certificate": [] },
  "virtual-ip": [],
  pool: [],
  encapsulation: false,
  mobike: true,
  child: [child()],
  ...more,
});

const configuration = (more: Partial<Configuration>) =>
  ({ connection: [], pool: [], secret: [], authority: [], ...more }) as unknown as Configuration;

/** Without what is not sent. */
const sent = (fields: object): unknown => JSON.parse(JSON.stringify(fields));

test("says no more of a connection than the model does", () => {
  assert.deepEqual(sent(connectionFields(connection(), files)), {
    hq: {
      version: "2",
      encap: "no",
      mobike: "yes",
      local: { auth: "psk" },
      remote: { auth: "psk" },
      children: { net: { mode: "tunnel", start_action: "none", close_action: "none", dpd_action: "clear" } },
    },
  });
});

test("says all of a connection that the model does", () => {
  const all = connection({
    "local-address": ["192.0.2.1", "2001:db8::1"],
    "remote-address": ["peer.example.org"],
    "local-port": 4500,
    "remote-port": 4501,
    proposal: ["aes128gcm16-prfsha256-x25519"],
    local: { auth: "pubkey", id: "C=DE, CN=hq", certificate: ["/chain"], "public-key": ["/own.pub"] },
    remote: {
      auth: "eap-mschapv2",
      id: "*@example.org",
      "eap-id": "%any",
      certificate: ["/peer"],
      "public-key": [],
      "ca-certificate": ["/ca"],
    },
    "virtual-ip": ["0.0.0.0", "::"],
    pool: ["four", "six"],
    encapsulation: true,
    mobike: false,
    "dpd-delay": 30,
    "rekey-time": 14400,
    "reauth-time": 0,
    "over-time": 1440,
    keyingtries: 0,
    unique: "replace",
    fragmentation: "force",
    "send-certificate": "always",
    "if-id-in": 42,
    "if-id-out": 43,
    child: [
      child({
        "local-ts": ["10.1.0.0/16", "10.2.0.1-10.2.0.9[tcp/80]"],
        "remote-ts": ["dynamic"],
        "esp-proposal": ["aes128gcm16-x25519-esn", "aes128gcm16-x25519"],
        mode: "transport",
        "start-action": "trap-start",
        "close-action": "start",
        "dpd-action": "restart",
        "rekey-time": 3600,
        "life-time": 3960,
        "rand-time": 60,
        "rekey-bytes": "500000000",
        "life-bytes": "18446744073709551615",
        "rekey-packets": "1000000000000000",
        "life-packets": "18446744073709551615",
        "replay-window": 4096,
        reqid: 7,
        priority: 1000,
        "mark-in": "0x10/0xff",
        "mark-out": "%unique",
        "if-id-in": 1,
        "if-id-out": 2,
      }),
    ],
  });
  const { hq } = connectionFields(all, files);
  assert.deepEqual(hq, {
    version: "2",
    local_addrs: ["192.0.2.1", "2001:db8::1"],
    remote_addrs: ["peer.example.org"],
    local_port: "4500",
    remote_port: "4501",
    proposals: ["aes128gcm16-prfsha256-x25519"],
    vips: ["0.0.0.0", "::"],
    pools: ["four", "six"],
    encap: "yes",
    mobike: "no",
    dpd_delay: "30",
    rekey_time: "14400",
    reauth_time: "0",
    over_time: "1440",
    keyingtries: "0",
    unique: "replace",
    fragmentation: "force",
    send_cert: "always",
    if_id_in: "42",
    if_id_out: "43",
    local: {
      auth: "pubkey",
      id: "C=DE, CN=hq",
      eap_id: undefined,
      certs: [Buffer.from("own")],
      pubkeys: [Buffer.from("public /own.pub")],
    },
    remote: {
      auth: "eap-mschapv2",
      id: "*@example.org",
      eap_id: "%any",
      certs: [Buffer.from("/peer")],
      pubkeys: undefined,
      cacerts: [Buffer.from("ca /ca")],
    },
    children: {
      net: {
        local_ts: ["10.1.0.0/16", "10.2.0.1-10.2.0.9[tcp/80]"],
        remote_ts: ["dynamic"],
        esp_proposals: ["aes128gcm16-x25519-esn", "aes128gcm16-x25519"],
        mode: "transport",
        start_action: "trap|start",
        close_action: "start",
        dpd_action: "restart",
        rekey_time: "3600",
        life_time: "3960",
        rand_time: "60",
        rekey_bytes: "500000000",
        // charon reads at most 15 characters of a number.
        life_bytes: "17179869183g",
        rekey_packets: "0x38d7ea4c68000",
        life_packets: "0xfffffffffffff",
        replay_window: "4096",
        reqid: "7",
        priority: "1000",
        mark_in: "0x10/0xff",
        mark_out: "%unique",
        if_id_in: "1",
        if_id_out: "2",
      },
    },
  });
  assert.deepEqual(chainOf(all, files), [Buffer.from("middle")]);
});

test("gives a pre-shared key to the two identities, or to what takes their place", () => {
  const owners = (more: Partial<Connection>) =>
    preSharedKeyFields(connection({ "pre-shared-key": "x", ...more }))?.["owners"];
  const { local, remote } = connection();
  const a = { ...local, id: "gw-a" };
  const b = { ...remote, id: "gw-b" };
  assert.deepEqual(owners({ local: a, remote: b }), ["gw-a", "gw-b"]);
  assert.deepEqual(owners({ local: a, "remote-address": ["192.0.2.2", "b.example"] }), [
    "gw-a",
    "192.0.2.2",
    "%any",
  ]);
  assert.deepEqual(owners({ "local-address": ["2001:db8::1"], remote: b }), ["2001:db8::1", "gw-b"]);
  assert.deepEqual(owners({}), ["%any"]);
  assert.equal(preSharedKeyFields(connection()), undefined);
});

test("reads secrets as text, hexadecimal digits and Base64", () => {
  assert.deepEqual(secretBytes("/", "grüße"), Buffer.from("grüße"));
  assert.deepEqual(secretBytes("/", "0xdeadBEEF"), Buffer.from([0xde, 0xad, 0xbe, 0xef]));
  assert.deepEqual(secretBytes("/", "0sAQID/w=="), Buffer.from([1, 2, 3, 255]));
  assert.deepEqual(secretBytes("/", "0sAQID/w"), Buffer.from([1, 2, 3, 255]));
  for (const wrong of ["0xabc", "0x", "0xzz", "0s", "0sA", "0sAQ=D", "0s####"])
    assert.throws(
      () => secretBytes('/secret[id="x"]/data', wrong),
      ({ message }: Error) =>
        message.startsWith('/secret[id="x"]/data: is not ') && (wrong.length < 3 || !message.includes(wrong)),
    );
});

test("says pools, secrets and authorities", () => {
  assert.deepEqual(poolFields({ id: "four", addresses: "10.9.0.0/24", dns: ["10.0.0.53"] }), {
    four: { addrs: "10.9.0.0/24", dns: ["10.0.0.53"] },
  });
  assert.deepEqual(secretFields({ id: "joe", type: "eap", identity: ["joe"], data: "pass" }), {
    id: "vita/secret/joe",
    type: "EAP",
    data: Buffer.from("pass"),
    owners: ["joe"],
  });
  assert.equal(secretFields({ id: "all", type: "ike", identity: [], data: "pass" })["owners"], undefined);
  assert.deepEqual(authorityFields({ id: "root", "ca-certificate": "/root" }, files), {
    root: { cacert: Buffer.from("ca /root") },
  });
});

const names = ({ load, unload, childrenGone }: IkePlan) => ({
  load: load.map(({ item, former }) => `${former ? "again " : ""}${item.kind} ${item.path}`),
  unload: unload.map(({ kind, path }) => `${kind} ${path}`),
  childrenGone,
});

test("does what differs, in the order in which one needs the other", () => {
  const withKey = (id: string) =>
    connection({
      id,
      "pre-shared-key": "x",
      local: { ...connection().local, auth: "pubkey", certificate: ["/chain"], "private-key": "/key" },
    } as Partial<Connection>);
  const pool = [{ id: "four", addresses: "10.9.0.0/24", dns: [] }];
  const authority = [{ id: "root", "ca-certificate": "/root" }];
  const nothing = new Map();
  const one = entriesOf(configuration({ connection: [withKey("a")], pool, authority }), files);
  const path = '/connection[id="a"]';
  assert.deepEqual(names(planOf(nothing, one)), {
    load: [
      'authority /authority[id="root"]/ca-certificate',
      `certificate ${path}/local/certificate`,
      `key ${path}/local/private-key`,
      `secret ${path}/pre-shared-key`,
      'pool /pool[id="four"]',
      `connection ${path}`,
    ],
    unload: [],
    childrenGone: [],
  });
  // A second one has the key in common with the first, and only what is its own goes with the first.
  const two = entriesOf(
    configuration({ connection: [withKey("a"), withKey("b")], pool, authority }),
    files,
    one,
  );
  assert.deepEqual(names(planOf(one, two)).load, [
    'secret /connection[id="b"]/pre-shared-key',
    'connection /connection[id="b"]',
  ]);
  const left = entriesOf(configuration({ connection: [withKey("b")], authority }), files, two);
  assert.deepEqual(names(planOf(two, left)), {
    load: [],
    unload: [`connection ${path}`, 'pool /pool[id="four"]', `secret ${path}/pre-shared-key`],
    childrenGone: [],
  });
  assert.deepEqual(names(planOf(left, nothing)).unload, [
    'connection /connection[id="b"]',
    'secret /connection[id="b"]/pre-shared-key',
    'key /connection[id="b"]/local/private-key',
    'certificate /connection[id="b"]/local/certificate',
    'authority /authority[id="root"]/ca-certificate',
  ]);
});

test("loads of a connection that changes only what is another than before", () => {
  const before = connection({ "pre-shared-key": "x", child: [child(), child({ id: "voice" })] });
  const one = entriesOf(configuration({ connection: [before] }), files);
  const secret = entriesOf(configuration({ connection: [{ ...before, "pre-shared-key": "y" }] }), files, one);
  assert.deepEqual(names(planOf(one, secret)).load, ['again secret /connection[id="hq"]/pre-shared-key']);
  const fewer = entriesOf(configuration({ connection: [{ ...before, child: [child()] }] }), files, one);
  assert.deepEqual(names(planOf(one, fewer)), {
    load: ['again connection /connection[id="hq"]'],
    unload: [],
    childrenGone: [["hq", "voice"]],
  });
  const same = entriesOf(configuration({ connection: [{ ...before }] }), files, one);
  assert.deepEqual(names(planOf(one, same)), { load: [], unload: [], childrenGone: [] });
});

test("names the leaf of a file that cannot be used, or goes on without the entry", () => {
  const broken = connection({ local: { auth: "pubkey", certificate: ["/missing"], "public-key": [] } });
  const both = configuration({ connection: [broken, connection({ id: "fine" })] });
  const message = '/connection[id="hq"]/local/certificate: "/missing" cannot be read (ENOENT)';
  assert.throws(() => entriesOf(both, files), { name: "IkeError", message });
  const problems: string[] = [];
  const entries = entriesOf(both, files, new Map(), (error) => problems.push(error.message));
  assert.deepEqual([...entries.keys()], ["connection fine"]);
  assert.deepEqual(problems, [message]);
});

test("finds the leaf that charon means", () => {
  const all = connection({
    proposal: ["x"],
    child: [
      child({ "esp-proposal": ["y"], "rekey-time": 1 }),
      child({ id: "voice", "local-ts": ["z"], "mark-in": "1" }),
    ],
  });
  const [entry] = entriesOf(configuration({ connection: [all] }), files).values();
  const item = entry.items[0];
  const path = (option: string) =>
    refusalOf(item, entry.source, `invalid value for: ${option}, config discarded`).path;
  assert.equal(path("proposals"), '/connection[id="hq"]/proposal');
  assert.equal(path("esp_proposals"), '/connection[id="hq"]/child[id="net"]/esp-proposal');
  assert.equal(path("local_ts"), '/connection[id="hq"]/child[id="voice"]/local-ts');
  assert.equal(path("mark_in"), '/connection[id="hq"]/child[id="voice"]/mark-in');
  assert.equal(path("auth"), '/connection[id="hq"]');
  assert.equal(
    refusalOf(item, entry.source, "what?").message,
    '/connection[id="hq"]: charon refuses it: what?',
  );
});
