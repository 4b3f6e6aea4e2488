// What DELETE does with data, where entries are put, and what edits of Vita's own there are, request by request.

import assert from "node:assert/strict";
import { it } from "node:test";
import { baz, data, order, testRows, then } from "./testing/edit-rows.js";

testRows(
  "RESTCONF: editing",
  [
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
    ...["vita-comment=a%0Ab", "vita-comment=a%C2%85b", `vita-comment=${"x".repeat(257)}`]
      .concat("vita-confirm=0", "vita-confirm=86401")
      .map((query) => ({
        path: `${data}/vita-gateway:workers?${query}`,
        method: "PUT",
        body: { "vita-gateway:workers": 3 },
        status: 400,
      })),
    { path: `${data}/vita-gateway:workers?vita-confirm=5`, method: "GET", status: 400 },
    {
      title: "RFC 8527",
      path: "/restconf/ds/ietf-datastores:running",
      method: "POST",
      body: { "vita-gateway:route": [baz] },
      status: 201,
      has: { location: "/restconf/ds/ietf-datastores:running/vita-gateway:route=baz" },
    },
  ],
  (rig) => {
    it("a change that cannot be carried out is told, and the old configuration stays", async () => {
      await rig().reset();
      rig().datastore.carryOut = async () => {
        throw new Error("wan0 is not there");
      };
      const body = { "vita-gateway:workers": 3 };
      const reply = await rig().ask(`${data}/vita-gateway:workers`, { method: "PUT", body });
      rig().datastore.carryOut = async () => {};
      assert.equal(reply.status, 500, reply.text);
      assert.match(reply.text, /operation-failed/);
      assert.match(reply.text, /wan0 is not there/);
      assert.equal(rig().datastore.configuration.workers, 2);
    });
  },
);
