// ietf-i2nsf-ikeless as a controller uses it: what it reads, what it writes, and what it is told when a node cannot do it.
// The entries are those of two gateways with a tunnel between them (RFC 9061, appendix B has two hosts).

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { JsonObject } from "../json.js";
import { key, outboundKey, type Rig, salt, startRig, state } from "../testing/rig.js";
import { checkRow, type Row, titleOf } from "../testing/table.js";

const root = "/restconf/data/ietf-i2nsf-ikeless:ipsec-ikeless";
const xml = { "content-type": "application/yang-data+xml" };
const patch = { "content-type": "application/yang-patch+json" };
const errorRoot = "/ietf-i2nsf-ikeless:ipsec-ikeless";

interface Site {
  here: string;
  there: string;
  net: string;
  farNet: string;
  /** Its inbound SPI, and its outbound one. */
  spis: [number, number];
  keys: [string, string];
}

const keys: [string, string] = [`${"a1:".repeat(19)}a1`, `${"b2:".repeat(19)}b2`];
const left: Site = {
  here: "203.0.113.1",
  there: "203.0.113.2",
  net: "192.0.2.0/25",
  farNet: "192.0.2.128/25",
  spis: [34501, 34502],
  keys,
};
const right: Site = {
  here: left.there,
  there: left.here,
  net: left.farNet,
  farNet: left.net,
  spis: [34502, 34501],
  keys: [keys[1], keys[0]],
};

const selector = ({ net, farNet }: Site) => ({ "local-prefix": net, "remote-prefix": farNet });
const tunnel = ({ here, there }: Site) => ({ local: here, remote: there, "df-bit": "copy" });

function spd(site: Site, way: "in" | "out", more: JsonObject = {}) {
  return {
    name: `${way}/site`,
    direction: `${way}bound`,
    reqid: "1",
    "ipsec-policy-config": {
      "traffic-selector": { ...selector(site), "inner-protocol": "any" },
      "processing-info": {
        action: "protect",
        "ipsec-sa-cfg": {
          "pfp-flag": false,
          "ext-seq-num": true,
          "seq-overflow": false,
          "stateful-frag-check": false,
          mode: "tunnel",
          "protocol-parameters": "esp",
          "esp-algorithms": {
            encryption: [{ id: 1, "algorithm-type": 20, "key-length": 128 }],
            "tfc-pad": false,
          },
          tunnel: tunnel(site),
        },
      },
    },
    ...more,
  };
}

function sad(site: Site, way: "in" | "out", config: JsonObject = {}) {
  const i = way === "in" ? 0 : 1;
  return {
    name: `${way}/${site.spis[i]}`,
    reqid: "1",
    "ipsec-sa-config": {
      spi: site.spis[i],
      "ext-seq-num": true,
      "seq-overflow": false,
      "anti-replay-window-size": 64,
      "traffic-selector": { ...selector(site), "inner-protocol": "any" },
      "protocol-parameters": "esp",
      mode: "tunnel",
      "esp-sa": { encryption: { "encryption-algorithm": 20, key: site.keys[i] } },
      "sa-lifetime-hard": { time: 0, bytes: "0", packets: 0, idle: 0 },
      tunnel: tunnel(site),
      ...config,
    },
  };
}

const both = (site: Site) => ({
  "ietf-i2nsf-ikeless:ipsec-ikeless": {
    spd: { "spd-entry": [spd(site, "out"), spd(site, "in")] },
    sad: { "sad-entry": [sad(site, "out"), sad(site, "in")] },
  },
});

/** What is told of an entry: without what says only that a node does what every node does. */
function told<Entry extends object>(entry: Entry): Entry {
  const only = ["pfp-flag", "seq-overflow", "stateful-frag-check", "tfc-pad", "sa-lifetime-hard"];
  const text = JSON.stringify(entry, (name, value) => (only.includes(name) ? undefined : value));
  return JSON.parse(text) as Entry;
}

const at = (list: "spd" | "sad", name: string) => `${root}/${list}/${list}-entry=${encodeURIComponent(name)}`;
const errorAt = (list: "spd" | "sad", name: string) => `${errorRoot}/${list}/${list}-entry[name='${name}']`;

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

  it("is kept from clients without the right to see keys by nothing but their keys", async () => {
    await put(root, both(left));
    const { IkelessSource } = await import("./source.js");
    const source = new IkelessSource(rig.datastore);
    const path = `${errorRoot}/sad`;
    const print = (secrets: boolean) =>
      source.read(path, { format: "json", defaults: "explicit", secrets }) ?? "";
    assert.match(print(true), /"key":"a1:a1/);
    assert.doesNotMatch(print(false), /"key":|a1:a1|b2:b2/);
    assert.match(print(false), /"encryption-algorithm":20/);
  });

  it("tells the state of SAs that are in use", async () => {
    await put(root, both(left));
    const sa = { direction: "in", spi: "0x86c5", src: left.there, dst: left.here };
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
void [checkRow, titleOf, key, outboundKey, salt, xml, patch, errorAt];

export type { Row };
