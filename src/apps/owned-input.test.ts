// Everything that can arrive on an owned link, with the apps behind it that answer or hand it to the kernel.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyOptions } from "../ipsec/testing/requests.js";
import { writeArpRequest } from "../net/arp.js";
import { fold, pseudoHeader4, pseudoHeader6, sum16 } from "../net/checksum.js";
import { writeSolicitation } from "../net/icmpv6-nd.js";
import { Arp, type LinkParts } from "./arp.js";
import { Classify } from "./classify.js";
import { ClearText } from "./clear-text.js";
import { IcmpEcho } from "./icmp-echo.js";
import { NeighbourDiscovery } from "./neighbour-discovery.js";
import { Neighbours } from "./neighbours.js";
import { OwnedInput } from "./owned-input.js";
import { Punt } from "./punt.js";
import {
  address,
  BROADCAST,
  icmpFrame,
  ipFrame,
  ipOf,
  MAC,
  OURS4,
  OURS6,
  OwnedParts,
  PEER,
  PEER4,
  PEER6,
  policyIndex,
  THIRD,
  transportSum,
  udp,
  written,
} from "./testing/owned-parts.js";

const UDP = 17;
const TCP = 6;
const ESP = 50;

class World {
  readonly parts = new OwnedParts();
  readonly esp = this.parts.link();
  readonly toPort = this.parts.link();
  readonly toKernel = this.parts.link();
  readonly echo: IcmpEcho;
  readonly punt: Punt;
  private readonly received = this.parts.link();
  private readonly apps: { push(): void }[];

  constructor(puntAll = false, ...policies: PolicyOptions[]) {
    const { context, station } = this.parts;
    const rest = this.parts.link();
    const events = { solicit: () => {}, changed: () => {}, addressOf: () => PEER4 };
    const neighbours = new Neighbours(context, events, this.parts.link());
    const linkParts: LinkParts = { station, neighbours, output: this.toPort, onConflict: () => {} };
    const arp = new Arp(context, linkParts);
    const discovery = new NeighbourDiscovery(context, linkParts);
    this.echo = new IcmpEcho(context, station, this.toPort);
    this.punt = new Punt(context, this.toKernel);
    const { echo, punt } = this;
    const clearText = new ClearText(policyIndex(...policies));
    const take = (frame: number, _outer: number, esp: number, _word: number, length: number) => {
      this.parts.frames.offset[frame] = esp;
      this.parts.frames.length[frame] = length;
      this.esp.transmit(frame);
    };
    this.apps = [
      new Classify(
        context,
        this.received,
        { resume: () => {}, foresee: () => {}, take, takeNext: take },
        rest,
      ),
      new OwnedInput(context, { station, arp, discovery, echo, punt, clearText, puntAll }, rest),
    ];
  }

  receive(...packets: Uint8Array[]): { esp: Uint8Array[]; link: Uint8Array[]; kernel: Uint8Array[] } {
    for (const packet of packets) this.received.transmit(this.parts.frame(packet));
    for (const app of this.apps) app.push();
    const [esp, link, kernel] = [this.esp, this.toPort, this.toKernel].map((each) => this.parts.take(each));
    this.parts.done();
    return { esp, link, kernel };
  }

  /** Nothing comes of the packets, and they are counted as `app.counter`. */
  ends(counter: string, ...packets: Uint8Array[]): void {
    const [app, name] = [counter.slice(0, counter.indexOf(".")), counter.slice(counter.indexOf(".") + 1)];
    for (const packet of packets) {
      const before = this.parts.counted(app)[name] ?? 0;
      assert.deepEqual(this.receive(packet), { esp: [], link: [], kernel: [] }, counter);
      assert.equal(this.parts.counted(app)[name] ?? 0, before + 1, counter);
    }
  }
}

const ike = [...new Array<number>(28).fill(7)];
const marked = [0, 0, 0, 0, ...ike];
const echo4 = (size = 8) => icmp(4, [8, 0, 0, 0, 0, 1, 0, 1, ...new Array<number>(size).fill(0x61)]);
const echo6 = (size = 8) => icmp(6, [128, 0, 0, 0, 0, 1, 0, 1, ...new Array<number>(size).fill(0x61)]);

/** An ICMP message for us. */
function icmp(family: 4 | 6, payload: number[], options: object = {}): Uint8Array {
  return icmpFrame({ to: family === 4 ? OURS4 : OURS6, payload, ...options });
}

/** The same for us over both families. */
const both = (protocol: number, payload: readonly number[]) => [
  ipFrame({ to: OURS4, protocol, payload }),
  ipFrame({ to: OURS6, protocol, payload }),
];

