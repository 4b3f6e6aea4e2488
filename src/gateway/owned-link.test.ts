// The owned link as a whole, between a port and the kernel that are memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fib, type FibPort } from "../apps/fib.js";
import {
  address,
  ipFrame,
  ipOf,
  MAC,
  OURS4,
  OURS6,
  OwnedParts,
  PEER,
  PEER4,
  policyIndex,
  THIRD,
  udp,
  written,
} from "../apps/testing/owned-parts.js";
import { ownedSettings } from "../config/owned-settings.js";
import { parsePrefix } from "../net/address.js";
import { writeArpRequest } from "../net/arp.js";
import { writeAdvertisement, writeSolicitation } from "../net/icmpv6-nd.js";
import { linkLocal, UNSPECIFIED } from "../net/ipv6.js";
import { MemoryPort } from "../ports/memory.js";
import { OwnedLink } from "./owned-link.js";

const nobody = address("0.0.0.0");
const GATEWAY = address("192.0.2.254");

class World {
  readonly parts = new OwnedParts();
  readonly received = this.parts.link();
  readonly toPort = this.parts.link();
  readonly routed = this.parts.link();
  readonly warnings: string[] = [];
  readonly mtus: number[] = [];
  readonly fib: Fib;
  readonly link: OwnedLink;
  readonly kernel: MemoryPort;

  constructor() {
    const ports: FibPort[] = [{ name: "wan0", kind: "ethernet", side: "public", owned: true }];
    this.fib = new Fib(ports, new Float64Array(8), 256);
    const settings = ownedSettings({
      name: "wan0",
      mode: "owned",
      address: ["192.0.2.1/24", "2001:db8::1/64"],
      gateway: ["192.0.2.254"],
    });
    assert.ok(settings);
    let kernel: MemoryPort | undefined;
    const ownership = {
      settings,
      openPunt: (...[context, options]: ConstructorParameters<typeof MemoryPort>) => {
        kernel = new MemoryPort(context, { ...options, kind: "ip" });
        return kernel;
      },
      setMtu: (mtu: number) => this.mtus.push(mtu),
      warn: (text: string) => this.warnings.push(text),
    };
    const fail = () => assert.fail("there is no ESP");
    this.link = new OwnedLink(this.parts.context, {
      ...{
        ownership,
        fib: this.fib,
        index: policyIndex(),
        ports,
        number: 0,
        received: this.received,
        toPort: this.toPort,
      },
      ...{
        decapsulate: { resume: () => {}, foresee: () => {}, take: fail, takeNext: fail },
        routed: this.routed,
        link: () => this.parts.link(),
      },
    });
    assert.ok(kernel);
    this.kernel = kernel;
  }

  change(up: boolean, mac = MAC, mtu = 1500): void {
    const change = { index: 1, name: "wan0", mac, mtu, up };
    this.fib.link(change, true);
    this.link.change(change);
  }

  /** Lets time pass; what was sent on the link meanwhile. */
  pass(milliseconds: number): Uint8Array[] {
    for (let i = 0; i < milliseconds; i += 10) this.link.tick(10);
    return this.parts.take(this.toPort);
  }

  receive(packet: Uint8Array): Uint8Array[] {
    this.received.transmit(this.parts.frame(packet));
    this.link.punt.source.pull(128);
    for (const { app } of this.link.apps) app.push();
    this.link.punt.sink.push();
    return this.parts.take(this.toPort);
  }
}

const arp = (sender: Uint8Array, target: Uint8Array, mac = MAC) =>
  written((view, bytes) => writeArpRequest(view, bytes, 0, mac, sender, target));
const probe6 = (target: Uint8Array) =>
  written((view, bytes) => writeSolicitation(view, bytes, 0, MAC, UNSPECIFIED, target));
const announce6 = (target: Uint8Array) =>
  written((view, bytes) => writeAdvertisement(view, bytes, 0, MAC, target));

