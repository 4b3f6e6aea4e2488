// ietf-i2nsf-ikeless as a controller uses it: what it reads and what it writes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "../json.js";
import { type Rig, startRig, state } from "../testing/rig.js";
import { checkRow, type Row, titleOf } from "../testing/table.js";
import { ikelessAnswer } from "./resource.js";
import { at, both, errorAt, left, right, root, sad, selector, spd, told } from "./testing/gateways.js";

const xml = { "content-type": "application/yang-data+xml" };
const patch = { "content-type": "application/yang-patch+json" };
const spdEntries = [spd(left, "out"), spd(left, "in")];

let rig: Rig;
before(async () => {
  rig = await startRig();
});
after(() => rig.close());

async function put(path: string, body: object, status = 204): Promise<void> {
  const reply = await rig.ask(path, { method: "PUT", body });
  assert.equal(reply.status, status, reply.text);
}

async function read(path: string): Promise<JsonObject> {
  const reply = await rig.ask(path);
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
}

describe("a controller's view of a node", () => {
  beforeEach(() => rig.reset());

  it("shows routes, SAs and security policies that have a form there, and no others", async () => {
    const json = await read(root);
    // foo has two networks, bar has none of the SAs.
    const { spd: policies, sad: sas } = json["ietf-i2nsf-ikeless:ipsec-ikeless"] as {
      spd: { "spd-entry": { name: string; reqid: string }[] };
      sad: { "sad-entry": object[] };
    };
    assert.deepEqual(
      policies["spd-entry"].map(({ name }) => name),
      ["out/bar", "in/bar"],
    );
    assert.deepEqual(sas["sad-entry"], []);
  });

  for (const [name, site] of Object.entries({ left, right })) {
    it(`takes the entries of the ${name} gateway, and gives them back`, async () => {
      const etag = rig.datastore.etag;
      await put(root, both(site));
      assert.notEqual(rig.datastore.etag, etag);
      const document = both(site)["ietf-i2nsf-ikeless:ipsec-ikeless"];
      const json = (await read(root))["ietf-i2nsf-ikeless:ipsec-ikeless"] as typeof document;
      const window = { "anti-replay-window-size": 64 };
      const expected = document.spd["spd-entry"].map((entry) => ({
        ...told(entry),
        "ipsec-policy-config": { ...window, ...told(entry)["ipsec-policy-config"] },
      }));
      assert.deepEqual(json.spd["spd-entry"], expected);
      const byName = (entries: { name: string }[]) => new Map(entries.map((entry) => [entry.name, entry]));
      assert.deepEqual(byName(json.sad["sad-entry"]), byName(document.sad["sad-entry"].map(told)));
      // What has no form there is still there.
      const { configuration } = rig.datastore;
      assert.deepEqual(configuration.route.map(({ id }) => id).sort(), ["foo", "site"]);
      const route = configuration.route.find(({ id }) => id === "site");
      assert.deepEqual(route, {
        id: "site",
        net: [site.farNet],
        "local-net": [site.net],
        gateway: { ip: site.there },
        "local-ip": site.here,
        "if-id": 0,
        mark: 0,
        "controller-reqid": "1",
      });
      assert.deepEqual(
        configuration["inbound-sa"].find(({ spi }) => spi === site.spis[0]),
        {
          spi: site.spis[0],
          route: "site",
          aead: "aes-gcm-16-icv",
          key: site.keys[0].replaceAll(":", "").slice(0, 32),
          salt: site.keys[0].replaceAll(":", "").slice(32),
          esn: true,
          "replay-window": 64,
        },
      );
    });
  }

  it("changes nothing when what was read is written", async () => {
    await put(root, both(left));
    const { number, etag } = rig.datastore;
    await put(root, await read(root));
    assert.deepEqual([rig.datastore.number, rig.datastore.etag], [number, etag]);
  });

  it("tells the state of SAs that are in use", async () => {
    await put(root, both(left));
    const sa = { direction: "in", spi: "000086c5", src: left.there, dst: left.here };
    const counters = { packets: "7", bytes: "700", sequence: "100", "replay-window": 64, age: 60, idle: 2 };
    state.sa.push({ ...sa, ...counters } as unknown as (typeof state.sa)[0]);
    try {
      const json = await read(`${at("sad", "in/34501")}/ipsec-sa-state`);
      assert.deepEqual(json, {
        "ietf-i2nsf-ikeless:ipsec-sa-state": {
          "sa-lifetime-current": { time: 60, bytes: "700", packets: 7, idle: 2 },
          "replay-stats": { "replay-window": { w: 64, t: "100", b: "37" }, "seq-number-counter": "100" },
        },
      });
      const config = JSON.stringify(await read(`${root}?content=config`));
      assert.doesNotMatch(config, /ipsec-sa-state/);
      assert.doesNotMatch(
        JSON.stringify(await read(`${root.replace("/data/", "/ds/ietf-datastores:running/")}`)),
        /sa-state/,
      );
      assert.match(JSON.stringify(await read(`${root}?content=nonconfig`)), /sa-state/);
    } finally {
      state.sa.pop();
    }
  });
});

