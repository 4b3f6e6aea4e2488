// What a controller writes by ietf-i2nsf-ikeless, request by request, each beside the left gateway's entries.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { JsonObject } from "../json.js";
import { type Rig, startRig } from "../testing/rig.js";
import { checkRow, type Row, titleOf } from "../testing/table.js";
import { at, both, errorAt, left, rekeyed, root, sad, selector, spd, told } from "./testing/gateways.js";

const xml = { "content-type": "application/yang-data+xml" };
const patch = { "content-type": "application/yang-patch+json" };
const spdEntries = [spd(left, "out"), spd(left, "in")];

let rig: Rig;
before(async () => {
  rig = await startRig();
});
after(() => rig.close());

async function read(path: string): Promise<JsonObject> {
  const reply = await rig.ask(path);
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
}

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
    const reply = await rig.ask(root, { method: "PUT", body: both(left) });
    assert.equal(reply.status, 204, reply.text);
  });
  for (const row of rows) it(titleOf(row), () => checkRow(rig, row));
});
