import assert from "node:assert/strict";
import { test } from "node:test";
import type { IpAddress } from "../net/address.js";
import { formatAddress } from "../net/address.js";
import { formatEthernet } from "../net/ethernet.js";
import { Neighbours } from "./neighbours.js";
import { address, OwnedParts, PEER, PEER4, PEER6, THIRD } from "./testing/owned-parts.js";

const SECOND = 1000;

class World {
  readonly parts: OwnedParts;
  readonly output;
  readonly neighbours: Neighbours;
  /** What the cache did since the last look, as lines. */
  private readonly log: string[] = [];
  private readonly hops: IpAddress[] = [];

  constructor(options: { capacity?: number; frames?: number } = {}) {
    this.parts = new OwnedParts(options.frames);
    this.output = this.parts.link();
    this.neighbours = new Neighbours(
      this.parts.context,
      {
        solicit: (target, station) =>
          this.log.push(`ask ${formatAddress(target)}${station ? ` at ${formatEthernet(station)}` : ""}`),
        changed: (target, mac) =>
          this.log.push(`${formatAddress(target)} is ${mac ? `at ${formatEthernet(mac)}` : "gone"}`),
        addressOf: (hop) => this.hops[hop],
      },
      this.output,
      () => 0.5,
      options.capacity,
    );
  }

  did(): string[] {
    return this.log.splice(0);
  }

  hop(target: IpAddress): number {
    return this.hops.push(target) - 1;
  }

  /** A packet with a number in it, for the neighbour behind a hop. */
  send(hop: number, number: number): void {
    const frame = this.parts.frame(Uint8Array.of(number, number, number));
    const { frames } = this.parts;
    assert.equal(this.neighbours.send(frames.offset[frame], frames.length[frame], hop), true);
    frames.free(frame);
  }

  hear(target: IpAddress, mac: Uint8Array, solicited: boolean, override = true): void {
    const bytes = Uint8Array.from([...target, ...mac]);
    const view = new DataView(bytes.buffer);
    if (target.length === 4) this.neighbours.heard4(view, bytes, 0, 4, solicited);
    else this.neighbours.heard6(view, bytes, 0, 16, solicited, override);
  }

  /** Lets time pass in steps of 10 ms. */
  pass(milliseconds: number): void {
    for (let i = 0; i < milliseconds; i += 10) this.neighbours.tick(10);
  }

  sent(): number[] {
    return this.parts.take(this.output).map((packet) => packet[0]);
  }

  counted(): Record<string, number> {
    return this.parts.counted("neighbours");
  }
}

test("a neighbour is asked for once, and gets the packets that waited, in order, when it answers", () => {
  const world = new World();
  const hop = world.hop(PEER4);
  for (const number of [1, 2, 3]) world.send(hop, number);
  assert.deepEqual(world.did(), ["ask 192.0.2.2"]);
  assert.equal(world.neighbours.stateOf(PEER4), "incomplete");
  assert.equal(world.neighbours.busy, true);
  assert.deepEqual(world.sent(), []);
  world.hear(PEER4, PEER, true);
  assert.deepEqual(world.did(), ["192.0.2.2 is at 02:00:00:00:00:02"]);
  assert.deepEqual(world.sent(), [1, 2, 3]);
  assert.equal(world.neighbours.stateOf(PEER4), "reachable");
  assert.equal(world.neighbours.busy, false);
  assert.deepEqual(world.counted(), { solicitations: 1, resolved: 1 });
  world.parts.done();
});

test("one that does not answer is asked three times, a second apart; then its packets end, and it is forgotten", () => {
  const world = new World();
  const hop = world.hop(PEER6);
  world.send(hop, 1);
  world.pass(2990);
  assert.deepEqual(world.did(), ["ask 2001:db8::2", "ask 2001:db8::2", "ask 2001:db8::2"]);
  assert.equal(world.neighbours.stateOf(PEER6), "incomplete");
  world.pass(20);
  assert.equal(world.neighbours.stateOf(PEER6), undefined);
  assert.deepEqual(world.did(), []);
  assert.deepEqual(world.counted(), { solicitations: 3, "drop.unreachable": 1 });
  world.parts.done();
  // The next packet begins anew.
  world.send(hop, 2);
  assert.deepEqual(world.did(), ["ask 2001:db8::2"]);
  world.hear(PEER6, PEER, true);
  assert.deepEqual(world.sent(), [2]);
});

