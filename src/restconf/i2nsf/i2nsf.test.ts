// ietf-i2nsf-ikeless as a controller uses it: what it reads, what it may not see, and what its documentation says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "../json.js";
import { type Rig, startRig, state } from "../testing/rig.js";
import { ikelessAnswer } from "./resource.js";
import { at, both, left, rekeyed, right, root, sad, told } from "./testing/gateways.js";

const patch = { "content-type": "application/yang-patch+json" };

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
