import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyOptions } from "../ipsec/testing/requests.js";
import { NONE } from "../memory/frames.js";
import { parsePrefix } from "../net/address.js";
import { ClearText } from "./clear-text.js";
import { Fib, type FibPort } from "./fib.js";
import { HostOutput } from "./host-output.js";
import {
  address,
  ipFrame,
  ipOf,
  MAC,
  OURS4,
  OURS6,
  OwnedParts,
  PEER4,
  PEER6,
  policyIndex,
  udp,
} from "./testing/owned-parts.js";

const UDP = 17;
const ports: FibPort[] = [
  { name: "wan0", kind: "ethernet", side: "public", owned: true },
  { name: "wan1", kind: "ethernet", side: "public" },
  { name: "lan0", kind: "ethernet", side: "private" },
];

class World {
  readonly parts = new OwnedParts();
  readonly fib: Fib;
  readonly app: HostOutput;
  private readonly input = this.parts.link();
  private readonly output = this.parts.link();

  constructor(puntAll = false, hops = 64, ...policies: PolicyOptions[]) {
    const { context, station } = this.parts;
    this.fib = new Fib(ports, new Float64Array(8), hops);
    ports.forEach(({ name }, i) => {
      this.fib.link({ index: i + 1, name, mac: MAC, mtu: 1500, up: true }, true);
    });
    for (const [text, index] of [
      ["192.0.2.0/24", 1],
      ["2001:db8::/64", 1],
      ["203.0.113.0/24", 2],
      ["10.1.0.0/16", 3],
    ] as const) {
      const prefix = parsePrefix(text);
      assert.ok(prefix);
      this.fib.route({ prefix, gateway: undefined, index, metric: 0, type: "unicast" }, true);
    }
    const clearText = new ClearText(policyIndex(...policies));
    const parts = { station, fib: this.fib, clearText, ports, port: 0, puntAll };
    this.app = new HostOutput(context, parts, this.input, this.output);
  }

  /** @returns the addresses of the next hops that packets left by */
  send(...packets: Uint8Array[]): string[] {
    const hops: string[] = [];
    for (const packet of packets) {
      const frame = this.parts.frame(packet);
      this.input.transmit(frame);
      this.app.push();
      if (this.output.readable === 0) continue;
      const sent = this.output.receive();
      const hop = this.parts.frames.nextHop[sent];
      hops.push(`${this.fib.hops.port[hop]} ${this.fib.hops.addressOf(hop)}`);
      this.parts.frames.free(sent);
    }
    this.parts.done();
    return hops;
  }

  ends(counter: string, ...packets: Uint8Array[]): void {
    const before = this.counted()[counter] ?? 0;
    assert.deepEqual(this.send(...packets), [], counter);
    assert.equal(this.counted()[counter], before + packets.length, counter);
  }

  counted(): Record<string, number> {
    return this.parts.counted("host-output");
  }
}

/** A packet of the kernel. */
function packet(
  to: string,
  from?: Uint8Array,
  payload = udp(500, 500, [1, 2, 3]),
  protocol = UDP,
): Uint8Array {
  const destination = address(to);
  const source = from ?? (destination.length === 4 ? OURS4 : OURS6);
  return ipOf(ipFrame({ to: destination, from: source, protocol, payload }));
}

test("IKE leaves for a neighbour, and for what lies beyond by the gateway", () => {
  const world = new World();
  assert.deepEqual(world.send(packet("192.0.2.2"), packet("2001:db8::2")), [`0 ${PEER4}`, `0 ${PEER6}`]);
  const keepalive = udp(4500, 4500, [0xff]);
  assert.deepEqual(world.send(packet("192.0.2.2", undefined, keepalive)), [`0 ${PEER4}`]);
  world.ends("drop.no_route", packet("198.51.100.1"), packet("2001:db8:9::1"));
  const gateway = address("192.0.2.254");
  world.app.setGateway(4, world.fib.hops.to(0, gateway));
  world.app.setGateway(6, world.fib.hops.to(0, PEER6));
  // By this link also where a route leads by another public one: the kernel chose this address.
  assert.deepEqual(world.send(packet("198.51.100.1"), packet("203.0.113.9"), packet("2001:db8:9::1")), [
    `0 ${gateway}`,
    `0 ${gateway}`,
    `0 ${PEER6}`,
  ]);
  world.ends("drop.no_route", packet("10.1.2.3"));
});

