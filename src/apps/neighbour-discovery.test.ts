import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, type IpAddress } from "../net/address.js";
import { fold, pseudoHeader6, sum16 } from "../net/checksum.js";
import { formatEthernet, multicastEthernetAddress } from "../net/ethernet.js";
import { writeAdvertisement, writeSolicitation } from "../net/icmpv6-nd.js";
import { ALL_NODES, ICMPV6, IPV6_HEADER, linkLocal, solicitedNode, UNSPECIFIED } from "../net/ipv6.js";
import { NeighbourDiscovery } from "./neighbour-discovery.js";
import { Neighbours } from "./neighbours.js";
import { address, MAC, OURS6, OwnedParts, PEER, PEER6, THIRD, written } from "./testing/owned-parts.js";

const ip = 14;
const icmp = ip + IPV6_HEADER;

class World {
  readonly parts = new OwnedParts();
  readonly output = this.parts.link();
  readonly conflicts: string[] = [];
  readonly discovery: NeighbourDiscovery;
  readonly neighbours: Neighbours;
  readonly changes: string[] = [];

  constructor() {
    const events = {
      solicit: () => {},
      changed: (_: IpAddress, mac: Uint8Array | undefined) =>
        this.changes.push(mac ? formatEthernet(mac) : "gone"),
      addressOf: () => PEER6,
    };
    this.neighbours = new Neighbours(this.parts.context, events, this.parts.link());
    this.discovery = new NeighbourDiscovery(this.parts.context, {
      station: this.parts.station,
      neighbours: this.neighbours,
      output: this.output,
      onConflict: (claimed, mac) => this.conflicts.push(`${formatAddress(claimed)} ${formatEthernet(mac)}`),
    });
  }

  receive(packet: Uint8Array, padding = 0): Uint8Array[] {
    const padded = new Uint8Array(packet.length + padding);
    padded.set(packet);
    const frame = this.parts.frame(padded);
    this.discovery.handle(frame, this.parts.frames.offset[frame] + packet.length);
    return this.sent();
  }

  sent(): Uint8Array[] {
    const sent = this.parts.take(this.output);
    this.parts.done();
    return sent;
  }

  counted(): Record<string, number> {
    return this.parts.counted("neighbour-discovery");
  }
}

const solicitation = (source: IpAddress, target: IpAddress, mac: Uint8Array, station?: Uint8Array) =>
  written((view, bytes) => writeSolicitation(view, bytes, 0, mac, source, target, station));
const advertisement = (
  mac: Uint8Array,
  target: IpAddress,
  to?: { destination: Uint8Array; station: Uint8Array },
) => written((view, bytes) => writeAdvertisement(view, bytes, 0, mac, target, to));
const toUs = { destination: OURS6, station: MAC };

const set =
  (at: number, ...values: number[]) =>
  (bytes: Uint8Array) => {
    bytes.set(values, at);
    return bytes;
  };

/** Changes a message; the checksum is right again afterwards. */
function changed(packet: Uint8Array, change: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  const copy = packet.slice();
  const bytes = change(copy);
  const view = new DataView(bytes.buffer);
  const length = bytes.length - icmp;
  view.setUint16(ip + 4, length);
  view.setUint16(icmp + 2, 0);
  view.setUint16(icmp + 2, fold(sum16(view, icmp, length, pseudoHeader6(view, ip, ICMPV6, length))));
  return bytes;
}

test("a solicitation for an address of ours, the link-local one included, is answered to the one who asked", () => {
  const world = new World();
  for (const ours of [OURS6, linkLocal(MAC)]) {
    const expected = [advertisement(MAC, ours, { destination: PEER6, station: PEER })];
    assert.deepEqual(world.receive(solicitation(PEER6, ours, PEER)), expected);
    assert.deepEqual(world.receive(solicitation(PEER6, ours, PEER, MAC), 8), expected, "to us alone");
  }
  assert.deepEqual(world.counted(), { solicitations: 4 });
  assert.deepEqual(world.conflicts, []);
});

test("without the option the answer goes where the frame came from", () => {
  const world = new World();
  const bare = changed(solicitation(PEER6, OURS6, PEER, MAC), (bytes) => bytes.slice(0, icmp + 24));
  assert.deepEqual(world.receive(bare), [advertisement(MAC, OURS6, { destination: PEER6, station: PEER })]);
});

test("solicitations for others, and what a switch gave back, are not answered", () => {
  const world = new World();
  assert.deepEqual(world.receive(solicitation(PEER6, address("2001:db8::3"), PEER)), []);
  assert.deepEqual(world.receive(solicitation(UNSPECIFIED, OURS6, MAC)), []);
  assert.deepEqual(world.receive(advertisement(MAC, OURS6)), []);
  assert.deepEqual(world.counted(), { others: 3 });
  assert.deepEqual(world.conflicts, []);
});

test("duplicate address detection of somebody else: all are told that the address is taken (RFC 4862 §5.4)", () => {
  const world = new World();
  assert.deepEqual(world.receive(solicitation(UNSPECIFIED, OURS6, THIRD)), [advertisement(MAC, OURS6)]);
  assert.deepEqual(world.receive(advertisement(THIRD, OURS6)), [], "he has it already");
  assert.deepEqual(world.receive(solicitation(OURS6, PEER6, THIRD)), [], "and uses it");
  assert.deepEqual(world.conflicts, [
    "2001:db8::1 02:00:00:00:00:03",
    "2001:db8::1 02:00:00:00:00:03",
    "2001:db8::1 02:00:00:00:00:03",
  ]);
  assert.equal(world.counted()["conflicts"], 3);
});

