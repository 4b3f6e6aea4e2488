// The service over real sockets, with clients that behave and clients that do not.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CharonClient } from "../../test/charon-client.js";
import { host, policy, RecordingKernel, RecordingLogger, sa, saId } from "../../test/charon-messages.js";
import { Status } from "../ipsec/kernel.js";
import { close, SystemError } from "../native/libc.js";
import type { FromDaemon } from "./decode.js";
import { encodeRequest, MessageBuffer } from "./encode.js";
import { HeaderLayout, MESSAGE_MAX } from "./protocol.js";
import { CharonService } from "./service.js";
import { listenAt } from "./socket.js";

const bootId = 0x1234_5678_9abc_def0n;

let directory: string;
let path: string;
let kernel: RecordingKernel;
let logger: RecordingLogger;
let service: CharonService;
let clients: CharonClient[];

function listen(): CharonService {
  return CharonService.listen({ path, kernel, features: 17, bootId, logger });
}

/** A client that has said hello, unless told otherwise. */
async function connect(session = 1n, greet = true): Promise<CharonClient> {
  const client = new CharonClient(path, session);
  clients.push(client);
  if (greet) assert.equal((await client.call("hello", client.hello())).status, Status.success);
  return client;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (holds()) return;
    await sleep(5);
  }
  assert.fail(`${what}: not within two seconds`);
}

const logged = (pattern: RegExp) => logger.lines.filter((line) => pattern.test(line));

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vita-charon-"));
  path = join(directory, "charon.sock");
  kernel = new RecordingKernel();
  logger = new RecordingLogger();
  clients = [];
  service = listen();
});

