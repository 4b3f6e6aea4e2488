import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, type IpAddress } from "../net/address.js";
import { arpAt, writeArpRequest } from "../net/arp.js";
import { formatEthernet } from "../net/ethernet.js";
import { Arp } from "./arp.js";
import { Neighbours } from "./neighbours.js";
import {
  address,
  BROADCAST,
  MAC,
  OURS4,
  OwnedParts,
  PEER,
  PEER4,
  THIRD,
  written,
} from "./testing/owned-parts.js";

const nobody = address("0.0.0.0");

class World {
  readonly parts = new OwnedParts();
  readonly output = this.parts.link();
  readonly conflicts: string[] = [];
  readonly arp: Arp;
  readonly neighbours: Neighbours;

  constructor() {
    const events = { solicit: () => {}, changed: () => {}, addressOf: () => PEER4 };
    this.neighbours = new Neighbours(this.parts.context, events, this.parts.link());
    this.arp = new Arp(this.parts.context, {
      station: this.parts.station,
      neighbours: this.neighbours,
      output: this.output,
      onConflict: (claimed, mac) => this.conflicts.push(`${formatAddress(claimed)} ${formatEthernet(mac)}`),
    });
  }

  receive(packet: Uint8Array): Uint8Array[] {
    this.arp.handle(this.parts.frame(packet));
    const sent = this.parts.take(this.output);
    this.parts.done();
    return sent;
  }

  counted(): Record<string, number> {
    return this.parts.counted("arp");
  }
}

const request = (sender: IpAddress, target: IpAddress, mac: Uint8Array = PEER, to: Uint8Array = BROADCAST) =>
  written((view, bytes) => writeArpRequest(view, bytes, 0, mac, sender, target, to));

/** As sent by a neighbour to us, or to all. */
function reply(sender: IpAddress, mac: Uint8Array, target: IpAddress, to: Uint8Array): Uint8Array {
  const packet = request(sender, target, mac, to);
  packet[14 + arpAt.operation + 1] = 2;
  packet.set(to, 14 + arpAt.targetMac);
  return packet;
}

test("a request for an address of ours is answered, to the one who asked", () => {
  const world = new World();
  const [answer, ...more] = world.receive(request(PEER4, OURS4));
  assert.deepEqual(more, []);
  assert.deepEqual(answer, reply(OURS4, MAC, PEER4, PEER));
  assert.deepEqual(world.counted(), { requests: 1 });
});

test("Ethernet's padding does not come back", () => {
  const world = new World();
  const padded = new Uint8Array(60);
  padded.set(request(PEER4, OURS4));
  assert.equal(world.receive(padded)[0].length, 42);
});

test("requests between others, and what a switch gave back, are not answered", () => {
  const world = new World();
  assert.deepEqual(world.receive(request(PEER4, address("192.0.2.3"))), []);
  assert.deepEqual(world.receive(request(OURS4, OURS4, MAC)), []);
  assert.deepEqual(world.counted(), { others: 2 });
  assert.deepEqual(world.conflicts, []);
});

test("who else says that our address is his is a conflict; who asks whether it is free is told, and noticed", () => {
  const world = new World();
  assert.deepEqual(world.receive(request(OURS4, OURS4, THIRD)), [], "announcement");
  assert.deepEqual(world.receive(reply(OURS4, THIRD, PEER4, BROADCAST)), [], "reply");
  assert.equal(world.conflicts.length, 2);
  const [answer] = world.receive(request(nobody, OURS4, THIRD));
  assert.deepEqual(answer, reply(OURS4, MAC, nobody, THIRD), "probe (RFC 5227 §2.1.1)");
  assert.deepEqual(world.conflicts, new Array(3).fill("192.0.2.1 02:00:00:00:00:03"));
  assert.deepEqual(world.counted(), { requests: 1, conflicts: 3 });
});

test("what is not ARP for IPv4 over Ethernet is dropped, at any length", () => {
  const world = new World();
  const good = request(PEER4, OURS4);
  for (let length = 14; length < good.length; length++)
    assert.deepEqual(world.receive(good.slice(0, length)), []);
  let cases = good.length - 14;
  for (const [at, value] of [
    [0, 6],
    [2, 0x86],
    [4, 8],
    [5, 16],
    [arpAt.operation + 1, 3],
    [arpAt.operation + 1, 0],
    [arpAt.senderMac, 0xff],
  ]) {
    const bad = good.slice();
    bad[14 + at] = value;
    assert.deepEqual(world.receive(bad), [], `byte ${at}`);
    cases++;
  }
  assert.deepEqual(world.counted(), { "drop.malformed": cases });
});

test("a neighbour that is looked for: the answer to us makes it reachable, an announcement only tells where it is", () => {
  const world = new World();
  const other = address("192.0.2.9");
  for (const neighbour of [PEER4, other]) world.neighbours.keep(neighbour);
  world.receive(reply(PEER4, PEER, OURS4, MAC));
  assert.equal(world.neighbours.stateOf(PEER4), "reachable");
  world.receive(request(other, other, THIRD));
  assert.equal(world.neighbours.stateOf(other), "stale");
  assert.deepEqual(world.counted(), { replies: 1, others: 1 });
});

test("questions: to all, or to the station that had the address; probes and announcements", () => {
  const world = new World();
  world.arp.solicit(PEER4, undefined);
  world.arp.solicit(PEER4, PEER);
  world.arp.probe(OURS4);
  world.arp.announce(OURS4);
  assert.deepEqual(world.parts.take(world.output), [
    request(OURS4, PEER4, MAC),
    request(OURS4, PEER4, MAC, PEER),
    request(nobody, OURS4, MAC),
    request(OURS4, OURS4, MAC),
  ]);
});

test("no more than 2,000 a second are looked at", () => {
  const world = new World();
  for (let i = 0; i < 2100; i++) world.receive(request(PEER4, OURS4));
  assert.deepEqual(world.counted(), { requests: 2000, "drop.rate": 100 });
  world.arp.tick(1000);
  assert.equal(world.receive(request(PEER4, OURS4)).length, 1);
});
