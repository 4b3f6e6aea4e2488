// A connection to a charon that is played by this test: answers in order, events in between, refusals, silence, nonsense,
// and a charon that goes away and comes back.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Vici } from "./vici.js";
import { Packet, ViciConnection, ViciRefusal, ViciUnreachable, viciAddress } from "./vici-connection.js";
import { decodeMessage, encodeMessage, type ViciFields, type ViciSection } from "./vici-message.js";

const folder = mkdtempSync(join(tmpdir(), "vici-"));
after(() => rmSync(folder, { recursive: true }));
let sockets = 0;

interface Asked {
  type: number;
  name: string;
  message: ViciSection;
}

/** A charon that does what it is told to with each packet. */
class Played {
  readonly path = join(folder, `vici-${++sockets}.sock`);
  readonly uri = `unix://${this.path}`;
  readonly asked: Asked[] = [];
  #server: Server | undefined;
  readonly #clients = new Set<Socket>();

  constructor(
    readonly answer: (asked: Asked, send: (type: number, name?: string, fields?: ViciFields) => void) => void,
  ) {}

  listen(): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket));
    return new Promise((resolve) => this.#server?.listen(this.path, resolve));
  }

  #serve(socket: Socket): void {
    this.#clients.add(socket);
    socket.on("error", () => {});
    let input = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      input = Buffer.concat([input, bytes]);
      while (input.length >= 4 && input.length >= 4 + input.readUInt32BE(0)) {
        const packet = input.subarray(4, 4 + input.readUInt32BE(0));
        input = input.subarray(4 + packet.length);
        const end = 2 + packet[1];
        const asked = {
          type: packet[0],
          name: packet.toString("latin1", 2, end),
          message: decodeMessage(packet.subarray(end)),
        };
        this.asked.push(asked);
        this.answer(asked, (type, name, fields = {}) => this.send(type, name, fields, socket));
      }
    });
  }

  send(type: number, name: string | undefined, fields: ViciFields, to?: Socket): void {
    const head = name === undefined ? [type] : [type, name.length, ...Buffer.from(name)];
    this.write(Buffer.concat([Buffer.from(head), encodeMessage(fields)]), to);
  }

  /** A packet, in two writes. */
  write(packet: Buffer, to?: Socket): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(packet.length);
    for (const socket of to ? [to] : this.#clients) {
      socket.write(Buffer.concat([length, packet.subarray(0, 1)]));
      socket.write(packet.subarray(1));
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#clients) socket.destroy();
    this.#clients.clear();
    await new Promise((resolve) => this.#server?.close(resolve));
  }
}

async function played(answer: Played["answer"]): Promise<Played> {
  const charon = new Played(answer);
  await charon.listen();
  return charon;
}

/** Confirms registrations, and answers a command with its own message, or as `errmsg` in it says. */
const echo: Played["answer"] = ({ type, name, message }, send) => {
  if (type === Packet.eventRegister) send(name === "unheard" ? Packet.eventUnknown : Packet.eventConfirm);
  else if (type === Packet.eventUnregister) send(Packet.eventConfirm);
  else if (name === "unheard") send(Packet.commandUnknown);
  else {
    const errmsg = message.text("errmsg");
    if (name === "stream") send(Packet.event, "piece", { n: "1" });
    if (name === "stream") send(Packet.event, "piece", { n: "2" });
    send(Packet.commandResponse, undefined, {
      ...(errmsg === undefined ? {} : { success: "no", errmsg }),
      n: message.text("n"),
    });
  }
};

test("answers belong to commands in their order, however many are under way", async () => {
  const charon = await played(echo);
  const connection = await ViciConnection.open(charon.uri);
  const numbers = Array.from({ length: 500 }, (_, n) => n);
  const answers = await Promise.all(numbers.map((n) => connection.request("echo", { n: String(n) })));
  assert.deepEqual(
    answers.map((answer) => answer.number("n")),
    numbers,
  );
  connection.close();
  await charon.close();
});