test("ESP goes the way of ESP, ARP and solicitations are answered", () => {
  const world = new World();
  const esp = new Array<number>(24).fill(9);
  for (const packet of [...both(ESP, esp), ...both(UDP, udp(4500, 4500, esp))])
    assert.deepEqual(world.receive(packet), { esp: [Uint8Array.from(esp)], link: [], kernel: [] });
  const arp = written((view, bytes) => writeArpRequest(view, bytes, 0, PEER, PEER4, OURS4));
  const nd = written((view, bytes) => writeSolicitation(view, bytes, 0, PEER, PEER6, OURS6));
  assert.deepEqual(
    world.receive(arp, nd).link.map(({ length }) => length),
    [42, 86],
  );
});

test("an echo request is answered to the station that sent it, whatever its address", () => {
  const world = new World();
  for (const [request, header] of [
    [icmp(4, [...echo4(56).slice(34)], { from: address("198.51.100.9"), padding: 0 }), 20],
    [icmp(6, [...echo6(57).slice(54)], { from: address("2001:db8:9::9") }), 40],
    [icmp(4, [8, 0, 0, 0, 1, 2, 3, 4], { padding: 18, ttl: 1 }), 20],
  ] as const) {
    const { link, kernel } = world.receive(request);
    assert.equal(kernel.length, 0);
    const [answer] = link;
    const isIpv4 = header === 20;
    const total = isIpv4 ? (request[16] << 8) | request[17] : 40 + ((request[18] << 8) | request[19]);
    assert.equal(answer.length, 14 + total, "without Ethernet's padding");
    assert.deepEqual(answer.slice(0, 6), request.slice(6, 12));
    assert.deepEqual(answer.slice(6, 12), MAC);
    const at = isIpv4 ? 26 : 22;
    const size = isIpv4 ? 4 : 16;
    assert.deepEqual(answer.slice(at, at + size), request.slice(at + size, at + 2 * size));
    assert.deepEqual(answer.slice(at + size, at + 2 * size), request.slice(at, at + size));
    const start = 14 + header;
    assert.equal(answer[start], isIpv4 ? 0 : 129);
    assert.equal(answer[isIpv4 ? 22 : 21], 64, "a TTL of its own");
    assert.deepEqual(answer.slice(start + 4), request.slice(start + 4, 14 + total));
    const view = new DataView(answer.buffer);
    const pseudo = isIpv4 ? 0 : pseudoHeader6(view, 14, 58, answer.length - start);
    assert.equal(fold(sum16(view, start, answer.length - start, pseudo)), 0, "checksum");
    if (isIpv4) assert.equal(fold(sum16(view, 14, 20, 0)), 0, "header checksum");
  }
  for (let i = 0; i < 600; i++) world.receive(echo4());
  assert.ok(world.parts.counted("icmp-echo")["drop.rate"] >= 100, "no more than 500 at once");
  world.echo.tick(1000);
  assert.equal(world.receive(echo4()).link.length, 1);
});

test("IKE goes to the kernel without its Ethernet header: port 500, and 4500 behind the marker", () => {
  const world = new World();
  for (const packet of [
    ...both(UDP, udp(500, 500, ike)),
    ...both(UDP, udp(40_000, 500, ike)),
    ...both(UDP, udp(4500, 4500, marked)),
  ])
    assert.deepEqual(world.receive(packet), { esp: [], link: [], kernel: [ipOf(packet)] });
  assert.deepEqual(
    world.receive(ipFrame({ protocol: UDP, payload: udp(500, 500, ike), padding: 9 })).kernel,
    [ipOf(ipFrame({ protocol: UDP, payload: udp(500, 500, ike) }))],
  );
  assert.equal(world.parts.counted("punt")["ike"], 7);
  world.ends("classify.keepalives", ...both(UDP, udp(4500, 4500, [0xff])));
  world.ends("owned-input.drop.not_punted", ...both(UDP, udp(500, 53, ike)), ...both(TCP, ike));
  world.ends("owned-input.drop.not_punted", ...both(UDP, udp(4500, 4500, [0xfe])));
});

