// What is changed, request by request, against RFC 8040's rules. Every row begins with the same configuration.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { key, otherKey, type Rig, salt, site, startRig } from "./testing/rig.js";
import { checkRow, type Row, titleOf } from "./testing/table.js";

const data = "/restconf/data";
const json = { "content-type": "application/yang-data+json" };
const xml = { "content-type": "application/yang-data+xml" };
const restconf = "urn:ietf:params:xml:ns:yang:ietf-restconf";
const netconf = 'xmlns:n="urn:ietf:params:xml:ns:netconf:base:1.0" n:operation="delete"';
const removedRoute = `<route xmlns="urn:vita:gateway" ${netconf}><id>bar</id></route>`;
const removedNet = `<net ${netconf}>10.3.0.0/16</net>`;
const baz = { id: "baz", net: ["10.5.0.0/16"], gateway: { ip: "192.0.2.5" } };
const foo = { id: "foo", net: ["10.6.0.0/16"], gateway: { ip: "192.0.2.6" } };

/** Looks at a resource after the row's request. */
function then(path: string, expected: object | 404): NonNullable<Row["check"]> {
  return async (_reply, rig) => {
    const reply = await rig.ask(`${data}${path}`);
    if (expected === 404) assert.equal(reply.status, 404, reply.text);
    else assert.deepEqual(reply.json, expected);
  };
}

const names = (reply: { json: object }, list: string) =>
  ((reply.json as Record<string, Record<string, string>[]>)[`vita-gateway:${list}`] ?? []).map(
    (entry) => entry["name"] ?? entry["id"],
  );

function order(...expected: string[]): NonNullable<Row["check"]> {
  return async (_reply, rig) => {
    assert.deepEqual(
      names(await rig.ask(`${data}/vita-gateway:public-interface`), "public-interface"),
      expected,
    );
  };
}

