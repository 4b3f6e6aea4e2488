// YANG Patch (RFC 8072): order, all or nothing, and what the answer says.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { JsonObject } from "./json.js";
import { type Reply, type Rig, startRig } from "./testing/rig.js";

const data = "/restconf/data";
const baz = { id: "baz", net: ["10.5.0.0/16"], gateway: { ip: "192.0.2.5" } };

describe("RESTCONF: YANG Patch", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());
  beforeEach(() => rig.reset());

  const patch = (edit: object[], path = data): Promise<Reply> =>
    rig.ask(path, {
      method: "PATCH",
      headers: { "content-type": "application/yang-patch+json" },
      body: JSON.stringify({ "ietf-yang-patch:yang-patch": { "patch-id": "p1", edit } }),
    });
  const statusOf = ({ json }: Reply) => json["ietf-yang-patch:yang-patch-status"] as JsonObject;
  const routes = () => rig.datastore.configuration.route.map(({ id }) => id).sort();

  it("carries several edits out in their order", async () => {
    const reply = await patch([
      {
        "edit-id": "1",
        operation: "create",
        target: "/vita-gateway:route=baz",
        value: { "vita-gateway:route": [baz] },
      },
      {
        "edit-id": "2",
        operation: "merge",
        target: "/vita-gateway:route=baz/mark",
        value: { "vita-gateway:mark": 3 },
      },
      { "edit-id": "3", operation: "delete", target: "/vita-gateway:route=bar" },
      { "edit-id": "4", operation: "remove", target: "/vita-gateway:mtu" },
      {
        "edit-id": "5",
        operation: "replace",
        target: "/vita-gateway:workers",
        value: { "vita-gateway:workers": 3 },
      },
    ]);
    assert.equal(reply.status, 200, reply.text);
    assert.deepEqual(statusOf(reply), { "patch-id": "p1", ok: [null] });
    assert.deepEqual(routes(), ["baz", "foo"]);
    assert.equal(rig.datastore.configuration.workers, 3);
    assert.equal(rig.datastore.configuration.route.find(({ id }) => id === "baz")?.mark, 3);
  });

  it("leaves everything as it was when one edit fails, and names it", async () => {
    const reply = await patch([
      { "edit-id": "good", operation: "delete", target: "/vita-gateway:route=bar" },
      {
        "edit-id": "bad",
        operation: "create",
        target: "/vita-gateway:route=foo",
        value: { "vita-gateway:route": [{ ...baz, id: "foo" }] },
      },
    ]);
    assert.equal(reply.status, 409, reply.text);
    const { edit } = statusOf(reply)["edit-status"] as { edit: JsonObject[] };
    assert.equal(edit.length, 1);
    assert.equal(edit[0]?.["edit-id"], "bad");
    assert.match(JSON.stringify(edit[0]), /"error-tag":"data-exists"/);
    assert.deepEqual(routes(), ["bar", "foo"]);
  });

  it("tells what the whole is refused for beside the edits", async () => {
    const reply = await patch([{ "edit-id": "1", operation: "delete", target: "/vita-gateway:route=foo" }]);
    assert.equal(reply.status, 409, reply.text);
    assert.match(JSON.stringify(statusOf(reply)["errors"]), /"error-tag":"data-missing"/);
    assert.deepEqual(routes(), ["bar", "foo"]);
  });

  it("takes targets relative to the resource, and names without module in values", async () => {
    const reply = await patch(
      [
        { "edit-id": "1", operation: "create", target: "/child=b", value: { child: [{ id: "b" }] } },
        {
          "edit-id": "2",
          operation: "merge",
          target: "/",
          value: { "vita-gateway:connection": [{ id: "site", "dpd-delay": 30 }] },
        },
      ],
      `${data}/vita-gateway:connection=site`,
    );
    assert.equal(reply.status, 200, reply.text);
    const [connection] = rig.datastore.configuration.connection;
    assert.deepEqual(connection?.child.map(({ id }) => id).sort(), ["b", "lan"]);
    assert.equal(connection?.["dpd-delay"], 30);
  });

  it("inserts and moves entries of ordered lists", async () => {
    const names = () => rig.datastore.configuration["public-interface"].map(({ name }) => name);
    const list = "/vita-gateway:public-interface";
    const inserted = await patch([
      {
        "edit-id": "1",
        operation: "insert",
        target: `${list}=wan2`,
        where: "after",
        point: `${list}=wan0`,
        value: { "vita-gateway:public-interface": [{ name: "wan2" }] },
      },
    ]);
    assert.equal(inserted.status, 200, inserted.text);
    assert.deepEqual(names(), ["wan0", "wan2", "wan1"]);
    const moved = await patch([
      { "edit-id": "1", operation: "move", target: `${list}=wan1`, where: "first" },
      { "edit-id": "2", operation: "move", target: `${list}=wan0`, where: "last" },
    ]);
    assert.equal(moved.status, 200, moved.text);
    assert.deepEqual(names(), ["wan1", "wan2", "wan0"]);
  });

  it("is taken in XML, and answered in XML", async () => {
    const reply = await rig.ask(data, {
      method: "PATCH",
      headers: { "content-type": "application/yang-patch+xml" },
      body: `<yang-patch xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-patch"><patch-id>p2</patch-id>
        <edit><edit-id>1</edit-id><operation>create</operation><target>/vita-gateway:route=baz</target>
          <value><v:route xmlns:v="urn:vita:gateway"><v:id>baz</v:id><v:net>10.5.0.0/16</v:net>
            <v:gateway><v:ip>192.0.2.5</v:ip></v:gateway></v:route></value></edit></yang-patch>`,
    });
    assert.equal(reply.status, 200, reply.text);
    assert.equal(
      reply.text,
      '<yang-patch-status xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-patch"><patch-id>p2</patch-id><ok/></yang-patch-status>\n',
    );
    assert.deepEqual(routes(), ["bar", "baz", "foo"]);
  });

  it("refuses what is no patch", async () => {
    const wrong: [object[], number, RegExp][] = [
      [[{ "edit-id": "1", operation: "explode", target: "/vita-gateway:mtu" }], 400, /none of YANG Patch/],
      [[{ "edit-id": "1", operation: "create", target: "/vita-gateway:mtu" }], 400, /needs a value/],
      [
        [{ "edit-id": "1", operation: "delete", target: "/vita-gateway:mtu", value: {} }],
        400,
        /has no value/,
      ],
      [
        [{ "edit-id": "1", operation: "delete", target: "/vita-gateway:mtu", where: "first" }],
        400,
        /are not for/,
      ],
      [
        [{ "edit-id": "1", operation: "delete", target: "/vita-gateway:route" }],
        400,
        /not one of its entries/,
      ],
      [[{ "edit-id": "1", operation: "delete", target: "/vita-gateway:gateway-state" }], 400, /state/],
      [[{ "edit-id": "1", operation: "delete", target: "/vita-gateway:mtu" }], 409, /data-missing/],
      [
        [{ "edit-id": "1", operation: "move", target: "/vita-gateway:route=foo", where: "first" }],
        400,
        /not ordered/,
      ],
      [[{ operation: "remove", target: "/vita-gateway:mtu" }], 400, /without \\"edit-id\\"/],
      [
        [
          { "edit-id": "1", operation: "remove", target: "/vita-gateway:mtu" },
          { "edit-id": "1", operation: "remove", target: "/vita-gateway:mtu" },
        ],
        400,
        /comes twice/,
      ],
    ];
    for (const [edits, status, pattern] of wrong) {
      const reply = await patch(edits);
      assert.equal(reply.status, status, reply.text);
      assert.match(reply.text, pattern);
    }
  });

  it("has a bounded number of edits", async () => {
    const edits = Array.from({ length: 1_001 }, (_, i) => ({
      "edit-id": String(i),
      operation: "remove",
      target: "/vita-gateway:mtu",
    }));
    assert.equal((await patch(edits)).status, 413);
    assert.equal((await patch(edits.slice(1))).status, 200);
  });

  it("has If-Match, dry runs and comments like every edit", async () => {
    const edit = { "edit-id": "1", operation: "delete", target: "/vita-gateway:route=bar" };
    const body = JSON.stringify({ "ietf-yang-patch:yang-patch": { "patch-id": "p", edit: [edit] } });
    const ask = (path: string, headers = {}) =>
      rig.ask(path, {
        method: "PATCH",
        headers: { "content-type": "application/yang-patch+json", ...headers },
        body,
      });
    assert.equal((await ask(data, { "if-match": '"x"' })).status, 412);
    const dry = await ask(`${data}?vita-dry-run`);
    assert.deepEqual(dry.json, { "vita-gateway:dry-run": { changed: ['/route[id="bar"]'] } });
    assert.deepEqual(routes(), ["bar", "foo"]);
    assert.equal((await ask(`${data}?vita-comment=away`)).status, 200);
    assert.equal(rig.datastore.history()[0]?.comment, "away");
  });
});