test("reachable for 30 s, stale until it is used, five seconds later checked where it was, then gone", () => {
  const world = new World();
  world.send(world.hop(PEER4), 1);
  world.hear(PEER4, PEER, true);
  world.pass(29_990);
  assert.equal(world.neighbours.stateOf(PEER4), "reachable");
  world.pass(20);
  assert.equal(world.neighbours.stateOf(PEER4), "stale");
  world.pass(60 * SECOND);
  assert.equal(world.neighbours.stateOf(PEER4), "stale");
  world.did();
  world.neighbours.use(PEER4);
  assert.equal(world.neighbours.stateOf(PEER4), "delay");
  assert.equal(world.neighbours.busy, true);
  world.pass(5010);
  assert.equal(world.neighbours.stateOf(PEER4), "probe");
  assert.deepEqual(world.did(), ["ask 192.0.2.2 at 02:00:00:00:00:02"]);
  world.hear(PEER4, PEER, true);
  assert.equal(world.neighbours.stateOf(PEER4), "reachable");
  world.pass(31 * SECOND);
  world.neighbours.use(PEER4);
  world.pass(8020);
  assert.equal(world.neighbours.stateOf(PEER4), undefined);
  const ask = "ask 192.0.2.2 at 02:00:00:00:00:02";
  assert.deepEqual(world.did(), [ask, ask, ask, "192.0.2.2 is gone"]);
  assert.equal(world.counted()["lost"], 1);
  world.sent();
  world.parts.done();
});

test("one that nobody uses for ten minutes is forgotten, and one in use is not", () => {
  const world = new World();
  for (const target of [PEER4, PEER6]) {
    world.send(world.hop(target), 1);
    world.hear(target, PEER, true);
  }
  world.did();
  for (let minute = 0; minute < 12; minute++) {
    world.pass(60 * SECOND);
    world.neighbours.use(PEER6);
    world.hear(PEER6, PEER, true);
  }
  assert.equal(world.neighbours.stateOf(PEER4), undefined);
  assert.equal(world.neighbours.stateOf(PEER6), "reachable");
  assert.deepEqual(world.did(), ["192.0.2.2 is gone"]);
});

test("a gateway that is kept: asked for until it answers, checked while idle, and found again when it comes back", () => {
  const world = new World();
  world.neighbours.keep(PEER4);
  world.pass(10 * SECOND);
  assert.equal(world.did().length, 11, "once a second, and once more when it begins anew");
  world.send(world.hop(PEER4), 1);
  world.hear(PEER4, PEER, true);
  assert.deepEqual(world.sent(), [1]);
  world.did();
  world.pass(30 * SECOND + 600 * SECOND + 20);
  assert.equal(world.neighbours.stateOf(PEER4), "probe");
  world.pass(3 * SECOND);
  assert.equal(world.neighbours.stateOf(PEER4), "incomplete");
  assert.ok(world.did().includes("192.0.2.2 is gone"));
  // It is back, and says so by itself.
  world.hear(PEER4, THIRD, false);
  assert.equal(world.neighbours.stateOf(PEER4), "stale");
  assert.deepEqual(world.did(), ["192.0.2.2 is at 02:00:00:00:00:03"]);
  world.neighbours.forget();
  assert.equal(world.neighbours.stateOf(PEER4), "incomplete", "kept also when the link goes");
  world.parts.done();
});

test("what others say about themselves changes entries, and never makes one", () => {
  const world = new World();
  world.hear(PEER4, PEER, false);
  world.hear(PEER6, PEER, true);
  assert.equal(world.neighbours.stateOf(PEER4), undefined);
  assert.equal(world.neighbours.stateOf(PEER6), undefined);
  assert.deepEqual(world.did(), []);
});