test("nothing but IKE from the link's own addresses leaves, unless all is punted", () => {
  const world = new World();
  world.ends("drop.source", packet("192.0.2.2", address("10.1.0.1")), packet("192.0.2.2", PEER4));
  world.ends("drop.source", packet("2001:db8::2", address("2001:db8:1::1")));
  world.ends("drop.not_ike", packet("192.0.2.2", undefined, udp(53, 500, [])));
  world.ends(
    "drop.not_ike",
    packet("192.0.2.2", undefined, [1, 2, 3], 6),
    packet("2001:db8::2", undefined, [1], 6),
  );
  world.ends("groups", packet("224.0.0.22"), packet("ff02::16"), packet("255.255.255.255"));
  const all = new World(true);
  all.ends("drop.source", packet("192.0.2.2", address("10.1.0.1")));
  assert.equal(all.send(packet("192.0.2.2", undefined, [1, 2, 3], 6)).length, 1);
});

test("what a policy wants protected, or dropped, does not leave in the clear; IKE does", () => {
  const policies = [
    { from: "192.0.2.1/32", to: "192.0.2.2/32" },
    { from: "2001:db8::1/128[udp/53]", to: "2001:db8::/64" },
    { from: "192.0.2.1/32", to: "192.0.2.3/32", type: 2 },
  ];
  const world = new World(true, 64, ...policies);
  const dns = udp(53, 4000, [1, 2, 3]);
  world.ends("drop.protected", packet("192.0.2.2", undefined, dns), packet("2001:db8::2", undefined, dns));
  const other = udp(54, 4000, [1, 2, 3]);
  assert.equal(
    world.send(
      packet("192.0.2.2"),
      packet("192.0.2.3", undefined, dns),
      packet("192.0.2.4", undefined, dns),
      packet("2001:db8::2", undefined, other),
    ).length,
    4,
  );
});

test("fragments of charon's go with the others", () => {
  const world = new World();
  const later = ipOf(ipFrame({ to: PEER4, from: OURS4, protocol: UDP, payload: [1, 2, 3], fragment: 9 }));
  assert.equal(world.send(later).length, 1);
});

test("malformed packets, and those that are longer than the link carries", () => {
  const world = new World();
  const good = packet("192.0.2.2");
  const good6 = packet("2001:db8::2");
  const changed = (bytes: Uint8Array, at: number, value: number) => {
    const copy = bytes.slice();
    copy[at] = value;
    return copy;
  };
  world.ends(
    "drop.malformed",
    good.slice(0, 19),
    good.slice(0, good.length - 1),
    changed(good, 0, 0x44),
    changed(good, 0, 0x4f),
    changed(good, 0, 0x75),
    good6.slice(0, 39),
    changed(good6, 5, 1),
  );
  world.fib.link({ index: 1, name: "wan0", mac: MAC, mtu: good.length - 1, up: true }, true);
  world.ends("drop.too_big", good);
});

test("strangers on the link find half of the table of next hops, and gateways find theirs", () => {
  const world = new World(true, 64);
  const gateway = world.fib.hops.to(0, address("192.0.2.254"));
  world.app.setGateway(4, gateway);
  const strangers = Array.from({ length: 200 }, (_, i) => packet(`192.0.2.${i + 2}`));
  const sent = world.send(...strangers).length;
  assert.ok(sent <= 33 && sent > 20, `${sent} went out`);
  assert.equal(world.counted()["drop.strangers"], 200 - sent);
  assert.notEqual(gateway, NONE);
  assert.equal(world.send(packet("198.51.100.1")).length, 1);
});