test("messages that RFC 4861 §7.1 calls invalid end here", () => {
  const world = new World();
  world.neighbours.keep(PEER6);
  const good = solicitation(PEER6, OURS6, PEER);
  const answer = advertisement(PEER, PEER6, toUs);
  const bad: [string, Uint8Array][] = [
    ["hop limit 254", changed(good, set(ip + 7, 254))],
    ["code", changed(good, set(icmp + 1, 1))],
    ["target is a group", changed(good, set(icmp + 8, ...ALL_NODES))],
    ["option of no length", changed(good, set(icmp + 25, 0))],
    ["option beyond the end", changed(good, set(icmp + 25, 2))],
    ["half an option", changed(good, (b) => b.slice(0, b.length - 4))],
    ["too short", changed(good, (b) => b.slice(0, icmp + 20))],
    ["from nobody, with an address", changed(good, set(ip + 8, ...UNSPECIFIED))],
    ["from nobody to one", changed(solicitation(UNSPECIFIED, OURS6, PEER), set(ip + 24, ...OURS6))],
    ["advertisement from nobody", changed(answer, set(ip + 8, ...UNSPECIFIED))],
    ["an answer to all", changed(answer, set(ip + 24, ...ALL_NODES))],
    ["advertisement, hop limit 64", changed(answer, set(ip + 7, 64))],
  ];
  for (const [name, packet] of bad) assert.deepEqual(world.receive(packet), [], name);
  for (const message of [good, answer])
    for (let at = icmp; at < message.length; at++) {
      const damaged = message.slice();
      damaged[at] ^= 0x10;
      // A type that is none of the two never gets here.
      if (at !== icmp) assert.deepEqual(world.receive(damaged), [], `checksum, byte ${at}`);
    }
  const expected = bad.length + good.length + answer.length - 2 * icmp - 2;
  assert.deepEqual(world.counted(), { "drop.malformed": expected });
  assert.equal(world.neighbours.stateOf(PEER6), "incomplete", "and nothing was learnt from them");
});

test("advertisements: an answer makes reachable, an unasked one tells where; unknown options are passed over", () => {
  const world = new World();
  world.neighbours.keep(PEER6);
  assert.deepEqual(world.receive(advertisement(PEER, PEER6)), []);
  assert.equal(world.neighbours.stateOf(PEER6), "stale");
  const nonce = changed(advertisement(PEER, PEER6, toUs), (bytes) => {
    const longer = new Uint8Array(bytes.length + 8);
    longer.set(bytes.subarray(0, icmp + 24));
    longer.set([14, 1, 1, 2, 3, 4, 5, 6], icmp + 24);
    longer.set(bytes.subarray(icmp + 24), icmp + 32);
    return longer;
  });
  assert.deepEqual(world.receive(nonce), []);
  assert.equal(world.neighbours.stateOf(PEER6), "reachable");
  assert.deepEqual(world.changes, ["02:00:00:00:00:02"]);
  world.neighbours.tick(1000);
  // The override flag is not set: an address that is known stays.
  const doubt = changed(advertisement(THIRD, PEER6, toUs), set(icmp + 4, 0x40));
  world.receive(doubt);
  assert.equal(world.neighbours.stateOf(PEER6), "stale");
  assert.deepEqual(world.changes, ["02:00:00:00:00:02"]);
  world.receive(advertisement(THIRD, PEER6));
  assert.deepEqual(world.changes, ["02:00:00:00:00:02", "02:00:00:00:00:03"]);
  assert.deepEqual(world.counted(), { advertisements: 4 });
});

test("questions go to the group of the address, or to the station that had it, from an address of its prefix", () => {
  const world = new World();
  world.discovery.solicit(PEER6, undefined);
  world.discovery.solicit(PEER6, PEER);
  world.discovery.solicit(address("fe80::7"), undefined);
  world.discovery.probe(OURS6);
  world.discovery.announce(OURS6);
  const sent = world.sent();
  assert.deepEqual(sent, [
    solicitation(OURS6, PEER6, MAC),
    solicitation(OURS6, PEER6, MAC, PEER),
    solicitation(linkLocal(MAC), address("fe80::7"), MAC),
    solicitation(UNSPECIFIED, OURS6, MAC),
    advertisement(MAC, OURS6),
  ]);
  assert.deepEqual(sent[0].slice(0, 6), multicastEthernetAddress(solicitedNode(PEER6)));
});

test("a report names every group, and no more than four go out at once", () => {
  const world = new World();
  for (let i = 0; i < 10; i++) world.discovery.report();
  const sent = world.sent();
  assert.equal(sent.length, 4);
  const groups = icmp + 8 + 6;
  assert.equal(sent[0][groups + 1], 2, "all nodes, and the one group that both addresses have");
  assert.deepEqual(world.counted(), { reports: 4 });
});

test("no more than 2,000 messages a second are looked at", () => {
  const world = new World();
  for (let i = 0; i < 2010; i++) world.receive(solicitation(PEER6, OURS6, PEER));
  assert.deepEqual(world.counted(), { solicitations: 2000, "drop.rate": 10 });
  world.discovery.tick(500);
  assert.equal(world.receive(solicitation(PEER6, OURS6, PEER)).length, 1);
});