test("a changed Ethernet address: taken over, at most once a second; without override it only raises doubt", () => {
  const world = new World();
  world.send(world.hop(PEER6), 1);
  world.hear(PEER6, PEER, true);
  world.did();
  world.hear(PEER6, THIRD, false);
  assert.deepEqual(world.did(), [], "within a second");
  assert.equal(world.counted()["flapping"], 1);
  world.pass(SECOND);
  world.hear(PEER6, THIRD, false, false);
  assert.equal(world.neighbours.stateOf(PEER6), "stale", "RFC 4861 §7.2.5: doubt");
  assert.deepEqual(world.did(), []);
  world.hear(PEER6, THIRD, false, true);
  assert.deepEqual(world.did(), ["2001:db8::2 is at 02:00:00:00:00:03"]);
  assert.equal(world.neighbours.stateOf(PEER6), "stale");
  for (const nobody of [new Uint8Array(6), new Uint8Array(6).fill(0xff)]) {
    world.pass(2 * SECOND);
    world.hear(PEER6, nobody, true, true);
    assert.deepEqual(world.did(), [], "no station has such an address");
  }
  assert.deepEqual(world.sent(), [1]);
});

test("32 packets wait for one neighbour, the newest ones; 256 for all, and a gateway's always find room", () => {
  const world = new World();
  const first = world.hop(PEER4);
  for (let number = 0; number < 40; number++) world.send(first, number);
  assert.equal(world.counted()["drop.queue_full"], 8);
  for (let i = 0; i < 20; i++) {
    const hop = world.hop(address(`192.0.2.${100 + i}`));
    for (let number = 0; number < 32; number++) world.send(hop, number);
  }
  const { frames } = world.parts;
  assert.ok(frames.capacity - frames.available <= 256 + 32);
  const gateway = address("192.0.2.254");
  world.neighbours.keep(gateway);
  world.send(world.hop(gateway), 99);
  world.hear(gateway, PEER, true);
  assert.deepEqual(world.sent(), [99]);
  world.hear(PEER4, PEER, true);
  assert.deepEqual(
    world.sent(),
    Array.from({ length: 32 }, (_, i) => 8 + i),
  );
  world.pass(4 * SECOND);
  world.parts.done();
});

test("a flood of strange addresses: no more than 256 are looked for, 500 solicitations a second, known ones stay", () => {
  const world = new World();
  world.send(world.hop(PEER4), 1);
  world.hear(PEER4, PEER, true);
  world.sent();
  world.did();
  for (let i = 0; i < 5000; i++) world.send(world.hop(address(`2001:db8::${i.toString(16)}:5`)), 1);
  assert.equal(world.counted()["drop.too_many"], 5000 - 256);
  assert.ok(world.did().length <= 500);
  assert.equal(world.neighbours.stateOf(PEER4), "reachable");
  world.pass(3 * SECOND);
  assert.ok(world.did().length <= 1500);
  world.pass(SECOND);
  assert.equal(world.neighbours.busy, false);
  world.parts.done();
  const later = address("192.0.2.9");
  world.send(world.hop(later), 1);
  assert.equal(world.neighbours.stateOf(later), "incomplete", "there is room again");
});

test("a full table gives up what was unused for the longest time, but nothing that is reachable or kept", () => {
  const world = new World({ capacity: 4 });
  const targets = [5, 6, 7, 8, 9, 10, 11].map((n) => address(`192.0.2.${n}`));
  world.neighbours.keep(targets[0]);
  for (const target of targets.slice(0, 4)) {
    world.send(world.hop(target), 1);
    world.hear(target, PEER, false);
    world.pass(SECOND);
  }
  world.neighbours.use(targets[1]);
  world.hear(targets[1], PEER, true);
  world.send(world.hop(targets[4]), 1);
  assert.deepEqual(
    targets.slice(0, 5).map((target) => world.neighbours.stateOf(target)),
    ["stale", "reachable", undefined, "stale", "incomplete"],
  );
  world.hear(targets[4], PEER, true);
  world.send(world.hop(targets[5]), 1);
  world.hear(targets[5], PEER, true);
  world.send(world.hop(targets[6]), 1);
  assert.equal(world.counted()["drop.too_many"], 1);
  assert.equal(world.neighbours.stateOf(targets[0]), "stale");
  world.sent();
  world.parts.done();
});

test("without frames packets are dropped, and the neighbour is looked for all the same", () => {
  const world = new World({ frames: 4 });
  const hop = world.hop(PEER4);
  for (let number = 0; number < 5; number++) world.send(hop, number);
  assert.deepEqual(world.counted(), { solicitations: 1, "drop.no_frames": 2 });
  world.pass(4 * SECOND);
  world.parts.done();
});