const bypass = (way: "in" | "out", more: object = {}, action = "bypass") => ({
  name: `${way}/policy/web`,
  direction: `${way}bound`,
  "ipsec-policy-config": {
    "traffic-selector": {
      ...selector(left),
      "inner-protocol": 6,
      "remote-ports": [{ start: 80, end: 443 }],
      ...more,
    },
    "processing-info": { action },
  },
});
const spdWith = (...entries: object[]) => ({ "ietf-i2nsf-ikeless:spd": { "spd-entry": entries } });
const pair = (more: object = {}, action = "bypass") => [
  bypass("out", more, action),
  bypass("in", more, action),
];
const newSa = { ...sad(left, "in"), name: "in/34510" };
const rekeyed = {
  ...newSa,
  "ipsec-sa-config": {
    ...newSa["ipsec-sa-config"],
    spi: 34510,
    "esp-sa": { encryption: { "encryption-algorithm": 20, key: `${"c3:".repeat(19)}c3` } },
  },
};

const rows: Row[] = [
  {
    title: "a further inbound SA",
    path: `${root}/sad`,
    method: "POST",
    body: { "ietf-i2nsf-ikeless:sad-entry": [rekeyed] },
    status: 201,
    has: { location: `${root}/sad/sad-entry=in%2F34510`, etag: /^"\w+"$/ },
    check: async () =>
      assert.deepEqual(await read(at("sad", "in/34510")), {
        "ietf-i2nsf-ikeless:sad-entry": [told(rekeyed)],
      }),
  },
  {
    path: `${root}/sad`,
    method: "POST",
    body: { "ietf-i2nsf-ikeless:sad-entry": [sad(left, "in")] },
    status: 409,
    tag: "data-exists",
    errorPath: errorAt("sad", "in/34501"),
  },
  {
    path: at("sad", "in/34501"),
    method: "DELETE",
    status: 204,
    check: () =>
      assert.deepEqual(
        rig.datastore.configuration["inbound-sa"].map(({ spi }) => spi),
        [1234],
      ),
  },
  { path: at("sad", "in/1"), method: "DELETE", status: 404 },
  {
    title: "the rest of the SA stays",
    path: at("sad", "in/34501"),
    method: "PATCH",
    body: {
      "ietf-i2nsf-ikeless:sad-entry": [
        { name: "in/34501", "ipsec-sa-config": { spi: 34501, "anti-replay-window-size": 1024 } },
      ],
    },
    status: 204,
    check: () => {
      const sa = rig.datastore.configuration["inbound-sa"].find(({ spi }) => spi === 34501);
      assert.equal(sa?.["replay-window"], 1024);
      assert.equal(sa?.key, left.keys[0].replaceAll(":", "").slice(0, 32));
    },
  },
  {
    title: "a leaf, in XML",
    path: `${at("sad", "in/34501")}/ipsec-sa-config/ext-seq-num`,
    method: "PUT",
    headers: xml,
    body: '<ext-seq-num xmlns="urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless">false</ext-seq-num>',
    status: 204,
    check: () =>
      assert.equal(rig.datastore.configuration["inbound-sa"].find(({ spi }) => spi === 34501)?.esn, false),
  },
  {
    title: "to AES-CBC",
    path: at("sad", "in/34501"),
    method: "PUT",
    body: {
      "ietf-i2nsf-ikeless:sad-entry": [
        sad(left, "in", {
          "esp-sa": {
            encryption: { key: `${"0a:".repeat(15)}0A` },
            integrity: { "integrity-algorithm": 12, key: `${"0b:".repeat(31)}0b` },
          },
        }),
      ],
    },
    status: 204,
    check: () => {
      const sa = rig.datastore.configuration["inbound-sa"].find(({ spi }) => spi === 34501);
      assert.deepEqual(
        [sa?.aead, sa?.key, sa?.salt, sa?.["integrity-key"]],
        ["aes-cbc-hmac-sha2-256-128", "0a".repeat(16), undefined, "0b".repeat(32)],
      );
    },
  },
  {
    title: "two policies that let traffic pass, in one request",
    path: `${root}/spd`,
    method: "PUT",
    body: spdWith(...pair(), ...spdEntries),
    status: 204,
    check: async () => {
      assert.deepEqual(rig.datastore.configuration["security-policy"], [
        {
          id: "web",
          action: "bypass",
          "local-ts": ["192.0.2.0/25[6]"],
          "remote-ts": ["192.0.2.128/25[6/80-443]"],
          "if-id": 0,
          mark: 0,
        },
      ]);
      assert.deepEqual(await read(at("spd", "in/policy/web")), {
        "ietf-i2nsf-ikeless:spd-entry": [{ ...bypass("in"), reqid: "0" }],
      });
    },
  },
  {
    title: "what would be evaluated in another order",
    path: `${root}/spd`,
    method: "PUT",
    body: spdWith(...spdEntries, ...pair()),
    status: 501,
    tag: "operation-not-supported",
    errorPath: errorAt("spd", "out/policy/web"),
  },
  {
    title: "several ranges of ports",
    path: `${root}/spd`,
    method: "PUT",
    body: spdWith(
      ...pair({
        "remote-ports": [
          { start: 1, end: 2 },
          { start: 4, end: 5 },
        ],
      }),
      ...spdEntries,
    ),
    status: 501,
    tag: "operation-not-supported",
    errorPath: `${errorAt("spd", "out/policy/web")}/ipsec-policy-config/traffic-selector/remote-ports`,
  },
  {
    title: "in the place of SAs' policies",
    path: `${root}/spd`,
    method: "PUT",
    body: spdWith(...pair()),
    status: 501,
    tag: "operation-not-supported",
    errorPath: `${errorAt("sad", "out/34502")}/reqid`,
  },
  {
    title: "an entry beside another one by YANG Patch",
    path: root,
    method: "PATCH",
    headers: patch,
    body: JSON.stringify({
      "ietf-yang-patch:yang-patch": {
        "patch-id": "pass",
        edit: pair().map((entry, i) => ({
          "edit-id": `${i}`,
          operation: "insert",
          where: "first",
          target: `/spd/spd-entry=${encodeURIComponent(entry.name)}`,
          value: { "ietf-i2nsf-ikeless:spd-entry": [entry] },
        })),
      },
    }),
    status: 200,
    check: () => assert.equal(rig.datastore.configuration["security-policy"].length, 1),
  },
  {
    title: "a tunnel goes with its SAs by YANG Patch",
    path: root,
    method: "PATCH",
    headers: patch,
    body: JSON.stringify({
      "ietf-yang-patch:yang-patch": {
        "patch-id": "gone",
        edit: [
          "spd/spd-entry=out%2Fsite",
          "spd/spd-entry=in%2Fsite",
          "sad/sad-entry=out%2F34502",
          "sad/sad-entry=in%2F34501",
        ].map((path, i) => ({ "edit-id": `${i}`, operation: "delete", target: `/${path}` })),
      },
    }),
    status: 200,
    check: () =>
      assert.deepEqual(
        rig.datastore.configuration.route.map(({ id }) => id),
        ["foo"],
      ),
  },
  {
    title: "everything that is shown",
    path: root,
    method: "DELETE",
    status: 204,
    check: () =>
      assert.deepEqual(
        rig.datastore.configuration["inbound-sa"].map(({ spi }) => spi),
        [1234],
      ),
  },
  {
    title: "only told",
    path: `${root}?vita-dry-run`,
    method: "DELETE",
    status: 200,
    text: [/dry-run/, /inbound-sa/],
    check: () => assert.equal(rig.datastore.configuration["inbound-sa"].length, 2),
  },
  { path: root, method: "DELETE", headers: { "if-match": '"other"' }, status: 412 },
  {
    title: "the name of a route that is not shown",
    path: `${root}/spd`,
    method: "PATCH",
    body: spdWith(
      ...spdEntries.map((entry) => ({ ...entry, name: entry.name.replace("site", "foo"), reqid: "9" })),
    ),
    status: 409,
    tag: "data-exists",
    errorPath: errorAt("spd", "out/foo"),
  },
  {
    title: "a reqid that is taken",
    path: `${root}/spd`,
    method: "PATCH",
    body: spdWith(...spdEntries.map((entry) => ({ ...entry, name: entry.name.replace("site", "other") }))),
    status: 501,
    tag: "operation-not-supported",
    errorPath: `${errorAt("spd", "out/other")}/reqid`,
  },
  {
    title: "an unknown name",
    path: `${root}/spd`,
    method: "PATCH",
    body: { "ietf-i2nsf-ikeless:spd": { nothing: 1 } },
    status: 400,
    tag: "unknown-element",
  },
  {
    title: "a bad value",
    path: `${root}/sad`,
    method: "PATCH",
    body: { "ietf-i2nsf-ikeless:sad": { "sad-entry": [sad(left, "in", { spi: -1 })] } },
    status: 400,
    tag: "invalid-value",
    errorPath: `${errorAt("sad", "in/34501")}/ipsec-sa-config/spi`,
  },
  {
    title: "a bad key, which is not told",
    path: `${root}/sad`,
    method: "PATCH",
    body: {
      "ietf-i2nsf-ikeless:sad": {
        "sad-entry": [sad(left, "in", { "esp-sa": { encryption: { key: "a1:zz" } } })],
      },
    },
    status: 400,
    tag: "invalid-value",
    errorPath: `${errorAt("sad", "in/34501")}/ipsec-sa-config/esp-sa/encryption/key`,
    not: /a1:zz/,
  },
  {
    title: "no key",
    path: `${at("sad", "in/34501")}/ipsec-sa-config/esp-sa/encryption/key`,
    method: "DELETE",
    status: 400,
    tag: "missing-element",
  },
  {
    title: "an SPI that is reserved",
    path: `${root}/sad`,
    method: "POST",
    body: {
      "ietf-i2nsf-ikeless:sad-entry": [
        { ...rekeyed, name: "in/255", "ipsec-sa-config": { ...rekeyed["ipsec-sa-config"], spi: 255 } },
      ],
    },
    status: 400,
    tag: "invalid-value",
    errorPath: `${errorAt("sad", "in/255")}/ipsec-sa-config/spi`,
  },
  {
    title: "a key that is too short",
    path: `${at("sad", "in/34501")}/ipsec-sa-config/esp-sa/encryption/key`,
    method: "PUT",
    body: { "ietf-i2nsf-ikeless:key": `${"a1:".repeat(15)}a1` },
    status: 400,
    tag: "invalid-value",
    errorPath: `${errorAt("sad", "in/34501")}/ipsec-sa-config/esp-sa/encryption/key`,
    message: /^must have 20 or 28 or 36 bytes/,
  },
  {
    title: "a second outbound SA",
    path: `${root}/sad`,
    method: "POST",
    body: { "ietf-i2nsf-ikeless:sad-entry": [{ ...rekeyed, name: "out/34510" }] },
    status: 501,
    tag: "operation-not-supported",
    errorPath: `${errorAt("sad", "out/34510")}/reqid`,
  },
  {
    title: "a key that another SA has: the model's own rules hold",
    path: `${root}/sad`,
    method: "POST",
    body: {
      "ietf-i2nsf-ikeless:sad-entry": [
        {
          ...rekeyed,
          "ipsec-sa-config": {
            ...rekeyed["ipsec-sa-config"],
            "esp-sa": sad(left, "in")["ipsec-sa-config"]["esp-sa"],
          },
        },
      ],
    },
    status: 400,
    tag: "invalid-value",
    errorPath: '/vita-gateway:inbound-sa[spi="34510"]/key',
  },
  { path: `${at("sad", "in/34501")}/ipsec-sa-state`, method: "PUT", body: {}, status: 405 },
  { path: `${root}/nothing`, status: 404 },
  {
    path: root,
    method: "OPTIONS",
    status: 200,
    has: { allow: "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE" },
  },
  {
    title: "in XML",
    path: at("sad", "in/34501"),
    headers: { accept: xml["content-type"] },
    status: 200,
    text: [/<sad-entry xmlns="urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless"><name>in\/34501<\/name>/],
  },
  {
    title: "without what is implied",
    path: `${at("sad", "in/34501")}/ipsec-sa-config?with-defaults=trim`,
    status: 200,
    not: /ext-seq-num|anti-replay/,
    text: /"spi": 34501/,
  },
];