test("IKE in fragments: the first by its port, later ones of UDP because nobody can tell; those of ESP end", () => {
  const world = new World();
  const first = ipFrame({ protocol: UDP, payload: udp(500, 500, ike), fragment: 0x2000 });
  const later = ipFrame({ protocol: UDP, payload: ike, fragment: 0x0005 });
  const header6 = (next: number, offset: number) => [next, 0, offset >>> 8, offset & 0xff, 0, 0, 0, 1];
  const first6 = ipFrame({ to: OURS6, protocol: 44, payload: [...header6(UDP, 1), ...udp(500, 500, ike)] });
  const later6 = ipFrame({ to: OURS6, protocol: 44, payload: [...header6(UDP, 0x50), ...ike] });
  const all = [first, later, first6, later6];
  assert.deepEqual(world.receive(...all).kernel, all.map(ipOf));
  world.ends(
    "owned-input.drop.fragment",
    ipFrame({ protocol: ESP, payload: ike, fragment: 0x2000 }),
    ipFrame({ protocol: TCP, payload: ike, fragment: 5 }),
    ipFrame({ protocol: UDP, payload: udp(4500, 4500, [1, 2, 3, 4, ...ike]), fragment: 0x2000 }),
    ipFrame({ to: OURS6, protocol: 44, payload: [...header6(ESP, 1), ...ike] }),
    ipFrame({ to: OURS6, protocol: 44, payload: [44] }),
  );
});

test("ICMP errors about IKE go to the kernel, those about anything else do not", () => {
  const world = new World();
  const quote4 = (protocol: number, payload: number[]) =>
    ipOf(ipFrame({ from: OURS4, to: PEER4, protocol, payload }));
  const quote6 = (protocol: number, payload: number[]) =>
    ipOf(ipFrame({ from: OURS6, to: PEER6, protocol, payload }));
  const about = [
    icmp(4, [3, 4, 0, 0, 0, 0, 5, 20, ...quote4(UDP, udp(500, 500, ike)).slice(0, 28)]),
    icmp(4, [11, 0, 0, 0, 0, 0, 0, 0, ...quote4(UDP, udp(4500, 4500, marked))]),
    icmp(6, [2, 0, 0, 0, 0, 0, 5, 20, ...quote6(UDP, udp(500, 500, ike)).slice(0, 48)]),
  ];
  assert.deepEqual(world.receive(...about).kernel, about.map(ipOf));
  world.ends(
    "owned-input.drop.not_punted",
    icmp(4, [3, 4, 0, 0, 0, 0, 5, 20, ...quote4(ESP, ike).slice(0, 28)]),
    icmp(4, [3, 3, 0, 0, 0, 0, 0, 0, ...quote4(UDP, udp(53, 53, ike))]),
    icmp(4, [3, 4, 0, 0, 0, 0, 5, 20, ...quote4(UDP, udp(500, 500, ike)).slice(0, 27)]),
    icmp(4, [5, 0, 0, 0, 1, 2, 3, 4, ...quote4(UDP, udp(500, 500, ike))]),
    icmp(4, [0, 0, 0, 0, 0, 1, 0, 1]),
    icmp(6, [1, 4, 0, 0, 0, 0, 0, 0, ...quote6(TCP, ike)]),
    icmp(6, [129, 0, 0, 0, 0, 1, 0, 1]),
  );
});

test("traffic `all`: everything for our addresses goes to the kernel, except ESP, which it does not speak", () => {
  const world = new World(true);
  const all = [
    ...both(TCP, ike),
    ...both(UDP, udp(1234, 53, ike)),
    icmp(4, [0, 0, 0, 0, 0, 1, 0, 1]),
    ipFrame({ protocol: TCP, payload: ike, fragment: 5 }),
  ];
  assert.deepEqual(world.receive(...all).kernel, all.map(ipOf));
  assert.equal(world.parts.counted("punt")["others"], all.length);
  assert.equal(world.receive(echo4(), echo6()).link.length, 2, "Vita answers echo requests itself");
  world.ends("owned-input.drop.fragment", ipFrame({ protocol: ESP, payload: ike, fragment: 0x2000 }));
});

test("what a policy wants protected, or dropped, does not come in in the clear; IKE does", () => {
  const world = new World(
    true,
    { from: "192.0.2.1/32", to: "192.0.2.2/32" },
    { from: "2001:db8::1/128[tcp/80]", to: "2001:db8::/64" },
    { from: "192.0.2.1/32", to: "192.0.2.128/25", type: 3 },
    { from: "192.0.2.1/32", to: "192.0.2.130/32", type: 2, priorityClass: 0 },
  );
  const tcp = (source: number, destination: number) => [...udp(source, destination, []).slice(0, 4), ...ike];
  world.ends(
    "owned-input.drop.protected",
    echo4(),
    ipFrame({ protocol: TCP, payload: tcp(1000, 22) }),
    ipFrame({ to: OURS6, protocol: TCP, payload: tcp(1000, 80) }),
    ipFrame({ from: address("192.0.2.129"), protocol: TCP, payload: tcp(1000, 22) }),
  );
  const allowed = [
    ipFrame({ protocol: UDP, payload: udp(500, 500, ike) }),
    ipFrame({ to: OURS6, protocol: TCP, payload: tcp(80, 22) }),
    ipFrame({ from: address("192.0.2.130"), protocol: TCP, payload: tcp(1000, 22) }),
    ipFrame({ from: address("198.51.100.7"), protocol: TCP, payload: tcp(1000, 22) }),
  ];
  assert.deepEqual(world.receive(...allowed).kernel, allowed.map(ipOf));
  assert.equal(world.receive(echo6()).link.length, 1);
});

