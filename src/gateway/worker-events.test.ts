// The pipe between workers and supervisor, with the real files: what reaches charon, and what noise, crashes and time do.

import assert from "node:assert/strict";
import { closeSync, readdirSync, statSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Event } from "../charon/protocol.js";
import { NodeEngine } from "../ipsec/aead-node.js";
import { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { Sad } from "../ipsec/sad.js";
import { Spd } from "../ipsec/spd.js";
import { policyRequest, saId, saRequest } from "../ipsec/testing/requests.js";
import { EventWriter } from "../ipsec/worker-events.js";
import { makeScratch } from "../memory/testing/scratch.js";
import { openEventPipe } from "./event-pipe.js";
import { WorkerEvents } from "./worker-events.js";

const IN = 0xc0000005;
const packet = (dst: number) =>
  new DataView(Uint8Array.from([0x45, ...new Array(11).fill(0), 10, 1, 0, 5, 10, dst, 0, 7]).buffer);

class Rig {
  readonly scratch = makeScratch("events");
  readonly path = this.scratch.file("events");
  readonly sad = Sad.create(this.scratch.file("sad"), 8, NodeEngine.id);
  readonly spd = Spd.create(this.scratch.file("spd"), 8);
  readonly clock = { seconds: 1000 };
  readonly sent: Event[] = [];
  readonly warnings: string[] = [];
  isListening = true;
  events = this.open();
  readonly pipe = openEventPipe(this.path);
  readonly writer = new EventWriter(this.clock, (record) => writeSync(this.pipe, record));
  readonly kernel = new PseudoKernel({
    sad: this.sad,
    spd: this.spd,
    engine: new NodeEngine(this.sad),
    now: () => this.clock.seconds,
    policyChanged: (request) => this.events.policyChanged(request),
  });

  constructor(context: TestContext) {
    context.after(() => {
      this.events.close();
      closeSync(this.pipe);
      this.scratch.remove();
    });
  }

  open(): WorkerEvents {
    return new WorkerEvents(this.path, {
      sad: this.sad,
      spd: this.spd,
      now: () => this.clock.seconds,
      send: (event) => {
        if (this.isListening) this.sent.push(event);
        return this.isListening;
      },
      logger: { info: () => {}, warn: (text) => this.warnings.push(text) },
    });
  }

  /** Adds a trap; returns its entry. */
  trap(options = {}): number {
    assert.equal(
      this.kernel.addPolicy(policyRequest({ priorityClass: 2, reqid: 9, ...options }), 1n).status,
      0,
    );
    for (let entry = this.spd.used - 1; entry >= 0; entry--) if (this.spd.present(entry)) return entry;
    throw new Error("no entry");
  }

  acquire(entry: number, dst = 2): void {
    this.writer.acquire(entry, packet(dst), 0, 17, 1000, 53);
  }

  /** Lets the reader have its turn, which the event loop gives it before the second of these. */
  async read(): Promise<void> {
    for (let i = 0; i < 3; i++) await turn();
  }

  /** The same; returns the reqids that charon was asked for, or remote ports that it was told. */
  async told(): Promise<number[]> {
    await this.read();
    return this.sent
      .splice(0)
      .map((event) =>
        event.event === "acquire" ? event.reqid : event.event === "mapping" ? event.remote.port : -1,
      );
  }
}

test("an acquire names the packet; it is repeated after pauses that grow, and at once when policies change", async (context) => {
  const rig = new Rig(context);
  const entry = rig.trap();
  rig.acquire(entry);
  await rig.read();
  const selector = (byte: number, last: number, port: number) => {
    const address = Uint8Array.of(10, byte, 0, last);
    return { from: address, to: address, protocol: 17, fromPort: port, toPort: port };
  };
  assert.deepEqual(rig.sent.splice(0), [
    { event: "acquire", reqid: 9, src: selector(1, 5, 1000), dst: selector(2, 7, 53) },
  ]);
  const times: number[] = [];
  for (let second = 1; second <= 30; second++) {
    rig.clock.seconds++;
    rig.acquire(entry);
    if ((await rig.told()).length > 0) times.push(second);
  }
  assert.deepEqual(times, [2, 6, 14, 30]);
  rig.clock.seconds++;
  rig.trap({ to: "10.3.0.0/16" });
  rig.acquire(entry);
  assert.deepEqual(await rig.told(), [9]);
});

test("what charon did not hear is told again; what is stale or about something else is not", async (context) => {
  const rig = new Rig(context);
  const entry = rig.trap();
  rig.isListening = false;
  rig.acquire(entry);
  assert.deepEqual(await rig.told(), []);
  rig.isListening = true;
  rig.acquire(entry, 3);
  rig.acquire(entry + 1);
  rig.acquire(1 << 30);
  rig.clock.seconds -= 11;
  rig.acquire(entry);
  rig.clock.seconds += 11;
  assert.deepEqual(await rig.told(), []);
  rig.acquire(entry);
  assert.deepEqual(await rig.told(), [9]);
});

test("a trap that is narrowed asks no more often than every 32 seconds", async (context) => {
  const rig = new Rig(context);
  const entry = rig.trap();
  assert.equal(rig.kernel.addSa(saRequest({ spi: 0x107, reqid: 9 }), 1n).status, 0);
  rig.clock.seconds += 2;
  rig.kernel.sweep();
  let told = 0;
  for (let second = 0; second < 33; second++, rig.clock.seconds++) {
    rig.acquire(entry);
    told += (await rig.told()).length;
  }
  assert.equal(told, 2);
  assert.equal(rig.kernel.deleteSa(saId(0x107)).status, 0);
  assert.equal(rig.spd.sa(entry), -1);
});

test("a mapping is told when it differs from what the SA knows by now", async (context) => {
  const rig = new Rig(context);
  const sa = { spi: IN, inbound: true, udpEncapsulation: true, src: "10.1.0.5", dst: "192.0.2.1" };
  assert.equal(rig.kernel.addSa(saRequest({ ...sa, ports: [4500, 4500] }), 1n).status, 0);
  assert.equal(rig.kernel.addSa(saRequest({ spi: 0x109 }), 1n).status, 0);
  const slot = rig.sad.lookup(IN);
  const mapping = (port: number, spi = IN, at = slot) => rig.writer.mapping(at, spi, packet(2), 0, port);
  mapping(4500);
  mapping(4600, IN + 1);
  mapping(4600, IN, slot + 1);
  mapping(4600, 0x109, slot + 1);
  mapping(4600, IN, 1 << 20);
  assert.deepEqual(await rig.told(), []);
  mapping(4600);
  mapping(4600);
  mapping(4601);
  assert.deepEqual(await rig.told(), [4600]);
  rig.clock.seconds++;
  mapping(4600);
  mapping(4601);
  assert.deepEqual(await rig.told(), [4601]);
});

test("noise and halves of records in the pipe cost what they hit, and no more", async (context) => {
  const rig = new Rig(context);
  const entry = rig.trap();
  rig.acquire(entry);
  assert.deepEqual(await rig.told(), [9]);
  const half = rig.writer.record.slice(0, 40);
  for (const noise of [
    Uint8Array.of(1),
    half,
    Buffer.from("VITE"),
    Buffer.from("VIT"),
    new Uint8Array(5000).fill(0x56),
  ]) {
    writeSync(rig.pipe, noise);
    rig.kernel.addPolicy(policyRequest({ reqid: 9, to: "10.77.0.0/16" }), 1n);
    rig.kernel.deletePolicy(policyRequest({ reqid: 9, to: "10.77.0.0/16" }));
    // The record behind noise that looks like a beginning is found with the one after it.
    rig.acquire(entry);
    rig.acquire(entry);
    assert.deepEqual(await rig.told(), [9], Buffer.from(noise).toString("latin1").slice(0, 10));
  }
  assert.deepEqual(rig.warnings, []);
});

test("the pipe outlives a supervisor; something else of its name does not", async (context) => {
  const rig = new Rig(context);
  const entry = rig.trap();
  rig.events.close();
  const { ino } = statSync(rig.path);
  rig.acquire(entry);
  rig.events = rig.open();
  assert.deepEqual(await rig.told(), [9]);
  assert.equal(statSync(rig.path).ino, ino);
  assert.equal(statSync(rig.path).mode & 0o777, 0o600);

  const other = rig.scratch.file("other");
  const target = rig.scratch.file("target");
  writeFileSync(target, "not ours");
  symlinkSync(target, other);
  closeSync(openEventPipe(other));
  assert.ok(statSync(other).isFIFO());
  assert.equal(statSync(target).size, 8);
  assert.ok(readdirSync(rig.scratch.file(".")).includes("target"));
});
