// What PUT does with data, request by request, against RFC 8040's rules.

import assert from "node:assert/strict";
import { baz, data, foo, testRows, then, xml } from "./testing/edit-rows.js";
import { key, site } from "./testing/rig.js";

testRows("RESTCONF: editing by PUT", [
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
]);
