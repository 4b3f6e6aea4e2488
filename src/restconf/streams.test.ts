// Notifications: what is sent, to whom, and who is cut off.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Rig, startRig } from "./testing/rig.js";

const backlog = 64 * 1024;

describe("RESTCONF: streams", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig({ streams: { keepAlive: 50, backlog, clients: 2 } });
  });
  after(() => rig.close());

  async function listen(
    encoding: string,
  ): Promise<{ response: IncomingMessage; text: () => string; end: () => void }> {
    const path = `/restconf/streams/NETCONF/${encoding}`;
    const asked = request({ socketPath: rig.socket, path, headers: { accept: "text/event-stream" } });
    asked.end();
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (part: string) => {
      text += part;
    });
    response.on("error", () => {
      // Cut off at the end of the test.
    });
    return { response, text: () => text, end: () => asked.destroy() };
  }

  async function until(what: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !what(); i++) await sleep(10);
    assert.ok(what(), "did not happen within two seconds");
  }

  it("sends notifications in JSON and XML", async () => {
    const json = await listen("json");
    const xml = await listen("xml");
    assert.equal(json.response.headers["content-type"], "text/event-stream");
    rig.events.emit("notification", {
      name: "sa-up",
      content: { direction: "in", spi: "0x4d2" },
      time: new Date("2026-11-26T10:00:00.000Z"),
    });
    await until(() => json.text().includes("sa-up") && xml.text().includes("sa-up"));
    const [, line = ""] = /^data: (.*)\n\n/m.exec(json.text()) ?? [];
    assert.deepEqual(JSON.parse(line), {
      "ietf-restconf:notification": {
        eventTime: "2026-11-26T10:00:00.000Z",
        "vita-gateway:sa-up": { direction: "in", spi: "0x4d2" },
      },
    });
    assert.match(
      xml.text(),
      /data: <notification xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"><eventTime>2026-11-26T10:00:00.000Z<\/eventTime><sa-up xmlns="urn:vita:gateway"><direction>in</,
    );
    json.end();
    xml.end();
  });

  it("tells changes of the configuration", async () => {
    const stream = await listen("json");
    await rig.ask("/restconf/data/vita-gateway:workers", {
      method: "PUT",
      body: { "vita-gateway:workers": 3 },
    });
    await until(() => stream.text().includes("configuration-changed"));
    assert.match(
      stream.text(),
      /"vita-gateway:configuration-changed":\{"number":\d+,"user":"root","changed":\["\/workers"\]\}/,
    );
    stream.end();
  });

  it("sends comments while nothing happens", async () => {
    const stream = await listen("json");
    await until(() => (stream.text().match(/^:$/gm) ?? []).length >= 3);
    stream.end();
  });

  it("refuses what it does not have", async () => {
    const path = "/restconf/streams/NETCONF/json";
    for (const [url, headers, status] of [
      [`${path}?start-time=2026-01-01T00:00:00Z`, {}, 400],
      [`${path}?filter=/sa-up`, {}, 400],
      [path, { accept: "application/json" }, 406],
      ["/restconf/streams/OTHER/json", {}, 404],
    ] as [string, Record<string, string>, number][]) {
      const reply = await rig.ask(url, { headers });
      assert.equal(reply.status, status, url);
      assert.match(reply.text, /"error-tag": "invalid-value"/);
    }
    const post = await rig.ask(path, { method: "POST" });
    assert.deepEqual([post.status, post.headers.allow], [405, "GET, OPTIONS"]);
  });

  it("has a bounded number of listeners, and forgets those that go", async () => {
    const streams = [await listen("json"), await listen("json")];
    assert.equal((await rig.ask("/restconf/streams/NETCONF/json")).status, 503);
    assert.deepEqual(
      rig.log.filter((line) => line.includes("listeners")),
      [],
    );
    for (const stream of streams) stream.end();
    await sleep(50);
    const again = await listen("json");
    assert.equal(again.response.statusCode, 200);
    again.end();
    await sleep(50);
  });

  it("cuts off who does not read, and goes on for the others", async () => {
    const slow = connect(rig.socket);
    slow.write("GET /restconf/streams/NETCONF/json HTTP/1.1\r\nHost: x\r\n\r\n");
    slow.pause();
    slow.on("error", () => {
      // It is meant to be cut off.
    });
    await sleep(100);
    const good = await listen("json");
    const content = { spi: "x".repeat(8_000) };
    // More than the socket's own buffers and ours hold together, with time for the good one to read.
    for (let i = 0; i < 200; i++) {
      rig.events.emit("notification", { name: "sa-down", content });
      if (i % 4 === 3) await sleep(2);
    }
    await until(() => rig.log.some((line) => line.includes("was cut off")));
    assert.equal(rig.log.filter((line) => line.includes("was cut off")).length, 1);
    rig.events.emit("notification", { name: "port-up", content: { interface: "wan0" } });
    await until(() => good.text().includes("port-up"));
    good.end();
    slow.destroy();
  });
});
