// Requests that change the configuration, each row a test that begins with the same one, and ways to look at what it has
// come to.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { key, otherKey, type Rig, salt, startRig } from "./rig.js";
import { checkRow, type Row, titleOf } from "./table.js";

export const data = "/restconf/data";
export const json = { "content-type": "application/yang-data+json" };
export const xml = { "content-type": "application/yang-data+xml" };
export const baz = { id: "baz", net: ["10.5.0.0/16"], gateway: { ip: "192.0.2.5" } };
export const foo = { id: "foo", net: ["10.6.0.0/16"], gateway: { ip: "192.0.2.6" } };

/** Looks at a resource after the row's request. */
export function then(path: string, expected: object | 404): NonNullable<Row["check"]> {
  return async (_reply, rig) => {
    const reply = await rig.ask(`${data}${path}`);
    if (expected === 404) assert.equal(reply.status, 404, reply.text);
    else assert.deepEqual(reply.json, expected);
  };
}

export const names = (reply: { json: object }, list: string) =>
  ((reply.json as Record<string, Record<string, string>[]>)[`vita-gateway:${list}`] ?? []).map(
    (entry) => entry["name"] ?? entry["id"],
  );

export function order(...expected: string[]): NonNullable<Row["check"]> {
  return async (_reply, rig) => {
    assert.deepEqual(
      names(await rig.ask(`${data}/vita-gateway:public-interface`), "public-interface"),
      expected,
    );
  };
}

/** Tests on one rig. What is refused has changed nothing, and whatever was asked, no key is in the log. */
export function testRows(title: string, rows: readonly Row[], more?: (rig: () => Rig) => void): void {
  describe(title, () => {
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
    more?.(() => rig);

    it("nothing of a key is in the log", async () => {
      await rig.reset();
      const body = { "vita-gateway:key": otherKey };
      const reply = await rig.ask(`${data}/vita-gateway:inbound-sa=1234/key`, { method: "PUT", body });
      assert.equal(reply.status, 204, reply.text);
      assert.ok(rig.log.length > 0);
      assert.doesNotMatch(rig.log.join("\n"), new RegExp(`${key}|${otherKey}|${salt}`));
    });
  });
}
