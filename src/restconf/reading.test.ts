// What is read, request by request, against RFC 8040's rules.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Rig, site, startRig, state } from "./testing/rig.js";
import { checkRow, type Row, titleOf } from "./testing/table.js";

const data = "/restconf/data";
const json = "application/yang-data+json";
const xml = "application/yang-data+xml";
const foo = { id: "foo", net: ["10.1.0.0/16", "10.2.0.0/16"], gateway: { ip: "192.0.2.2" } };

const rows: Row[] = [
  // Discovery.
  {
    path: "/.well-known/host-meta",
    status: 200,
    has: { "content-type": /xrd\+xml/ },
    text: /rel="restconf" href="\/restconf"/,
  },
  {
    path: "/.well-known/host-meta",
    headers: { accept: "application/json" },
    status: 200,
    json: { links: [{ rel: "restconf", href: "/restconf" }] },
  },
  {
    path: "/.well-known/host-meta.json",
    status: 200,
    json: { links: [{ rel: "restconf", href: "/restconf" }] },
  },
  { path: "/.well-known/host-meta", headers: { accept: "image/png" }, status: 406, tag: "invalid-value" },
  {
    path: "/restconf",
    status: 200,
    json: { "ietf-restconf:restconf": { data: {}, operations: {}, "yang-library-version": "2019-01-04" } },
  },
  {
    path: "/restconf",
    headers: { accept: xml },
    status: 200,
    text: /<restconf xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf"><data\/><operations\/>/,
  },
  { path: "/restconf", method: "DELETE", status: 405, has: { allow: "GET, HEAD, OPTIONS" } },
  {
    path: "/restconf/yang-library-version",
    status: 200,
    json: { "ietf-restconf:yang-library-version": "2019-01-04" },
  },
  { path: "/restconf/nothing", status: 404, tag: "invalid-value" },
  { path: "/", status: 404, tag: "invalid-value" },
  {
    path: "/restconf/operations",
    status: 200,
    text: /"vita-gateway:confirm-commit": \[\s*null\s*\]/,
  },
  {
    path: "/restconf/operations",
    headers: { accept: xml },
    status: 200,
    text: /<rollback xmlns="urn:vita:gateway"\/>/,
  },
  {
    path: "/restconf/schema/vita-gateway@2026-11-26.yang",
    status: 200,
    has: { "content-type": /application\/yang/ },
    text: /module vita-gateway \{/,
  },
  { path: "/restconf/schema/vita-gateway@2000-01-01.yang", status: 404 },
  { path: "/restconf/schema/..%2f..%2fetc%2fpasswd", status: 404 },

  // What the node tells of itself.
  {
    path: `${data}/ietf-yang-library:yang-library?fields=module-set/module(name;location)`,
    status: 200,
    text: [/"vita-gateway"/, /\/restconf\/schema\/vita-gateway@2026-11-26\.yang/],
  },
  {
    path: `${data}/ietf-yang-library:yang-library/datastore=ietf-datastores%3Arunning`,
    headers: { accept: xml },
    status: 200,
    text: /<name xmlns:ietf-datastores="[^"]+">ietf-datastores:running<\/name>/,
  },
  {
    path: `${data}/ietf-yang-library:modules-state/module=vita-gateway,2026-11-26/conformance-type`,
    status: 200,
    json: { "ietf-yang-library:conformance-type": "implement" },
  },
  {
    path: `${data}/ietf-restconf-monitoring:restconf-state/capabilities`,
    status: 200,
    text: [/capability:defaults:1\.0\?basic-mode=explicit/, /capability:yang-patch:1\.0/],
    not: /replay|filter/,
  },
  {
    path: `${data}/ietf-restconf-monitoring:restconf-state/streams/stream=NETCONF/access=json/location`,
    status: 200,
    json: { "ietf-restconf-monitoring:location": "/restconf/streams/NETCONF/json" },
  },

  // Data resources and their paths.
  { path: `${data}/vita-gateway:workers`, status: 200, json: { "vita-gateway:workers": 2 } },
  { path: `${data}/vita-gateway:route=foo`, status: 200, json: { "vita-gateway:route": [foo] } },
  {
    path: `${data}/vita-gateway:route=foo/gateway/ip`,
    status: 200,
    json: { "vita-gateway:ip": "192.0.2.2" },
  },
  {
    title: "the module's name may be repeated",
    path: `${data}/vita-gateway:route=foo/vita-gateway:gateway`,
    status: 200,
    json: { "vita-gateway:gateway": { ip: "192.0.2.2" } },
  },
  {
    path: `${data}/vita-gateway:route`,
    status: 200,
    json: { "vita-gateway:route": site["vita-gateway:route"] },
  },
  {
    title: "a leaf-list",
    path: `${data}/vita-gateway:route=foo/net`,
    status: 200,
    json: { "vita-gateway:net": foo.net },
  },
  {
    title: "one entry of a leaf-list",
    path: `${data}/vita-gateway:route=foo/net=10.2.0.0%2F16`,
    status: 200,
    json: { "vita-gateway:net": ["10.2.0.0/16"] },
  },
  { path: `${data}/vita-gateway:route=foo/net=10.9.0.0%2F16`, status: 404, tag: "invalid-value" },
  {
    title: "several keys",
    path: `${data}/vita-gateway:gateway-state/sa=in,192.0.2.1%3A4500,0x4d2/packets`,
    status: 200,
    json: { "vita-gateway:packets": "3" },
  },
  {
    path: `${data}/vita-gateway:gateway-state/sa=in,0x4d2`,
    status: 400,
    tag: "invalid-value",
    message: /3 keys/,
  },
  { path: `${data}/vita-gateway:route=a,b`, status: 400, tag: "invalid-value" },
  { path: `${data}/vita-gateway:route=nobody`, status: 404, tag: "invalid-value" },
  {
    path: `${data}/vita-gateway:route=nobody`,
    status: 404,
    errorPath: "/vita-gateway:route[id='nobody']",
  },
  {
    path: `${data}/vita-gateway:route/gateway`,
    status: 400,
    tag: "invalid-value",
    message: /without its keys/,
  },
  { path: `${data}/vita-gateway:workers=2`, status: 400, tag: "invalid-value" },
  { path: `${data}/workers`, status: 400, message: /module/ },
  { path: `${data}/vita-gateway:nonsense`, status: 404 },
  { path: `${data}/nowhere:workers`, status: 404 },
  { path: `${data}/ietf-yang-library:route=foo`, status: 404 },
  { path: `${data}/vita-gateway:route=foo//ip`, status: 400 },
  {
    title: "a leaf that is not set has its default",
    path: `${data}/vita-gateway:engine`,
    status: 200,
    json: { "vita-gateway:engine": "auto" },
  },
  { title: "a leaf without default", path: `${data}/vita-gateway:mtu`, status: 404 },
  {
    title: "a container without presence is always there",
    path: `${data}/vita-gateway:limits`,
    status: 200,
    json: { "vita-gateway:limits": {} },
  },
  { title: "a container with presence is not", path: `${data}/vita-gateway:restconf/tcp`, status: 404 },
  {
    title: "a list without keys",
    path: `${data}/vita-gateway:gateway-state/policy`,
    status: 200,
    json: { "vita-gateway:policy": state.policy },
  },

  // Representations.
  {
    path: `${data}/vita-gateway:workers`,
    headers: { accept: "*/*" },
    status: 200,
    has: { "content-type": json },
  },
  {
    path: `${data}/vita-gateway:workers`,
    headers: { accept: xml },
    status: 200,
    has: { "content-type": xml },
    text: /^<workers xmlns="urn:vita:gateway">2<\/workers>\n$/,
  },
  {
    path: `${data}/vita-gateway:workers`,
    headers: { accept: `${xml};q=0.5, ${json};q=0.9` },
    status: 200,
    has: { "content-type": json },
  },
  {
    path: `${data}/vita-gateway:workers`,
    headers: { accept: `${json};q=0, application/*;q=0.1` },
    status: 200,
    has: { "content-type": xml },
  },
  {
    path: `${data}/vita-gateway:workers`,
    headers: { accept: "text/html" },
    status: 406,
    tag: "invalid-value",
  },
  { path: `${data}/vita-gateway:workers`, headers: { accept: `${json};q=0` }, status: 406 },
  {
    title: "XML has no form for two entries",
    path: `${data}/vita-gateway:route`,
    headers: { accept: xml },
    status: 400,
    text: /<error-tag>invalid-value<\/error-tag>/,
  },
  {
    path: `${data}/vita-gateway:route=foo`,
    headers: { accept: xml },
    status: 200,
    text: /<route xmlns="urn:vita:gateway"><id>foo<\/id><net>10.1.0.0\/16<\/net><net>/,
  },
  {
    title: "an error in XML",
    path: `${data}/vita-gateway:route=nobody`,
    headers: { accept: xml },
    status: 404,
    has: { "content-type": xml },
    text: [
      /<errors xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf"><error><error-type>protocol</,
      /<error-path xmlns:vita-gateway="urn:vita:gateway">\/vita-gateway:route\[vita-gateway:id='nobody'\]</,
    ],
  },
  {
    path: `${data}/vita-gateway:workers`,
    method: "HEAD",
    status: 200,
    has: { "content-type": json, etag: /^"/ },
  },
  { path: `${data}/vita-gateway:route=nobody`, method: "HEAD", status: 404 },

  // Query parameters.
  {
    path: `${data}/vita-gateway:route=foo?depth=1`,
    status: 200,
    json: { "vita-gateway:route": [{ id: "foo" }] },
  },
  {
    path: `${data}/vita-gateway:route=foo?depth=2`,
    status: 200,
    json: { "vita-gateway:route": [{ ...foo, gateway: {} }] },
  },
  {
    path: `${data}/vita-gateway:route=foo?depth=unbounded`,
    status: 200,
    json: { "vita-gateway:route": [foo] },
  },
  { path: `${data}?depth=1`, status: 200, json: { "ietf-restconf:data": {} } },
  { path: `${data}/vita-gateway:route=foo?depth=0`, status: 400, tag: "invalid-value" },
  { path: `${data}/vita-gateway:route=foo?depth=65536`, status: 400 },
  { path: `${data}/vita-gateway:route=foo?depth=two`, status: 400 },
  { path: `${data}/vita-gateway:route=foo?depth=1&depth=1`, status: 400, message: /twice/ },
  { path: `${data}/vita-gateway:route=foo?deep=1`, status: 400, tag: "invalid-value" },
  { path: `${data}/vita-gateway:route=foo?__proto__=1`, status: 400, tag: "invalid-value" },
  { path: `${data}/vita-gateway:route=foo?insert=first`, status: 400 },
  { path: "/restconf?depth=1", status: 400 },
  {
    path: `${data}/vita-gateway:route?fields=gateway(ip)`,
    status: 200,
    json: {
      "vita-gateway:route": [
        { id: "foo", gateway: { ip: "192.0.2.2" } },
        { id: "bar", gateway: { ip: "192.0.2.3" } },
      ],
    },
  },
  {
    path: `${data}/vita-gateway:route=foo?fields=gateway/ip;net`,
    status: 200,
    json: { "vita-gateway:route": [foo] },
  },
  {
    path: `${data}?fields=vita-gateway:connection(child(id);remote-address);vita-gateway:workers`,
    status: 200,
    json: {
      "ietf-restconf:data": {
        "vita-gateway:workers": 2,
        "vita-gateway:connection": [
          { id: "site", "remote-address": ["198.51.100.7"], child: [{ id: "lan" }] },
        ],
      },
    },
  },
  { path: `${data}/vita-gateway:route=foo?fields=nonsense`, status: 400, tag: "invalid-value" },
  { path: `${data}/vita-gateway:route=foo?fields=gateway(ip`, status: 400 },
  { path: `${data}/vita-gateway:route=foo?fields=gateway)`, status: 400 },
  { path: `${data}/vita-gateway:route=foo?fields=`, status: 400 },
  {
    path: `${data}?content=config&depth=2`,
    status: 200,
    text: /vita-gateway:workers/,
    not: /gateway-state|yang-library/,
    check: (_reply, rig) => assert.equal(rig.asked.state, 0),
  },
  {
    path: `${data}?content=nonconfig`,
    status: 200,
    text: [/gateway-state/, /ietf-yang-library:yang-library/, /restconf-state/],
    not: /"vita-gateway:(workers|route|node)"/,
  },
  { path: `${data}?content=all&depth=2`, status: 200, text: [/gateway-state/, /vita-gateway:workers/] },
  { path: `${data}?content=none`, status: 400 },
  { path: `${data}/vita-gateway:workers?content=nonconfig`, status: 404 },
  { path: `${data}/vita-gateway:gateway-state?content=config`, status: 404 },
  {
    path: `${data}/vita-gateway:gateway-state/counter=decapsulate.drop.replayed/value`,
    status: 200,
    json: { "vita-gateway:value": "18446744073709551615" },
    check: (_reply, rig) => assert.equal(rig.asked.state, 1),
  },
  {
    path: `${data}/vita-gateway:route=foo?with-defaults=report-all`,
    status: 200,
    json: { "vita-gateway:route": [{ ...foo, "if-id": 0, mark: 0 }] },
  },
  {
    path: `${data}/vita-gateway:public-interface=wan1?with-defaults=trim`,
    status: 200,
    json: { "vita-gateway:public-interface": [{ name: "wan1", driver: "packet" }] },
  },
  {
    path: `${data}/vita-gateway:public-interface=wan0?with-defaults=explicit`,
    status: 200,
    json: { "vita-gateway:public-interface": [{ name: "wan0" }] },
  },
  { path: `${data}/vita-gateway:route=foo?with-defaults=report-all-tagged`, status: 400 },

  // OPTIONS.
  {
    path: data,
    method: "OPTIONS",
    status: 200,
    has: { allow: "GET, HEAD, OPTIONS, POST, PUT, PATCH", "accept-patch": /yang-patch\+json/ },
  },
  {
    path: `${data}/vita-gateway:route=foo`,
    method: "OPTIONS",
    status: 200,
    has: { allow: "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE" },
  },
  {
    path: `${data}/vita-gateway:workers`,
    method: "OPTIONS",
    status: 200,
    has: { allow: "GET, HEAD, OPTIONS, PUT, PATCH, DELETE" },
  },
  {
    path: `${data}/vita-gateway:gateway-state`,
    method: "OPTIONS",
    status: 200,
    has: { allow: "GET, HEAD, OPTIONS", "accept-patch": undefined },
  },
  { path: data, method: "TRACE", status: 405, has: { allow: /GET/ } },

  // The datastores of RFC 8527.
  {
    path: "/restconf/ds/ietf-datastores:running/vita-gateway:workers",
    status: 200,
    json: { "vita-gateway:workers": 2 },
  },
  { path: "/restconf/ds/ietf-datastores:running", status: 200, not: /gateway-state/ },
  { path: "/restconf/ds/ietf-datastores:running/vita-gateway:gateway-state", status: 404 },
  { path: "/restconf/ds/ietf-datastores:running?content=config", status: 400 },
  {
    path: "/restconf/ds/ietf-datastores:operational/vita-gateway:route=foo",
    status: 200,
    json: { "vita-gateway:route": [{ ...foo, "if-id": 0, mark: 0 }] },
  },
  {
    path: "/restconf/ds/ietf-datastores:operational",
    status: 200,
    text: [/gateway-state/, /vita-gateway:workers/],
  },
  { path: "/restconf/ds/ietf-datastores:operational", method: "PUT", status: 405, body: {} },
  { path: "/restconf/ds/ietf-datastores:candidate", status: 404 },
];

describe("RESTCONF: reading", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());
  for (const row of rows) {
    it(titleOf(row), async () => {
      rig.asked.state = 0;
      await checkRow(rig, row);
    });
  }
});
