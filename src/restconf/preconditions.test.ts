// Entity-tags, dates and what depends on them (RFC 8040, sections 3.4.1, 3.5.1 and 3.5.2; RFC 9110, section 13).

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Rig, startRig } from "./testing/rig.js";

const workers = "/restconf/data/vita-gateway:workers";
const body = { "vita-gateway:workers": 3 };
const past = "Sat, 01 Jan 2000 00:00:00 GMT";
const future = "Fri, 01 Jan 2100 00:00:00 GMT";

describe("RESTCONF: preconditions", () => {
  let rig: Rig;
  let etag = "";
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());
  beforeEach(async () => {
    await rig.reset();
    etag = String((await rig.ask(workers)).headers.etag);
  });

  const status = async (method: string, headers: Record<string, string>, path = workers) =>
    (await rig.ask(path, { method, headers, ...(method === "PUT" && { body }) })).status;

  it("a tag is the same until the configuration changes, whatever was read, and after a restart", async () => {
    assert.match(etag, /^"[0-9a-f]+"$/);
    assert.equal((await rig.ask("/restconf/data?content=config")).headers.etag, etag);
    const changed = await rig.ask(workers, { method: "PUT", body });
    assert.notEqual(changed.headers.etag, etag);
    assert.equal((await rig.ask(workers)).headers.etag, changed.headers.etag);
    await rig.reset();
    assert.equal((await rig.ask(workers)).headers.etag, etag);
  });

  it("state has neither tag nor date", async () => {
    const { headers } = await rig.ask("/restconf/data/vita-gateway:gateway-state");
    assert.equal(headers.etag, undefined);
    assert.equal(headers["last-modified"], undefined);
  });

  it("If-None-Match saves sending what is known", async () => {
    assert.equal(await status("GET", { "if-none-match": etag }), 304);
    assert.equal(await status("HEAD", { "if-none-match": `"x", W/${etag}` }), 304);
    assert.equal(await status("GET", { "if-none-match": '"x"' }), 200);
    const reply = await rig.ask(workers, { headers: { "if-none-match": etag } });
    assert.deepEqual([reply.text, reply.headers.etag], ["", etag]);
  });

  it("the datastore with state in it is sent, whatever the client knows", async () => {
    assert.equal(await status("GET", { "if-none-match": etag }, "/restconf/data?depth=1"), 200);
    assert.equal(await status("GET", { "if-none-match": etag }, "/restconf/data?content=config"), 304);
  });

  it("If-Modified-Since counts where there is no If-None-Match", async () => {
    assert.equal(await status("GET", { "if-modified-since": future }), 304);
    assert.equal(await status("GET", { "if-modified-since": past }), 200);
    assert.equal(await status("GET", { "if-modified-since": future, "if-none-match": '"x"' }), 200);
    assert.equal(await status("GET", { "if-modified-since": "yesterday" }), 200);
  });

  it("If-Match lets a change through only for the configuration that was read", async () => {
    assert.equal(await status("PUT", { "if-match": '"x"' }), 412);
    assert.equal(await status("PUT", { "if-match": `W/${etag}` }), 412);
    assert.equal(await status("DELETE", { "if-match": '"x"' }, "/restconf/data/vita-gateway:route=bar"), 412);
    assert.equal(rig.datastore.configuration.workers, 2);
    assert.equal(await status("PUT", { "if-match": `"x", ${etag}` }), 204);
    assert.equal(await status("PUT", { "if-match": etag }), 412);
  });

  it("If-Match: * asks for what is there, If-None-Match: * for what is not", async () => {
    const mtu = "/restconf/data/vita-gateway:mtu";
    const put = (headers: Record<string, string>) =>
      rig.ask(mtu, { method: "PUT", headers, body: { "vita-gateway:mtu": 1400 } });
    assert.equal((await put({ "if-match": "*" })).status, 412);
    assert.equal((await put({ "if-none-match": "*" })).status, 201);
    assert.equal((await put({ "if-none-match": "*" })).status, 412);
    assert.equal((await put({ "if-match": "*" })).status, 204);
  });

  it("If-Unmodified-Since", async () => {
    assert.equal(await status("PUT", { "if-unmodified-since": past }), 412);
    assert.equal(await status("PUT", { "if-unmodified-since": future }), 204);
  });

  it("a condition that fails says so in RESTCONF's errors", async () => {
    const reply = await rig.ask(workers, { method: "PUT", headers: { "if-match": '"x"' }, body });
    assert.match(reply.text, /"error-tag": "operation-failed"/);
  });

  it("of clients that change what they have read at the same time, all but one are refused", async () => {
    rig.datastore.carryOut = () => sleep(50);
    const put = (value: number) =>
      rig.ask(workers, {
        method: "PUT",
        headers: { "if-match": etag },
        body: { "vita-gateway:workers": value },
      });
    const replies = await Promise.all([put(3), put(4), put(5)]);
    rig.datastore.carryOut = async () => {};
    assert.deepEqual(replies.map(({ status }) => status).sort(), [204, 412, 412]);
  });
});