test("tells a refusal with charon's words, and goes on", async () => {
  const charon = await played(echo);
  const connection = await ViciConnection.open(charon.uri);
  const [refused, unknown, fine, event] = await Promise.allSettled([
    connection.request("load", { errmsg: "invalid value for: proposals, config discarded" }),
    connection.request("unheard"),
    connection.request("echo", { n: "3" }),
    connection.subscribe("unheard", () => {}),
  ]);
  assert(refused.status === "rejected" && refused.reason instanceof ViciRefusal);
  assert.equal(refused.reason.message, "invalid value for: proposals, config discarded");
  assert(unknown.status === "rejected" && unknown.reason.message === 'charon knows no command "unheard"');
  assert(fine.status === "fulfilled" && fine.value.number("n") === 3);
  assert(event.status === "rejected" && event.reason.message === 'charon knows no event "unheard"');
  connection.close();
  await charon.close();
});

test("streams events before the answer, and is unsubscribed after it", async () => {
  const charon = await played(echo);
  const connection = await ViciConnection.open(charon.uri);
  for (let round = 0; round < 2; round++) {
    const pieces: (number | undefined)[] = [];
    await connection.stream("stream", {}, "piece", (event) => pieces.push(event.number("n")));
    assert.deepEqual(pieces, [1, 2]);
  }
  assert.deepEqual(
    charon.asked.slice(0, 3).map(({ type }) => type),
    [Packet.eventRegister, Packet.commandRequest, Packet.eventUnregister],
  );
  connection.close();
  await charon.close();
});

test("gives charon up that is silent for too long, and all who wait hear of it", async () => {
  const charon = await played(() => {});
  const connection = await ViciConnection.open(charon.uri, { patience: 100 });
  const outcomes = await Promise.allSettled([connection.request("one"), connection.request("two")]);
  for (const outcome of outcomes) {
    assert(outcome.status === "rejected" && outcome.reason instanceof ViciUnreachable);
    assert.match(outcome.reason.message, /no answer to "one" within 100 ms/);
  }
  await assert.rejects(connection.request("three"), ViciUnreachable);
  await charon.close();
});

for (const [what, packet] of [
  ["an answer that nobody waits for", Buffer.from([Packet.eventConfirm])],
  ["a packet of no type", Buffer.from([99])],
  ["an answer that is no message", Buffer.from([Packet.commandResponse, 3, 200])],
] as const)
  test(`gives charon up that sends ${what}`, async () => {
    const charon = await played(() => charon.write(packet));
    const connection = await ViciConnection.open(charon.uri);
    await assert.rejects(connection.request("one"), /cannot be understood/);
    assert(!connection.isOpen);
    await charon.close();
  });

test("knows no other sockets than those of unix and tcp", async () => {
  assert.deepEqual(viciAddress("unix:///run/charon.vici"), { path: "/run/charon.vici" });
  assert.deepEqual(viciAddress("tcp://127.0.0.1:4502"), { host: "127.0.0.1", port: 4502 });
  assert.deepEqual(viciAddress("tcp://[::1]:4502"), { host: "::1", port: 4502 });
  for (const uri of [
    "unix://run/charon.vici",
    "tcp://::1:4502",
    "tcp://localhost",
    "tcp://a:70000",
    "/run/charon.vici",
  ])
    assert.throws(() => viciAddress(uri), /neither unix/);
  await assert.rejects(ViciConnection.open(`unix://${folder}/none`), {
    name: "ViciUnreachable",
    message: /ENOENT/,
  });
});

test("connects when charon comes, and again when it comes back, with its subscriptions", async () => {
  const charon = new Played(echo);
  const log: string[] = [];
  const vici = new Vici({
    uri: charon.uri,
    events: { piece: (event) => log.push(`piece ${event.text("n")}`), unheard: () => {} },
    connected: () => log.push("connected"),
    lost: ({ message }) => log.push(`lost ${/[A-Z]{5,}|closed/.exec(message.split(": ").at(-1) ?? "")?.[0]}`),
  });
  const saw = async (last: string) => {
    for (let i = 0; i < 300 && log.at(-1) !== last; i++) await sleep(10);
    assert.equal(log.at(-1), last);
  };
  await vici.settled();
  assert.equal(vici.connection, undefined);
  await charon.listen();
  await saw("connected");
  charon.send(Packet.event, "piece", { n: "1" });
  await saw("piece 1");
  await charon.close();
  await saw("lost closed");
  await charon.listen();
  await saw("connected");
  charon.send(Packet.event, "piece", { n: "2" });
  await saw("piece 2");
  assert.deepEqual(log, ["lost ENOENT", "connected", "piece 1", "lost closed", "connected", "piece 2"]);
  vici.close();
  await charon.close();
});
