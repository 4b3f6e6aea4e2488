// What PATCH does with data, request by request, against RFC 8040's rules.

import assert from "node:assert/strict";
import { baz, data, testRows, then, xml } from "./testing/edit-rows.js";
import { key, site } from "./testing/rig.js";

const restconf = "urn:ietf:params:xml:ns:yang:ietf-restconf";
const netconf = 'xmlns:n="urn:ietf:params:xml:ns:netconf:base:1.0" n:operation="delete"';
const removedRoute = `<route xmlns="urn:vita:gateway" ${netconf}><id>bar</id></route>`;
const removedNet = `<net ${netconf}>10.3.0.0/16</net>`;

testRows("RESTCONF: editing by PATCH", [
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
  {
    title: "a datastore in a datastore",
    path: data,
    method: "PATCH",
    body: { "ietf-restconf:data": { "ietf-restconf:data": { "vita-gateway:workers": 5 } } },
    status: 400,
    tag: "unknown-namespace",
    check: then("/vita-gateway:workers", { "vita-gateway:workers": 2 }),
  },
  {
    title: "a datastore in a datastore in XML",
    path: data,
    method: "PATCH",
    headers: xml,
    body: `<data xmlns="${restconf}"><data><workers xmlns="urn:vita:gateway">5</workers></data></data>`,
    status: 400,
    check: then("/vita-gateway:workers", { "vita-gateway:workers": 2 }),
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
]);