afterEach(async () => {
  for (const client of clients) client.close();
  await service.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe("calls", () => {
  test("hello tells the boot id and the features, and opens a session", async () => {
    const client = await connect(7n, false);
    const answer = await client.call("hello", client.hello());
    assert.deepEqual(answer, { call: "hello", id: 1, status: 0, bootId, features: 17, reason: "" });
    assert.deepEqual(kernel.notes, [{ call: "sessionOpened", session: 7n }]);
    assert.deepEqual(service.sessions, [7n]);
    assert.match(logger.lines[0], /^test client \(process \d+\) connected, session 0000000000000007$/);
  });

  test("every call reaches its method, and its results come back", async () => {
    const client = await connect();
    const src = host("192.0.2.1");
    const dst = host("192.0.2.2");
    const spi = await client.call("get_spi", { src, dst, protocol: 50 });
    assert.equal(spi.value, 0xc0000001);
    assert.equal((await client.call("get_cpi", { src, dst })).status, Status.notSupported);
    assert.equal((await client.call("add_sa", sa(1))).status, Status.success);
    const update = { id: saId(1), newSrc: src, newDst: dst, newReqid: 0, cpi: 0 };
    const encapsulation = { udpEncapsulation: false, newUdpEncapsulation: true };
    await client.call("update_sa", { ...update, ...encapsulation });
    const usage = await client.call("query_sa", { id: saId(1), cpi: 0 });
    assert.deepEqual([usage.bytes, usage.packets, usage.idle], [1000n, 10n, 3]);
    await client.call("del_sa", { id: saId(1), cpi: 0 });
    await client.call("flush_sas", {});
    await client.call("add_policy", policy(1));
    assert.equal((await client.call("query_policy", policy(1).id)).idle, 3);
    await client.call("del_policy", policy(1));
    await client.call("flush_policies", {});
    assert.deepEqual(
      kernel.notes.map(({ call }) => call),
      [
        "sessionOpened",
        "getSpi",
        "getCpi",
        "addSa",
        "updateSa",
        "querySa",
        "deleteSa",
        "flushSas",
        "addPolicy",
        "queryPolicy",
        "deletePolicy",
        "flushPolicies",
      ],
    );
    assert.deepEqual(kernel.notesOf("addPolicy")[0].request, policy(1));
    assert.equal(kernel.notesOf("updateSa")[0].request.newUdpEncapsulation, true);
  });

  test("the buffer is zeroed behind a message with keys", async () => {
    const windows: Uint8Array[] = [];
    kernel.addSa = ({ encryptionKey }) => {
      assert.deepEqual(encryptionKey, sa(1).encryptionKey);
      windows.push(encryptionKey);
      return { status: Status.success };
    };
    const client = await connect();
    await client.call("add_sa", sa(1));
    assert.deepEqual(windows[0], new Uint8Array(20));
  });

  test("a refusal comes with its reason; not found is not worth a line", async () => {
    const client = await connect();
    kernel.answers.set("addSa", { status: Status.failed, reason: "no such algorithm" });
    kernel.answers.set("deleteSa", { status: Status.notFound });
    const added = await client.call("add_sa", sa(1));
    assert.deepEqual([added.status, added.reason], [Status.failed, "no such algorithm"]);
    assert.equal((await client.call("del_sa", { id: saId(1), cpi: 0 })).status, Status.notFound);
    assert.equal(logged(/add_sa failed: no such algorithm/).length, 1);
    assert.equal(logged(/del_sa/).length, 0);
  });

  test("a method that throws is FAILED and a line, and nothing else", async () => {
    const client = await connect();
    kernel.addPolicy = () => {
      throw new Error("a bug");
    };
    kernel.getSpi = () => ({ status: Status.success, spi: undefined }) as never;
    const answer = await client.call("add_policy", policy(0));
    assert.deepEqual(
      [answer.status, answer.reason],
      [Status.failed, "an error inside Vita, its log says more"],
    );
    const spi = { src: host("192.0.2.1"), dst: host("192.0.2.2"), protocol: 50 };
    assert.equal((await client.call("get_spi", spi)).status, Status.failed);
    assert.equal(logged(/add_policy broke: a bug/).length, 1);
    assert.equal(logged(/get_spi broke: getSpi succeeded without an SPI/).length, 1);
    assert.equal((await client.call("flush_sas", {})).status, Status.success);
  });

  test("an SA for one CPU only is refused", async () => {
    const client = await connect();
    const answer = await client.call("add_sa", { ...sa(1), cpu: 3 });
    assert.equal(answer.status, Status.notSupported);
    assert.match(answer.reason, /CPU 3/);
    assert.equal(kernel.notesOf("addSa").length, 0);
  });

  test("a call whose deadline is over is not begun, whatever the client's clock says", async () => {
    const client = await connect(1n, false);
    // A client whose clock is an hour ahead, as in a time namespace.
    const now = () => process.hrtime.bigint() / 1_000_000n + 3_600_000n;
    await client.call("hello", { ...client.hello(), clock: now() });
    const late = await client.call("add_sa", sa(1), now() - 100n);
    assert.deepEqual([late.status, late.reason], [Status.failed, "its time limit is over"]);
    assert.equal(kernel.notesOf("addSa").length, 0);
    assert.equal((await client.call("add_sa", sa(1), now() + 1000n)).status, Status.success);
    assert.equal(logged(/add_sa not begun, its time limit was over \d+ ms ago/).length, 1);
  });
});

describe("clients that do not behave", () => {
  const buffer = new MessageBuffer();
  const good = () => {
    const request = { call: "del_sa", id: 99, deadline: 0n, body: { id: saId(1), cpi: 0 } } as const;
    return buffer.bytes.slice(0, encodeRequest(buffer, request));
  };

  test("a call before hello", async () => {
    const client = await connect(1n, false);
    const answer = await client.call("add_sa", sa(1));
    assert.deepEqual([answer.status, answer.reason], [Status.failed, "add_sa before hello"]);
    assert.equal(kernel.notes.length, 0);
    assert.equal(logged(/add_sa before hello/).length, 1);
    assert.equal((await client.call("hello", client.hello())).status, Status.success);
  });

  test("a second hello", async () => {
    const client = await connect();
    const answer = await client.call("hello", client.hello());
    assert.deepEqual([answer.status, answer.reason], [Status.failed, "a second hello on one connection"]);
    assert.equal((await client.call("flush_sas", {})).status, Status.success);
  });

  test("malformed messages are answered with their id, and others do not notice", async () => {
    const client = await connect(1n);
    const other = await connect(2n);
    const expectRefusal = (message: FromDaemon | undefined, id: number, reason: RegExp) => {
      assert.ok(message?.kind === "answer" || message?.kind === "refusal");
      const answer = message.kind === "answer" ? message.answer : message;
      assert.deepEqual([answer.id, answer.status], [id, Status.failed]);
      assert.match(answer.reason, reason);
    };
    client.sendRaw(good().slice(0, 50));
    expectRefusal(await client.next(), 99, /length \d+ is not the 50 bytes sent/);
    const unknown = good();
    new DataView(unknown.buffer).setUint16(HeaderLayout.offset.type, 0x300, true);
    client.sendRaw(unknown);
    expectRefusal(await client.next(), 99, /message type 0x300 is no call/);
    client.sendRaw(good().slice(0, 16));
    expectRefusal(await client.next(), 99, /of 16 bytes is too short/);
    const oversized = new Uint8Array(MESSAGE_MAX + 1);
    oversized.set(good());
    client.sendRaw(oversized);
    expectRefusal(await client.next(), 99, /message of 65537 bytes, more than 65536/);
    // Too short for an id: a line in the log, and no answer but the next one.
    client.sendRaw(good().slice(0, 9));
    assert.equal((await client.call("flush_sas", {})).status, Status.success);
    assert.equal(logged(/of 9 bytes is too short/).length, 1);
    assert.equal((await other.call("add_sa", sa(1))).status, Status.success);
  });

  test("a hello of another version is answered so that it can tell", async () => {
    const client = await connect(1n, false);
    const request = { call: "hello", id: 5, deadline: 0n, body: client.hello() } as const;
    const bytes = buffer.bytes.slice(0, encodeRequest(buffer, request));
    new DataView(bytes.buffer).setUint16(HeaderLayout.offset.version, 9, true);
    client.sendRaw(bytes);
    const message = await client.next();
    assert.ok(message?.kind === "hello");
    assert.deepEqual([message.answer.id, message.answer.status], [5, Status.failed]);
    assert.equal(message.answer.reason, "version 9 of the protocol is not 1");
    assert.equal(
      logged(/speaks version 9 of the protocol, this Vita version 1: build and install/).length,
      1,
    );
    assert.equal(kernel.notes.length, 0);
  });

  test("too many malformed messages close the connection", async () => {
    const client = await connect();
    for (let i = 0; i < 16; i++) client.sendRaw(new Uint8Array(3));
    assert.equal(await client.next(), undefined);
    assert.equal(logged(/closed after 16 malformed messages/).length, 1);
    assert.equal(kernel.notesOf("sessionClosed").length, 1);
  });

  test("one that does not read its answers is closed", async () => {
    const client = await connect();
    const other = await connect(2n);
    await assert.rejects(async () => {
      for (let i = 0; i < 100_000; i++) {
        try {
          client.send("flush_sas", {});
        } catch (error) {
          if (!(error instanceof SystemError && error.code === "EAGAIN")) throw error;
          await sleep(1);
        }
      }
    }, /EPIPE|ECONNRESET/);
    assert.equal(logged(/closed: it does not read its answers/).length, 1);
    assert.equal((await other.call("flush_sas", {})).status, Status.success);
  });

  test("another user is turned away", { skip: process.getuid?.() === 0 ? false : "needs root" }, async () => {
    // Only for this test: otherwise the file's own mode keeps others out already.
    chmodSync(directory, 0o711);
    chmodSync(path, 0o666);
    const script = `
      const { CharonClient } = await import(${JSON.stringify(new URL("../../test/charon-client.js", import.meta.url).href)});
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
      const client = new CharonClient(${JSON.stringify(path)});
      try {
        client.send("hello", client.hello());
        console.log(await client.next() === undefined ? "closed" : "answered");
      } catch (error) {
        console.log(error.code);
      }
      process.exit(0);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    await once(child, "close");
    assert.match(output, /^(closed|EPIPE|ECONNRESET)\n$/);
    assert.equal(logged(/refused a connection of process \d+, user id 65534: only root/).length, 1);
    assert.equal(kernel.notes.length, 0);
  });
});

describe("sessions and events", () => {
  test("events go to every session, and to nobody before its hello", async () => {
    const one = await connect(1n);
    const two = await connect(2n);
    const stranger = await connect(3n, false);
    const event = { event: "expire", protocol: 50, spi: 5, dst: host("192.0.2.1"), hard: true } as const;
    assert.equal(service.sendEvent(event), 2);
    for (const client of [one, two]) assert.deepEqual(await client.next(), { kind: "event", event });
    const acquire = { event: "acquire", reqid: 3, src: undefined, dst: undefined } as const;
    service.sendEvent(acquire);
    assert.equal((await one.call("flush_sas", {})).status, Status.success);
    assert.deepEqual(one.events, [acquire]);
    await assert.rejects(stranger.next(50), /no message/);
  });

  test("a session ends with the last of its connections", async () => {
    const first = await connect(5n);
    await connect(5n);
    assert.equal(kernel.notesOf("sessionOpened").length, 1);
    first.close();
    clients.shift();
    const other = await connect(6n);
    await other.call("flush_sas", {});
    assert.equal(kernel.notesOf("sessionClosed").length, 0);
    clients.shift()?.close();
    await until("the end of the session", () => kernel.notesOf("sessionClosed").length === 1);
    assert.deepEqual(kernel.notesOf("sessionClosed"), [{ call: "sessionClosed", session: 5n }]);
    await connect(5n);
    assert.equal(kernel.notesOf("sessionOpened").length, 3);
  });

  test("stop closes what is open and removes the socket", async () => {
    const client = await connect();
    await service.stop();
    assert.equal(await client.next(), undefined);
    assert.equal(existsSync(path), false);
    assert.equal(kernel.notesOf("sessionClosed").length, 1);
    assert.throws(() => new CharonClient(path), /ENOENT/);
  });
});

describe("the socket file", () => {
  test("is for its owner only", () => {
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  test("of a service that runs is left alone", async () => {
    assert.throws(listen, /charon\.sock: somebody listens there already; is another vita running/);
    const client = await connect();
    assert.equal((await client.call("flush_sas", {})).status, Status.success);
  });

  test("of a crashed run is replaced", async () => {
    await service.stop();
    close(listenAt(path));
    assert.equal(existsSync(path), true);
    service = listen();
    await connect();
  });

  test("is not taken from somebody else's file", async () => {
    await service.stop();
    writeFileSync(path, "precious");
    assert.throws(listen, /exists and is not a socket/);
    rmSync(path);
    service = listen();
  });

  test("in a directory that is not there is an error that names it", () => {
    const options = { kernel, features: 0, bootId, logger };
    assert.throws(
      () => CharonService.listen({ ...options, path: join(directory, "none", "x.sock") }),
      /bind .*none\/x\.sock: ENOENT/,
    );
    assert.throws(() => CharonService.listen({ ...options, path: `/${"x".repeat(200)}` }), /1 to 107 bytes/);
  });

  test("that another service took over is left to it", async () => {
    rmSync(path);
    const second = listen();
    await service.stop();
    assert.equal(existsSync(path), true);
    await second.stop();
    assert.equal(existsSync(path), false);
  });
});

test("a synchronous client makes thousands of calls a second", async (t) => {
  const socket = join(directory, "load.sock");
  const main = new URL("../../test/charon-service-main.js", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, socket], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  try {
    await once(child.stdout, "data");
    const client = new CharonClient(socket);
    clients.push(client);
    client.callSync("hello", client.hello());
    const message = sa(1);
    const rounds = [];
    for (let round = 0; round < 5; round++) {
      const begun = performance.now();
      for (let i = 0; i < 5000; i++) {
        message.id.spi = i + 256;
        assert.equal(client.callSync("add_sa", message).status, Status.success);
      }
      rounds.push((5000 / (performance.now() - begun)) * 1000);
    }
    const best = Math.max(...rounds);
    t.diagnostic(`${Math.round(best)} add_sa/s`);
    // The machine may be busy with other tests: the rate that is aimed at is five times as high.
    assert.ok(best > 2000, `${best} add_sa/s`);
  } finally {
    child.stdin.end();
    await ended;
  }
  assert.equal(child.exitCode, 0);
});
