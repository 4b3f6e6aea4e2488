// Operations: their input, their answers, and those that are about commits.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "./json.js";
import { type Ask, errorOf, type Rig, startRig } from "./testing/rig.js";

const operations = "/restconf/operations/vita-gateway:";
const workers = "/restconf/data/vita-gateway:workers";

describe("RESTCONF: operations", () => {
  let rig: Rig;
  const inputs: JsonObject[] = [];
  before(async () => {
    rig = await startRig({
      operations: {
        "connection-up": async (input) => {
          inputs.push(input);
        },
        "connection-down": async () => ({ ended: 2 }),
        "connection-rekey": async () => {
          throw new Error("charon does not answer");
        },
      },
    });
  });
  after(() => rig.close());
  beforeEach(async () => {
    inputs.length = 0;
    await rig.reset();
  });

  const call = (name: string, input?: object, ask: Ask = {}) =>
    rig.ask(`${operations}${name}`, {
      method: "POST",
      ...(input && { body: { "vita-gateway:input": input } }),
      ...ask,
    });

  it("get their input with defaults, and answer 204 where there is no output", async () => {
    const reply = await call("connection-up", { connection: "site" });
    assert.deepEqual([reply.status, reply.text], [204, ""]);
    assert.deepEqual(inputs, [{ connection: "site", timeout: 30 }]);
  });

  it("take XML", async () => {
    const reply = await call("connection-up", undefined, {
      headers: { "content-type": "application/yang-data+xml" },
      body: '<v:input xmlns:v="urn:vita:gateway"><v:connection>site</v:connection><v:timeout>5</v:timeout></v:input>',
    });
    assert.equal(reply.status, 204, reply.text);
    assert.deepEqual(inputs, [{ connection: "site", timeout: 5 }]);
  });

  it("answer with their output", async () => {
    const reply = await call("connection-down", { connection: "site" });
    assert.deepEqual([reply.status, reply.json], [200, { "vita-gateway:output": { ended: 2 } }]);
  });

  it("are refused where their input is not what the model says", async () => {
    const wrong: [object | undefined, string, string | undefined][] = [
      [undefined, "missing-element", "/vita-gateway:connection-up/connection"],
      [{}, "missing-element", "/vita-gateway:connection-up/connection"],
      [{ connection: "site", timeout: 601 }, "invalid-value", "/vita-gateway:connection-up/timeout"],
      [{ connection: "site", timeout: "soon" }, "invalid-value", "/vita-gateway:connection-up/timeout"],
      [{ connection: "site", colour: "red" }, "unknown-element", "/vita-gateway:connection-up/colour"],
      [{ connection: ["site"] }, "invalid-value", "/vita-gateway:connection-up/connection"],
    ];
    for (const [input, tag, path] of wrong) {
      const reply = await call("connection-up", input);
      assert.equal(reply.status, 400, reply.text);
      assert.deepEqual([errorOf(reply)["error-tag"], errorOf(reply)["error-path"]], [tag, path], reply.text);
    }
    const unwrapped = await call("connection-up", undefined, { body: { connection: "site" } });
    assert.deepEqual([unwrapped.status, errorOf(unwrapped)["error-tag"]], [400, "malformed-message"]);
    assert.equal(inputs.length, 0);
  });

  it("tell why they failed", async () => {
    const reply = await call("connection-rekey", { connection: "site" });
    assert.equal(reply.status, 500);
    assert.deepEqual(
      [errorOf(reply)["error-tag"], errorOf(reply)["error-message"]],
      ["operation-failed", "charon does not answer"],
    );
  });

  it("have POST and OPTIONS alone, and no query", async () => {
    const get = await rig.ask(`${operations}connection-up`);
    assert.deepEqual([get.status, get.headers.allow], [405, "POST, OPTIONS"]);
    assert.equal(
      (await rig.ask(`${operations}connection-up`, { method: "OPTIONS" })).headers.allow,
      "POST, OPTIONS",
    );
    assert.equal((await call("connection-up?depth=1", { connection: "site" })).status, 400);
    assert.equal((await call("nonsense", {})).status, 404);
    assert.equal((await call("connection-up", undefined, { body: "x" })).status, 415);
  });

  it("confirm a commit", async () => {
    const body = { "vita-gateway:workers": 3 };
    assert.equal((await rig.ask(`${workers}?vita-confirm=60`, { method: "PUT", body })).status, 204);
    assert.ok(rig.datastore.confirmBy);
    assert.equal((await call("confirm-commit")).status, 204);
    assert.equal(rig.datastore.confirmBy, undefined);
    assert.equal(rig.datastore.configuration.workers, 3);
    const again = await call("confirm-commit");
    assert.ok(again.status >= 400 && again.status < 500, again.text);
  });

  it("cancel a commit", async () => {
    const body = { "vita-gateway:workers": 3 };
    await rig.ask(`${workers}?vita-confirm=60`, { method: "PUT", body });
    assert.equal((await call("cancel-commit")).status, 204);
    assert.equal(rig.datastore.configuration.workers, 2);
  });

  it("roll a commit back that nobody confirms", async () => {
    await rig.ask(`${workers}?vita-confirm=1`, { method: "PUT", body: { "vita-gateway:workers": 3 } });
    assert.equal(rig.datastore.configuration.workers, 3);
    for (let i = 0; i < 300 && rig.datastore.configuration.workers === 3; i++) await sleep(10);
    assert.equal(rig.datastore.configuration.workers, 2);
  });

  it("roll back until somebody confirms it", async () => {
    await rig.ask(workers, { method: "PUT", body: { "vita-gateway:workers": 3 } });
    const { number } = rig.datastore;
    assert.equal((await call("rollback", { "confirm-timeout": 1, comment: "is it better?" })).status, 204);
    assert.equal(rig.datastore.configuration.workers, 2);
    assert.equal(rig.datastore.history()[0].comment, "is it better?");
    for (let i = 0; i < 300 && rig.datastore.configuration.workers === 2; i++) await sleep(10);
    assert.equal(rig.datastore.configuration.workers, 3);
    assert.equal((await call("rollback", { number: number - 1, "confirm-timeout": 60 })).status, 204);
    assert.equal((await call("confirm-commit")).status, 204);
    assert.equal(rig.datastore.confirmBy, undefined);
    assert.equal(rig.datastore.configuration.workers, 2);
  });

  it("roll back to an earlier configuration", async () => {
    const { number } = rig.datastore;
    await rig.ask(workers, { method: "PUT", body: { "vita-gateway:workers": 3 } });
    await rig.ask(workers, { method: "PUT", body: { "vita-gateway:workers": 4 } });
    assert.equal((await call("rollback")).status, 204);
    assert.equal(rig.datastore.configuration.workers, 3);
    assert.equal((await call("rollback", { number })).status, 204);
    assert.equal(rig.datastore.configuration.workers, 2);
    const late = await call("rollback", { "confirm-timeout": 86_401 });
    assert.deepEqual(
      [late.status, errorOf(late)["error-path"], errorOf(late)["error-message"]],
      [400, "/vita-gateway:rollback/confirm-timeout", "86401 is more than 86400"],
    );
    const unknown = await call("rollback", { number: 9999 });
    assert.deepEqual([unknown.status, errorOf(unknown)["error-tag"]], [400, "invalid-value"]);
  });
});
