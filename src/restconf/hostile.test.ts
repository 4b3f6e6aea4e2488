// Requests that nobody means well: each has one clear refusal, nothing changes, and the API goes on.

import assert from "node:assert/strict";
import { once } from "node:events";
import { statSync } from "node:fs";
import { connect } from "node:net";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Rig, startRig } from "./testing/rig.js";

const data = "/restconf/data";
const json = { "content-type": "application/yang-data+json" };
const xml = { "content-type": "application/yang-data+xml" };

describe("RESTCONF: hostile requests", () => {
  let rig: Rig;
  let etag = "";
  before(async () => {
    rig = await startRig();
    ({ etag } = rig.datastore);
  });
  after(() => rig.close());
  afterEach(async () => {
    assert.equal(rig.datastore.etag, etag, "the configuration has changed");
    assert.equal((await rig.ask(`${data}/vita-gateway:workers`)).status, 200);
  });

  it("the socket is its owner's alone", () => {
    assert.equal(statSync(rig.socket).mode & 0o777, 0o600);
  });

  it("paths", async () => {
    const paths: [string, number][] = [
      [`${data}/vita-gateway:route=%00`, 400],
      [`${data}/vita-gateway:route=a%00b`, 400],
      [`${data}/vita-gateway:route=%1b[2J`, 400],
      [`${data}/vita-gateway:route=%ff`, 400],
      [`${data}/vita-gateway:route=%c0%af`, 400],
      [`${data}/vita-gateway:route=%ed%a0%80`, 400],
      [`${data}/vita-gateway:route=%f4%90%80%80`, 400],
      [`${data}/vita-gateway:route=%zz`, 400],
      [`${data}/vita-gateway:route=%`, 400],
      [`${data}/vita-gateway:route=%ef%bf%bf`, 400],
      [`${data}/..`, 400],
      [`${data}/../../etc/passwd`, 400],
      [`${data}/%2e%2e/%2e%2e/etc/passwd`, 400],
      [`${data}/vita-gateway:route=..%2f..%2fetc`, 404],
      [`${data}/vita-gateway:route='%20or%20'1'='1`, 404],
      [`${data}/vita-gateway:route=%5d%5bid%3d'foo'%5d`, 404],
      [`${data}/vita-gateway:route='%22`, 400],
      [`${data}/vita-gateway:route=${"a".repeat(9000)}`, 400],
      [`${data}/vita-gateway:route=${",".repeat(2000)}`, 400],
      [`${data}/${"a/".repeat(2000)}`, 400],
      [`${data}/vita-gateway:route%3Dfoo`, 400],
      [`${data}/__proto__:constructor`, 404],
      [`${data}/vita-gateway:__proto__`, 404],
      [`${data}/vita-gateway:route=__proto__`, 404],
      [`${data}/vita-gateway:workers?%ff=1`, 400],
      [`${data}/vita-gateway:workers?depth=%c0%80`, 400],
      [`${data}/vita-gateway:route?fields=${"id(".repeat(1000)}`, 400],
      [`${data}/vita-gateway:route?fields=${"id;".repeat(2000)}id`, 200],
      ["/%72estconf/data/vita-gateway:workers", 404],
      ["/restconf//data", 404],
      ["/restconf/streams/NETCONF/..%2fjson", 404],
      ["/restconf/schema/%00", 404],
    ];
    for (const [path, status] of paths) {
      const reply = await rig.ask(path);
      assert.equal(reply.status, status, `${path.slice(0, 80)}: ${reply.text.slice(0, 300)}`);
      assert.ok(reply.text.length < 2_000, `${path.slice(0, 80)} is repeated at length`);
      if (status >= 400) assert.match(reply.text, /"error-tag"/, path.slice(0, 80));
    }
  });

  it("a list and a leaf with names of JavaScript's own", async () => {
    const body = '{"__proto__":{"vita-gateway:workers":9}}';
    assert.equal((await rig.ask(data, { method: "POST", headers: json, body })).status, 400);
    const inner = '{"vita-gateway:route":[{"id":"x","__proto__":{"net":["10.0.0.0/8"]}}]}';
    assert.equal((await rig.ask(data, { method: "POST", headers: json, body: inner })).status, 400);
  });

  it("bodies that are too large are refused before they are read", async () => {
    const socket = connect(rig.socket);
    socket.write(
      `POST ${data} HTTP/1.1\r\nHost: x\r\nContent-Type: application/yang-data+json\r\nContent-Length: ${1 << 30}\r\n\r\n`,
    );
    const [chunk] = (await once(socket, "data")) as [Buffer];
    assert.match(chunk.toString(), /^HTTP\/1.1 413 .*"too-big"/s);
    socket.destroy();
  });

  it("bodies without a length are cut off at the same size", async () => {
    const socket = connect(rig.socket);
    socket.on("error", () => {
      // The other end has closed it.
    });
    socket.write(
      `POST ${data} HTTP/1.1\r\nHost: x\r\nContent-Type: application/yang-data+json\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const answered = once(socket, "data");
    const chunk = `100000\r\n${"x".repeat(1 << 20)}\r\n`;
    for (let i = 0; i < 20; i++) socket.write(chunk);
    const [part] = (await answered) as [Buffer];
    const answer = part.toString();
    assert.match(answer, /^HTTP\/1.1 413 /);
    socket.destroy();
  });

  it("documents that are nested without end", async () => {
    const deep = 100_000;
    const bodies: [Record<string, string>, string][] = [
      [json, "[".repeat(deep)],
      [json, `${'{"a":'.repeat(deep)}1${"}".repeat(deep)}`],
      [json, `{"vita-gateway:route":${"[".repeat(deep)}${"]".repeat(deep)}}`],
      [xml, "<a>".repeat(deep)],
      [xml, `<route xmlns="urn:vita:gateway">${"<id>".repeat(deep)}`],
    ];
    for (const [headers, body] of bodies) {
      for (const method of ["POST", "PUT", "PATCH"]) {
        const path = method === "POST" ? data : `${data}/vita-gateway:route=foo`;
        const reply = await rig.ask(path, { method, headers, body });
        assert.equal(reply.status, 400, reply.text.slice(0, 300));
        assert.match(reply.text, /malformed-message/);
      }
    }
  });

  it("strings that are very long", async () => {
    const long = "a".repeat(4 << 20);
    for (const body of [
      `{"vita-gateway:route":[{"id":"${long}"}]}`,
      `{"${long}":1}`,
      `{"vita-gateway:engine":"${long}"}`,
      `{"vita-gateway:engine":"${"\\\\".repeat(4 << 20)}"}`,
    ]) {
      const reply = await rig.ask(data, { method: "POST", headers: json, body });
      assert.equal(reply.status, 400);
      assert.ok(reply.text.length < 2_000, reply.text.slice(0, 300));
    }
  });

  it("XML that would grow, or is none", async () => {
    for (const body of [
      '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><mtu xmlns="urn:vita:gateway">&b;</mtu>',
      '<mtu xmlns="urn:vita:gateway">&unknown;</mtu>',
      '<mtu xmlns="urn:vita:gateway">1400</mtu><mtu xmlns="urn:vita:gateway">1400</mtu>',
      "<x:mtu>1400</x:mtu>",
      '<mtu xmlns="urn:vita:gateway" mtu="1" mtu="2">1400</mtu>',
      '<route xmlns="urn:vita:gateway">text<id>x</id></route>',
      "1400",
    ]) {
      const reply = await rig.ask(data, { method: "POST", headers: xml, body });
      assert.equal(reply.status, 400, `${body}: ${reply.text}`);
      assert.match(reply.text, /<error-tag>malformed-message</, body);
    }
  });

  it("headers that are too many, requests that are none", async () => {
    const send = async (text: string) => {
      const socket = connect(rig.socket);
      socket.end(text);
      let answer = "";
      for await (const part of socket) answer += part;
      return answer;
    };
    assert.match(
      await send(`GET /restconf HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(20_000)}\r\n\r\n`),
      /^HTTP\/1.1 431 /,
    );
    assert.match(await send("\0\0\0\0\r\n\r\n"), /^HTTP\/1.1 400 /);
    assert.match(await send(`GET ${data}/\0 HTTP/1.1\r\nHost: x\r\n\r\n`), /^HTTP\/1.1 400 /);
    assert.match(
      await send(
        `POST ${data} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      ),
      /^HTTP\/1.1 400 /,
    );
  });

  it("clients that never end what they begin are cut off", async () => {
    const limits = {
      headersTimeout: 200,
      requestTimeout: 400,
      keepAliveTimeout: 200,
      connectionsCheckingInterval: 50,
    };
    const slow = await startRig({ limits });
    const begun = [
      "GET /restconf HTTP/1.1\r\nHost: x\r\n",
      `POST ${data} HTTP/1.1\r\nHost: x\r\nContent-Type: application/yang-data+json\r\nContent-Length: 9\r\n\r\n{`,
      "GET /.well-known/host-meta HTTP/1.1\r\nHost: x\r\n\r\n",
      "",
    ];
    const ended = begun.map(async (text) => {
      const socket = connect(slow.socket);
      if (text !== "") socket.write(text);
      let answer = "";
      for await (const part of socket) answer += part;
      return answer.split("\r\n")[0];
    });
    const answers = await Promise.race([Promise.all(ended), sleep(5_000, "still open")]);
    await slow.close();
    assert.deepEqual(answers, [
      "HTTP/1.1 408 Request Timeout",
      "HTTP/1.1 408 Request Timeout",
      "HTTP/1.1 200 OK",
      "HTTP/1.1 408 Request Timeout",
    ]);
  });

  it("clients that do not take their answers are cut off", async () => {
    const slow = await startRig({ limits: { answerTimeout: 1_000 } });
    const read = async (pause: number) => {
      const socket = connect(slow.socket);
      socket.pause();
      socket.write("GET /restconf/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      await sleep(pause);
      let bytes = 0;
      socket.on("error", () => {
        // The other end has cut it off.
      });
      socket.on("data", (part: Buffer) => {
        bytes += part.length;
      });
      socket.resume();
      await once(socket, "close");
      return bytes;
    };
    try {
      const whole = await read(0);
      assert.ok(whole > 300_000);
      assert.ok((await read(3_000)) < whole);
    } finally {
      await slow.close();
    }
  });

  it("hundreds of requests at once", async () => {
    const replies = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        rig.ask(`${data}/vita-gateway:route=${i % 2 ? "foo" : "nobody"}`),
      ),
    );
    assert.equal(replies.filter(({ status }) => status === 200).length, 150);
    assert.equal(replies.filter(({ status }) => status === 404).length, 150);
  });
});