const rows: Row[] = [
  // POST.
  {
    path: data,
    method: "POST",
    body: { "vita-gateway:route": [baz] },
    status: 201,
    has: { location: `${data}/vita-gateway:route=baz`, etag: /^"\w+"$/, "last-modified": /GMT$/ },
    check: then("/vita-gateway:route=baz", { "vita-gateway:route": [baz] }),
  },
  {
    title: "in XML",
    path: data,
    method: "POST",
    headers: xml,
    body: '<route xmlns="urn:vita:gateway"><id>baz</id><net>10.5.0.0/16</net><gateway><ip>192.0.2.5</ip></gateway></route>',
    status: 201,
    has: { location: `${data}/vita-gateway:route=baz` },
    check: then("/vita-gateway:route=baz", { "vita-gateway:route": [baz] }),
  },
  {
    title: "below an entry",
    path: `${data}/vita-gateway:connection=site`,
    method: "POST",
    body: { "vita-gateway:child": [{ id: "b&=/ü".slice(0, 1), "remote-ts": ["10.8.0.0/16"] }] },
    status: 201,
    has: { location: `${data}/vita-gateway:connection=site/child=b` },
  },
  {
    title: "a leaf-list's entry",
    path: `${data}/vita-gateway:route=foo`,
    method: "POST",
    body: { "vita-gateway:net": ["10.7.0.0/16"] },
    status: 201,
    has: { location: `${data}/vita-gateway:route=foo/net=10.7.0.0%2F16` },
  },
  {
    title: "a leaf",
    path: data,
    method: "POST",
    body: { "vita-gateway:mtu": 1400 },
    status: 201,
    has: { location: `${data}/vita-gateway:mtu` },
    check: then("/vita-gateway:mtu", { "vita-gateway:mtu": 1400 }),
  },
  {
    path: data,
    method: "POST",
    body: { "vita-gateway:route": [{ ...baz, id: "foo" }] },
    status: 409,
    tag: "data-exists",
    check: then("/vita-gateway:route=foo/gateway/ip", { "vita-gateway:ip": "192.0.2.2" }),
  },
  {
    title: "a container without presence, which is there only once something in it is",
    path: data,
    method: "POST",
    body: { "vita-gateway:limits": { sas: 100 } },
    status: 201,
    check: async (_reply, rig) => {
      const again = await rig.ask(data, {
        method: "POST",
        body: { "vita-gateway:limits": { frames: 2048 } },
      });
      assert.equal(again.status, 409);
      const frames = { "vita-gateway:frames": 2048 };
      assert.equal(
        (await rig.ask(`${data}/vita-gateway:limits`, { method: "POST", body: frames })).status,
        201,
      );
      const { json } = await rig.ask(`${data}/vita-gateway:limits`);
      assert.deepEqual(json, { "vita-gateway:limits": { sas: 100, frames: 2048 } });
    },
  },
  {
    path: `${data}/vita-gateway:route=nobody`,
    method: "POST",
    body: { "vita-gateway:mark": 1 },
    status: 404,
  },
  { path: `${data}/vita-gateway:workers`, method: "POST", body: {}, status: 405, has: { allow: /PUT/ } },
  { path: `${data}/vita-gateway:route`, method: "POST", body: { "vita-gateway:route": [baz] }, status: 400 },
  { path: data, method: "POST", headers: json, status: 400, tag: "malformed-message", message: /no body/ },
  { path: data, method: "POST", headers: json, body: "{", status: 400, tag: "malformed-message" },
  { path: data, method: "POST", headers: json, body: "[]", status: 400, tag: "malformed-message" },
  {
    title: "two nodes",
    path: data,
    method: "POST",
    body: { "vita-gateway:mtu": 1400, "vita-gateway:engine": "node" },
    status: 400,
    tag: "malformed-message",
  },
  {
    path: data,
    method: "POST",
    body: { "vita-gateway:route": [baz, foo] },
    status: 400,
    tag: "malformed-message",
  },
  {
    path: data,
    method: "POST",
    body: { "vita-gateway:route": [{ net: baz.net, gateway: baz.gateway }] },
    status: 400,
    tag: "missing-element",
  },
  { path: data, method: "POST", body: { "vita-gateway:nonsense": 1 }, status: 400, tag: "unknown-element" },
  {
    title: "a leaf inside that there is not",
    path: data,
    method: "POST",
    body: { "vita-gateway:route": [{ ...baz, nonsense: 1 }] },
    status: 400,
    tag: "unknown-element",
    errorPath: '/vita-gateway:route[id="baz"]/nonsense',
  },
  {
    path: data,
    method: "POST",
    body: { "vita-gateway:gateway-state": {} },
    status: 400,
    tag: "invalid-value",
  },
  {
    title: "a value that is none of the enumeration's",
    path: data,
    method: "POST",
    body: { "vita-gateway:engine": "steam" },
    status: 400,
    tag: "invalid-value",
    errorPath: "/vita-gateway:engine",
    message: /"steam" is none of/,
  },
  {
    title: "a reference to nothing",
    path: data,
    method: "POST",
    body: { "vita-gateway:inbound-sa": [{ spi: 999, route: "nobody", key, salt }] },
    status: 409,
    tag: "data-missing",
    not: new RegExp(key),
  },
  {
    title: "a bad key is not repeated",
    path: data,
    method: "POST",
    body: { "vita-gateway:inbound-sa": [{ spi: 999, route: "foo", key: "secret-that-is-no-key", salt }] },
    status: 400,
    tag: "invalid-value",
    not: /secret-that/,
  },
  {
    title: "a broken body's text is not repeated",
    path: data,
    method: "POST",
    headers: json,
    body: `{"vita-gateway:inbound-sa":[{"key":"${key}" x}]}`,
    status: 400,
    not: new RegExp(key.slice(0, 10)),
  },
  { path: data, method: "POST", headers: { "content-type": "application/json" }, body: "{}", status: 415 },
  { path: data, method: "POST", body: "{}", status: 415, has: { accept: /yang-data\+json/ } },
  {
    path: data,
    method: "POST",
    headers: { "content-type": "application/yang-data+json; charset=latin1" },
    body: "{}",
    status: 415,
  },
  {
    path: data,
    method: "POST",
    headers: { ...json, "content-encoding": "gzip" },
    body: "{}",
    status: 415,
    has: { "accept-encoding": /^identity$/ },
  },
  {
    title: "members that come twice",
    path: data,
    method: "POST",
    headers: json,
    body: '{"vita-gateway:mtu":1400,"vita-gateway:mtu":1300}',
    status: 400,
    tag: "malformed-message",
  },
  {
    title: "members that come twice, deep inside",
    path: data,
    method: "PATCH",
    headers: json,
    body: '{"ietf-restconf:data":{"vita-gateway:mtu":1400,"vita-gateway:\\u006dtu":1300}}',
    status: 400,
    tag: "malformed-message",
    message: /is there twice/,
  },
  {
    title: "not UTF-8",
    path: data,
    method: "POST",
    headers: json,
    body: Buffer.from([0x7b, 0xff, 0x7d]),
    status: 400,
  },
  {
    title: "an error in XML for a body in XML",
    path: data,
    method: "POST",
    headers: xml,
    body: "<route>",
    status: 400,
    has: { "content-type": "application/yang-data+xml" },
    text: /<error-tag>malformed-message</,
  },
  {
    title: "entities",
    path: data,
    method: "POST",
    headers: xml,
    body: '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><mtu xmlns="urn:vita:gateway">&x;</mtu>',
    status: 400,
    text: /document type/,
    not: /root:/,
  },
  {
    path: data,
    method: "POST",
    headers: xml,
    body: '<mtu xmlns="urn:other">1400</mtu>',
    status: 400,
    text: /unknown-namespace/,
  },

  // PUT.
  {
    path: `${data}/vita-gateway:route=baz`,
    method: "PUT",
    body: { "vita-gateway:route": [baz] },
    status: 201,
    check: then("/vita-gateway:route=baz", { "vita-gateway:route": [baz] }),
  },
  {
    title: "replaces all of an entry",
    path: `${data}/vita-gateway:route=foo`,
    method: "PUT",
    body: { "vita-gateway:route": [foo] },
    status: 204,
    has: { etag: /^"/ },
    check: then("/vita-gateway:route=foo", { "vita-gateway:route": [foo] }),
  },
  {
    path: `${data}/vita-gateway:workers`,
    method: "PUT",
    body: { "vita-gateway:workers": 3 },
    status: 204,
    check: then("/vita-gateway:workers", { "vita-gateway:workers": 3 }),
  },
  {
    title: "in XML",
    path: `${data}/vita-gateway:route=foo/gateway`,
    method: "PUT",
    headers: xml,
    body: '<gateway xmlns="urn:vita:gateway"><ip>192.0.2.9</ip></gateway>',
    status: 204,
    check: then("/vita-gateway:route=foo/gateway/ip", { "vita-gateway:ip": "192.0.2.9" }),
  },
  {
    title: "another key than in the path",
    path: `${data}/vita-gateway:route=foo`,
    method: "PUT",
    body: { "vita-gateway:route": [baz] },
    status: 400,
    tag: "invalid-value",
  },
  {
    title: "another node than in the path",
    path: `${data}/vita-gateway:workers`,
    method: "PUT",
    body: { "vita-gateway:mtu": 1400 },
    status: 400,
    tag: "invalid-value",
  },
  {
    path: `${data}/vita-gateway:workers`,
    method: "PUT",
    body: { "vita-gateway:workers": 17 },
    status: 400,
    tag: "invalid-value",
    message: /17/,
  },
  {
    title: "a condition of the model's",
    path: `${data}/vita-gateway:data-plane`,
    method: "PUT",
    body: { "vita-gateway:data-plane": true },
    status: 412,
    tag: "operation-failed",
    errorPath: "/vita-gateway:data-plane",
  },
  {
    path: `${data}/vita-gateway:connection=x/child=y`,
    method: "PUT",
    body: { "vita-gateway:child": [{ id: "y" }] },
    status: 404,
  },
  { path: `${data}/vita-gateway:route`, method: "PUT", body: { "vita-gateway:route": [baz] }, status: 400 },
  {
    path: `${data}/vita-gateway:route=foo/id`,
    method: "PUT",
    body: { "vita-gateway:id": "foo" },
    status: 405,
  },
  {
    path: `${data}/vita-gateway:gateway-state/started`,
    method: "PUT",
    body: {},
    status: 405,
    tag: "operation-not-supported",
  },
  {
    title: "the datastore",
    path: data,
    method: "PUT",
    body: { "ietf-restconf:data": { ...site, "vita-gateway:workers": 4, "vita-gateway:outbound-sa": [] } },
    status: 204,
    check: async (_reply, rig) => {
      assert.equal(rig.datastore.configuration.workers, 4);
      assert.deepEqual(rig.datastore.configuration["outbound-sa"], []);
    },
  },
  {
    title: "a datastore that is not complete",
    path: data,
    method: "PUT",
    body: { "ietf-restconf:data": { "vita-gateway:node": "alpha" } },
    status: 400,
    tag: "missing-element",
    check: (_reply, rig) => assert.equal(rig.datastore.configuration.workers, 2),
  },
  { path: data, method: "PUT", body: { "vita-gateway:workers": 2 }, status: 400, tag: "malformed-message" },
  {
    title: "a PUT that leaves a mandatory secret out",
    path: `${data}/vita-gateway:inbound-sa=1234`,
    method: "PUT",
    body: { "vita-gateway:inbound-sa": [{ spi: 1234, route: "bar" }] },
    status: 400,
    tag: "missing-element",
    errorPath: '/vita-gateway:inbound-sa[spi="1234"]/key',
    check: (_reply, rig) => assert.equal(rig.datastore.configuration["inbound-sa"][0]?.key, key),
  },

  // PATCH.
  {
    path: `${data}/vita-gateway:inbound-sa=1234`,
    method: "PATCH",
    body: { "vita-gateway:inbound-sa": [{ spi: 1234, route: "bar" }] },
    status: 204,
    check: (_reply, rig) => {
      const [sa] = rig.datastore.configuration["inbound-sa"];
      assert.deepEqual([sa?.route, sa?.key], ["bar", key]);
    },
  },
  {
    title: "the datastore",
    path: data,
    method: "PATCH",
    body: { "ietf-restconf:data": { "vita-gateway:workers": 5, "vita-gateway:route": [baz] } },
    status: 204,
    check: (_reply, rig) => {
      assert.equal(rig.datastore.configuration.workers, 5);
      assert.equal(rig.datastore.configuration.route.length, 3);
    },
  },
  {
    title: "the datastore in XML",
    path: data,
    method: "PATCH",
    headers: xml,
    body: '<data xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf"><workers xmlns="urn:vita:gateway">5</workers><mtu xmlns="urn:vita:gateway">1400</mtu></data>',
    status: 204,
    check: (_reply, rig) => assert.equal(rig.datastore.configuration.mtu, 1400),
  },
  ...[
    ["the datastore", "", `<data xmlns="${restconf}">${removedRoute}</data>`],
    ["an entry", "/vita-gateway:route=bar", removedRoute],
    [
      "what is in an entry",
      "/vita-gateway:route=bar",
      `<route xmlns="urn:vita:gateway"><id>bar</id>${removedNet}</route>`,
    ],
  ].map(([title, path, body]) => ({
    title: `NETCONF's operations in ${title}`,
    path: `${data}${path}`,
    method: "PATCH",
    headers: xml,
    body,
    status: 400,
    text: /<error-tag>unknown-attribute<.*attribute &quot;n:operation&quot; of &lt;(route|net)&gt; is NETCONF's: .*YANG Patch/,
    check: then("/vita-gateway:route=bar", { "vita-gateway:route": [site["vita-gateway:route"][1]] }),
  })),
  ...['operation="delete"', 'xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert="first"', 'xml:lang="en"'].map(
    (attribute) => ({
      title: `the attribute ${attribute}`,
      path: `${data}/vita-gateway:workers`,
      method: "PUT",
      headers: xml,
      body: `<workers xmlns="urn:vita:gateway" ${attribute}>3</workers>`,
      status: 400,
      text: /<error-tag>unknown-attribute<.*is not known, and would have no effect/,
      check: then("/vita-gateway:workers", { "vita-gateway:workers": 2 }),
    }),
  ),
  {
    title: "a leaf that has its default",
    path: `${data}/vita-gateway:engine`,
    method: "PATCH",
    body: { "vita-gateway:engine": "node" },
    status: 204,
  },
  {
    path: `${data}/vita-gateway:route=baz`,
    method: "PATCH",
    body: { "vita-gateway:route": [baz] },
    status: 404,
  },
  {
    path: `${data}/vita-gateway:route=foo`,
    method: "PATCH",
    headers: { "content-type": "application/merge-patch+json" },
    body: "{}",
    status: 415,
    has: { accept: /yang-patch\+xml/ },
  },

  // DELETE.
  {
    path: `${data}/vita-gateway:route=bar`,
    method: "DELETE",
    status: 204,
    check: then("/vita-gateway:route=bar", 404),
  },
  { path: `${data}/vita-gateway:route=foo/net=10.1.0.0%2F16`, method: "DELETE", status: 204 },
  { path: `${data}/vita-gateway:route=nobody`, method: "DELETE", status: 404, tag: "invalid-value" },
  { path: `${data}/vita-gateway:mtu`, method: "DELETE", status: 404 },
  { title: "a default", path: `${data}/vita-gateway:engine`, method: "DELETE", status: 404 },
  {
    title: "what others refer to",
    path: `${data}/vita-gateway:route=foo`,
    method: "DELETE",
    status: 409,
    tag: "data-missing",
  },
  {
    title: "what is mandatory",
    path: `${data}/vita-gateway:route=foo/gateway/ip`,
    method: "DELETE",
    status: 400,
    tag: "missing-element",
  },
  { path: `${data}/vita-gateway:route=foo/id`, method: "DELETE", status: 405 },
  { path: `${data}/vita-gateway:route`, method: "DELETE", status: 400 },
  { path: data, method: "DELETE", status: 405, has: { allow: /PATCH/ } },
  { path: `${data}/vita-gateway:gateway-state`, method: "DELETE", status: 405 },

  // Order.
  {
    path: `${data}?insert=first`,
    method: "POST",
    body: { "vita-gateway:public-interface": [{ name: "wan2" }] },
    status: 201,
    check: order("wan2", "wan0", "wan1"),
  },
  {
    path: `${data}?insert=before&point=%2Fvita-gateway%3Apublic-interface%3Dwan1`,
    method: "POST",
    body: { "vita-gateway:public-interface": [{ name: "wan2" }] },
    status: 201,
    check: order("wan0", "wan2", "wan1"),
  },
  {
    path: `${data}/vita-gateway:public-interface=wan1?insert=before&point=/vita-gateway:public-interface=wan0`,
    method: "PUT",
    body: { "vita-gateway:public-interface": [{ name: "wan1" }] },
    status: 204,
    check: order("wan1", "wan0"),
  },
  {
    path: `${data}?insert=after`,
    method: "POST",
    body: { "vita-gateway:public-interface": [{ name: "w" }] },
    status: 400,
  },
  { path: `${data}?insert=sideways`, method: "POST", body: {}, status: 400 },
  {
    path: `${data}?insert=first&point=/vita-gateway:workers`,
    method: "POST",
    body: { "vita-gateway:public-interface": [{ name: "w" }] },
    status: 400,
  },
  {
    path: `${data}?insert=after&point=/vita-gateway:route=foo`,
    method: "POST",
    body: { "vita-gateway:public-interface": [{ name: "w" }] },
    status: 400,
  },
  {
    title: "a list that has no order",
    path: `${data}?insert=first`,
    method: "POST",
    body: { "vita-gateway:route": [baz] },
    status: 400,
    message: /not ordered/,
  },
  { path: `${data}/vita-gateway:workers?insert=first`, method: "PATCH", body: {}, status: 400 },

  // What is Vita's own.
  {
    path: `${data}/vita-gateway:workers?vita-dry-run`,
    method: "PUT",
    body: { "vita-gateway:workers": 3 },
    status: 200,
    json: { "vita-gateway:dry-run": { changed: ["/workers"] } },
    check: (_reply, rig) => assert.equal(rig.datastore.configuration.workers, 2),
  },
  {
    path: `${data}/vita-gateway:workers?vita-dry-run`,
    method: "PUT",
    body: { "vita-gateway:workers": 99 },
    status: 400,
  },
  { path: `${data}/vita-gateway:workers?vita-dry-run=maybe`, method: "PUT", body: {}, status: 400 },
  {
    path: `${data}/vita-gateway:workers?vita-comment=more%20of%20them`,
    method: "PUT",
    headers: { "x-vita-user": "alice (cli)" },
    body: { "vita-gateway:workers": 3 },
    status: 204,
    check: (_reply, rig) => {
      const [entry] = rig.datastore.history();
      assert.deepEqual([entry?.user, entry?.comment], ["alice (cli)", "more of them"]);
    },
  },
  { path: `${data}/vita-gateway:workers?vita-comment=a%0Ab`, method: "PUT", body: {}, status: 400 },
  { path: `${data}/vita-gateway:workers?vita-confirm=0`, method: "PUT", body: {}, status: 400 },
  { path: `${data}/vita-gateway:workers?vita-confirm=5`, method: "GET", status: 400 },
  {
    title: "RFC 8527",
    path: "/restconf/ds/ietf-datastores:running",
    method: "POST",
    body: { "vita-gateway:route": [baz] },
    status: 201,
    has: { location: "/restconf/ds/ietf-datastores:running/vita-gateway:route=baz" },
  },
];

describe("RESTCONF: editing", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());
  for (const row of rows) {
    it(titleOf(row), async () => {
      await rig.reset();
      const before = rig.datastore.etag;
      await checkRow(rig, row);
      if (row.status >= 400) assert.equal(rig.datastore.etag, before, "something has changed");
    });
  }

  it("a change that cannot be carried out is told, and the old configuration stays", async () => {
    await rig.reset();
    rig.datastore.carryOut = async () => {
      throw new Error("wan0 is not there");
    };
    const body = { "vita-gateway:workers": 3 };
    const reply = await rig.ask(`${data}/vita-gateway:workers`, { method: "PUT", body });
    rig.datastore.carryOut = async () => {};
    assert.equal(reply.status, 500, reply.text);
    assert.match(reply.text, /operation-failed/);
    assert.match(reply.text, /wan0 is not there/);
    assert.equal(rig.datastore.configuration.workers, 2);
  });

  it("nothing of a key is in the log", async () => {
    await rig.reset();
    const body = { "vita-gateway:key": otherKey };
    const reply = await rig.ask(`${data}/vita-gateway:inbound-sa=1234/key`, { method: "PUT", body });
    assert.equal(reply.status, 204, reply.text);
    assert.ok(rig.log.length > 0);
    assert.doesNotMatch(rig.log.join("\n"), new RegExp(`${key}|${otherKey}|${salt}`));
  });
});