test("what is not for us, or not from anybody, ends", () => {
  const world = new World(true);
  const payload = udp(500, 500, ike);
  world.ends(
    "owned-input.drop.not_ours",
    ipFrame({ to: PEER4, from: address("192.0.2.3"), protocol: UDP, payload }),
    ipFrame({ to: PEER6, from: address("2001:db8::3"), protocol: UDP, payload }),
  );
  world.ends("owned-input.drop.foreign", ipFrame({ station: THIRD, protocol: UDP, payload }));
  for (const from of ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1"])
    world.ends("owned-input.drop.source", ipFrame({ from: address(from), protocol: UDP, payload }));
  for (const from of ["::", "::1", "ff02::1", "2001:db8::1"])
    world.ends(
      "owned-input.drop.source",
      ipFrame({ to: OURS6, from: address(from), protocol: UDP, payload }),
    );
  world.ends("owned-input.drop.source", ipFrame({ station: BROADCAST, protocol: UDP, payload }));
  const toAll = ipFrame({ to: address("192.0.2.255"), station: BROADCAST, protocol: UDP, payload });
  world.ends(
    "owned-input.groups",
    toAll,
    ipFrame({ to: address("224.0.0.1"), station: BROADCAST, protocol: UDP, payload }),
    ipFrame({ to: address("ff02::1"), station: BROADCAST, protocol: UDP, payload }),
  );
  world.ends("owned-input.link", icmp(6, [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], { ttl: 255 }));
  world.ends(
    "owned-input.drop.not_ip",
    Uint8Array.from([...MAC, ...PEER, 0x88, 0xcc, ...new Array(46).fill(1)]),
  );
  world.ends("classify.drop.bad_header", ipFrame({ protocol: UDP, payload: [1, 2] }));
});

test("a query for listeners is answered with a report", () => {
  const world = new World();
  const query = (ttl: number) =>
    ipFrame({
      to: address("ff02::1"),
      from: address("fe80::1"),
      station: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1),
      protocol: 0,
      ttl,
      payload: [58, 0, 5, 2, 0, 0, 1, 0, 130, ...new Array<number>(27).fill(0)],
    });
  assert.equal(world.receive(query(1)).link.length, 1);
  assert.equal(world.receive(query(64)).link.length, 0);
});

test("checksums of TCP and UDP that a kernel left unfinished are finished on the way, others are not touched", () => {
  const world = new World(true);
  const data = new Array<number>(31).fill(0x55);
  for (const to of [OURS4, OURS6])
    for (const [protocol, field, payload] of [
      [UDP, 6, udp(500, 500, data)],
      [TCP, 16, new Array<number>(33).fill(3)],
    ] as const) {
      const packet = ipFrame({ to, protocol, payload });
      const view = new DataView(packet.buffer);
      const start = packet.length - payload.length;
      const pseudo = (to.length === 4 ? pseudoHeader4 : pseudoHeader6)(view, 14, protocol, payload.length);
      view.setUint16(start + field, ~fold(pseudo) & 0xffff);
      const [finished] = world.receive(packet).kernel;
      const whole = Uint8Array.from([...packet.slice(0, 14), ...finished]);
      assert.equal(transportSum(whole), 0);
      // A checksum that is right stays, and so does one that is wrong.
      for (const flip of [0, 1]) {
        whole[start + field] ^= flip;
        assert.deepEqual(world.receive(whole).kernel, [ipOf(whole)]);
      }
    }
  assert.equal(world.parts.counted("punt")["checksums"], 4);
});

test("a flood does not reach the kernel: 10,000 a second for charon, 100,000 for others", () => {
  const world = new World(true);
  const burst = (packet: Uint8Array, count: number) => {
    for (let i = 0; i < count; i++) world.receive(packet);
  };
  burst(ipFrame({ protocol: UDP, payload: udp(500, 500, ike) }), 2010);
  burst(ipFrame({ protocol: TCP, payload: ike }), 5020);
  const { ike: toCharon, others, ...drops } = world.parts.counted("punt");
  assert.equal(toCharon, 2000);
  assert.equal(others, 5000);
  assert.deepEqual(drops, { "drop.rate_ike": 10, "drop.rate_others": 20 });
  world.punt.tick(100);
  assert.equal(world.receive(ipFrame({ protocol: UDP, payload: udp(500, 500, ike) })).kernel.length, 1);
});