test("a link that comes up: who has our addresses, where is the gateway; then we are here, twice", () => {
  const world = new World();
  world.change(false);
  assert.deepEqual(world.pass(1000), []);
  assert.deepEqual(world.mtus, [1500]);
  world.change(true);
  assert.equal(world.link.busy, true);
  const ours6 = [OURS6, linkLocal(MAC)];
  const question = arp(OURS4, GATEWAY);
  assert.deepEqual(world.pass(10), [arp(nobody, OURS4), ...ours6.map(probe6), question]);
  assert.deepEqual(world.pass(480), []);
  const here = [arp(OURS4, OURS4), ...ours6.map(announce6)];
  const [report, ...others] = world.pass(20).reverse();
  assert.equal(report[54 + 8], 143, "and the groups that we listen to");
  assert.deepEqual(others.reverse(), here);
  const later = world.pass(2500).map((packet) => Buffer.from(packet).toString("hex"));
  for (const packet of here) assert.ok(later.includes(Buffer.from(packet).toString("hex")));
  world.receive(arpReply(GATEWAY, PEER));
  assert.equal(world.link.busy, false);
  world.change(true, MAC, 1400);
  assert.deepEqual(world.mtus, [1500, 1400]);
  assert.equal(world.link.busy, false, "nothing to be said about that");
  world.change(false);
  assert.equal(world.link.neighbours.stateOf(GATEWAY), "incomplete");
});

function arpReply(sender: Uint8Array, mac: Uint8Array): Uint8Array {
  const packet = written((view, bytes) => writeArpRequest(view, bytes, 0, mac, sender, OURS4, MAC));
  packet[21] = 2;
  packet.set(MAC, 32);
  return packet;
}

test("an address that somebody else claims: logged once a minute, defended once in ten seconds, and kept", () => {
  const world = new World();
  world.change(true);
  world.pass(3000);
  const claim = () => world.receive(arp(OURS4, OURS4, THIRD));
  const expected = "02:00:00:00:00:03 claims 192.0.2.1 too, which is ours: one of both must go";
  assert.deepEqual(claim(), [arp(OURS4, OURS4)]);
  assert.deepEqual(claim(), []);
  assert.deepEqual(world.warnings, [expected]);
  world.pass(10_000);
  assert.deepEqual(claim(), [arp(OURS4, OURS4)]);
  assert.equal(world.warnings.length, 1);
  world.pass(51_000);
  claim();
  assert.deepEqual(world.warnings, [expected, expected]);
  assert.equal(world.receive(arp(PEER4, OURS4, PEER)).length, 1, "and still answered for");
});

test("charon's packets wait for the neighbour and the neighbour's go to charon; neighbours in use are checked", () => {
  const world = new World();
  world.change(true);
  world.fib.route(
    { prefix: parsePrefix("192.0.2.0/24")!, gateway: undefined, index: 1, metric: -1, type: "unicast" },
    true,
  );
  const hop = world.fib.hops.to(0, PEER4);
  assert.equal(world.fib.hops.resolved[hop], 0);
  const out = ipOf(ipFrame({ to: PEER4, from: OURS4, protocol: 17, payload: udp(500, 500, [1, 2, 3]) }));
  world.kernel.receive(out);
  world.receive(arpReply(GATEWAY, PEER));
  // Here the transmitting app finds that the next hop is not resolved.
  const frame = world.routed.receive();
  const { frames } = world.parts;
  assert.equal(frames.nextHop[frame], hop);
  world.link.neighbours.send(frames.offset[frame], frames.length[frame], hop);
  frames.free(frame);
  world.fib.hops.want(hop);
  world.fib.hops.takeUnresolved(() => assert.fail("the kernel must not be asked"));
  world.receive(arpReply(PEER4, PEER));
  assert.deepEqual(world.parts.take(world.routed), [out]);
  assert.equal(world.fib.hops.resolved[hop], 1);
  const header = new Uint8Array(world.fib.hops.header.buffer, 16 * hop, 12);
  assert.deepEqual(header, Uint8Array.from([...PEER, ...MAC]));

  const answer = ipFrame({ protocol: 17, payload: udp(500, 500, [4, 5, 6]) });
  world.receive(answer);
  assert.deepEqual(world.kernel.take(), [ipOf(answer)]);

  world.pass(50_000);
  assert.equal(world.link.neighbours.stateOf(PEER4), "stale");
  world.fib.hops.used[hop] = 1;
  world.fib.hops.refreshUsed(false, () => assert.fail("not the kernel's"));
  world.pass(1010);
  assert.equal(world.link.neighbours.stateOf(PEER4), "delay");
  world.pass(9000);
  assert.equal(world.fib.hops.resolved[hop], 0, "it did not answer any more");
});