describe("a controller's requests", () => {
  beforeEach(async () => {
    await rig.reset();
    await put(root, both(left));
  });
  for (const row of rows) it(titleOf(row), () => checkRow(rig, row));
});

describe("a controller without the right to see keys", () => {
  const client = { user: "controller", read: true, write: true, secrets: false };
  const ask = (method: string, path: string, body: object = {}) =>
    ikelessAnswer(
      {
        datastore: rig.datastore,
        state: () => state,
        operations: {},
        events: rig.events,
        logger: { info() {}, warn() {} },
      },
      {
        method,
        path: path.slice("/restconf/data".length),
        query: "",
        headers: { "content-type": "application/yang-data+json" },
        body: Buffer.from(JSON.stringify(body)),
        client,
      },
      "/restconf/data",
      "unified",
    );
  const algorithm = { "encryption-algorithm": 20 };
  const esp = `${at("sad", "in/34501")}/ipsec-sa-config/esp-sa/encryption`;

  beforeEach(async () => {
    await rig.reset();
    await put(root, both(left));
  });

  it("reads everything but them", async () => {
    const { document } = await ask("GET", root);
    assert.match(JSON.stringify(document), /"encryption-algorithm":20/);
    assert.doesNotMatch(JSON.stringify(document), /"key":|a1:a1|b2:b2/);
    await assert.rejects(ask("GET", `${esp}/key`), { status: 403 });
  });

  it("changes the rest of an SA, and the key stays", async () => {
    const body = { "ietf-i2nsf-ikeless:ipsec-sa-config": { "anti-replay-window-size": 128 } };
    const { status } = await ask("PATCH", `${at("sad", "in/34501")}/ipsec-sa-config`, body);
    assert.equal(status, 204);
    const sa = rig.datastore.configuration["inbound-sa"].find(({ spi }) => spi === 34501);
    assert.deepEqual([sa?.["replay-window"], sa?.key], [128, "a1".repeat(16)]);
  });

  it("gives an SA another key, but does not take it away", async () => {
    const key = `${"d4:".repeat(19)}d4`;
    const body = (content: object) => ({ "ietf-i2nsf-ikeless:encryption": content });
    assert.equal((await ask("PUT", esp, body({ ...algorithm, key }))).status, 204);
    await assert.rejects(ask("PUT", esp, body(algorithm)), { status: 403 });
    const sa = rig.datastore.configuration["inbound-sa"].find(({ spi }) => spi === 34501);
    assert.equal(sa?.key, "d4".repeat(16));
  });
});

describe("the YANG library", () => {
  it("has the module, and the one that it takes its types from", async () => {
    const library = "/restconf/data/ietf-yang-library:yang-library/module-set=complete";
    const module = {
      name: "ietf-i2nsf-ikeless",
      revision: "2021-07-14",
      namespace: "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless",
    };
    assert.deepEqual(await read(`${library}/module=ietf-i2nsf-ikeless`), {
      "ietf-yang-library:module": [module],
    });
    const imported = await read(`${library}/import-only-module=ietf-i2nsf-ikec,2021-07-14/name`);
    assert.deepEqual(imported, { "ietf-yang-library:name": "ietf-i2nsf-ikec" });
    const state =
      "/restconf/data/ietf-yang-library:modules-state/module=ietf-i2nsf-ikeless,2021-07-14/conformance-type";
    assert.deepEqual(await read(state), { "ietf-yang-library:conformance-type": "implement" });
  });
});

describe("docs/i2nsf.md", () => {
  const text = readFileSync(fileURLToPath(new URL("../../../../docs/i2nsf.md", import.meta.url)), "utf8");
  const blocks = [...text.matchAll(/^```json\n(.*?)^```$/gms)].map(([, block = ""]) => JSON.parse(block));

  it("has an example that gives the route behind it", async () => {
    await rig.reset();
    const [request, route] = blocks;
    const reply = await rig.ask(root, { method: "PATCH", body: request });
    assert.equal(reply.status, 204, reply.text);
    assert.deepEqual(await read("/restconf/data/vita-gateway:route=site"), { "vita-gateway:route": [route] });
  });

  it("has keys changed without loss", async () => {
    const edit = async (...edits: object[]) => {
      const body = { "ietf-yang-patch:yang-patch": { "patch-id": "keys", edit: edits } };
      const reply = await rig.ask(root, { method: "PATCH", headers: patch, body: JSON.stringify(body) });
      assert.equal(reply.status, 200, reply.text);
    };
    const sas = () =>
      (["inbound-sa", "outbound-sa"] as const).map((list) =>
        rig.datastore.configuration[list].filter(({ route }) => route === "site").map(({ spi }) => spi),
      );
    await rig.reset();
    await put(root, both(left));
    const added = await rig.ask(`${root}/sad`, {
      method: "POST",
      body: { "ietf-i2nsf-ikeless:sad-entry": [rekeyed] },
    });
    assert.equal(added.status, 201, added.text);
    assert.deepEqual(sas(), [[34501, 34510], [34502]]);
    const next = sad(left, "out", {
      spi: 34511,
      "esp-sa": { encryption: { "encryption-algorithm": 28, key: `${"d4:".repeat(35)}d4` } },
    });
    await edit(
      { "edit-id": "1", operation: "delete", target: "/sad/sad-entry=out%2F34502" },
      {
        "edit-id": "2",
        operation: "create",
        target: "/sad/sad-entry=out%2F34511",
        value: { "ietf-i2nsf-ikeless:sad-entry": [{ ...next, name: "out/34511" }] },
      },
    );
    assert.deepEqual(sas(), [[34501, 34510], [34511]]);
    await edit({ "edit-id": "1", operation: "delete", target: "/sad/sad-entry=in%2F34501" });
    assert.deepEqual(sas(), [[34510], [34511]]);
  });
});
