// How packets are spread over breaths must make no difference: what an app finds out about one packet holds for the next
// one, and for the next one only as long as it is right. The same random packets, both ways and from tunnel to tunnel, go
// through one gateway one by one and through another in batches of random sizes; between them policies, SAs, routes and
// neighbours change. Both must let the same packets out in the same order, and drop the same ones for the same reasons.
//
// A third gateway is the peer of both. It encrypts what they receive, and decrypts what they send, one by one.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { App } from "../src/engine/app.js";
import type { Encapsulate } from "../src/ipsec/encapsulate.js";
import { LOCK_SHIFT, SaFlag, SaState } from "../src/ipsec/sad-layout.js";
import { lastNumber } from "../src/ipsec/sequence.js";
import { policyRequest, type SaOptions, saId } from "../src/ipsec/testing/requests.js";
import { suiteOf, suiteRequest } from "../src/ipsec/testing/suites.js";
import { fold, sum16 } from "../src/net/checksum.js";
import { FAR, FAR6, NEAR, NEAR6, type Side, succeed, TestGateway } from "./esp/gateway.js";
import { mendChecksum, oneOf, type Random, randomFrom } from "./esp/random.js";

const ROUNDS = 4;
const PACKETS = 1500;
/** More than a breath takes of one port, and than a cipher takes at a time. */
const MAX_BATCH = 300;
/** SPIs of the SAs from the gateways to their peer, and back. */
const OUT = 0xc1000000;
const IN = 0xc2000000;

/** An SA each way, by its number. */
const sas: (Partial<SaOptions> & {
  ciphers: string;
  /** The far ends have IPv6 addresses. */
  isSix?: boolean;
  /** The last number that was used before. */
  last?: number;
  /** Packets that the outbound SA may carry: more than come, but it must look. */
  outLimit?: number;
})[] = [
  { ciphers: "aes128gcm16", last: 2 ** 32 - 150 },
  { ciphers: "aes256gcm16", extendedSequenceNumbers: false, udpEncapsulation: true, last: 2 ** 31 - 20 },
  { ciphers: "chacha20poly1305" },
  { ciphers: "aes128-sha256", copyDscp: 3, tfc: 300, last: 2 ** 33 - 20 },
  { ciphers: "aes256-sha512", extendedSequenceNumbers: false },
  { ciphers: "aes192gcm16", isSix: true, last: 2 ** 31 - 30 },
  { ciphers: "chacha20poly1305", isSix: true, udpEncapsulation: true, last: 2 ** 32 - 30 },
  { ciphers: "aes128gcm16", outLimit: 100_000, copyDf: false, copyDscp: 3 },
  { ciphers: "aes128gcm16", ...limited(60) },
  { ciphers: "aes128gcm16", ...limited(110) },
  { ciphers: "chacha20poly1305", ...limited(40) },
];
const EXPIRED = "decapsulate.drop.sa_expired";
const SELECTORS = "decapsulate.drop.selectors";
const INNER = "decapsulate.drop.bad_inner";
const ECN = "decapsulate.drop.ecn";
const BAD_ICV = "decapsulate.drop.bad_icv";
const REPLAYED = "decapsulate.drop.replayed";
const TOO_OLD = "decapsulate.drop.too_old";
const DELETED = 2;
const WITH_LIMITS = 8;
const AWAITED = 11;
const V4 = ["10.1.0.0/16"];
const V6 = ["2001:db8:1::/48"];
const FAR4 = "10.2.0.0/15";
const FAR_V6 = "2001:db8:2::/48";
const everything = ["0.0.0.0/0", "::/0"];

function limited(packets: number): Required<Pick<SaOptions, "lifetime">> {
  const none = { rekey: 0n, life: 0n };
  return { lifetime: { time: none, bytes: none, packets: { rekey: 0n, life: BigInt(packets) } } };
}

function saOf(number: number, spi: number): Partial<SaOptions> & { spi: number } {
  const { ciphers, isSix, last, outLimit, ...options } = sas[number] ?? { ciphers: "aes128gcm16" };
  return { replayWindow: 64, ports: [4500, 4500], ...options, spi, ...suiteRequest(suiteOf(ciphers), spi) };
}

/** The end points of an SA; both gateways have the same. */
function ends(number: number, inbound: boolean): { src: string; dst: string } {
  const [near, far] = sas[number]?.isSix ? [NEAR6, FAR6] : [NEAR, FAR];
  return inbound ? { src: far, dst: near } : { src: near, dst: far };
}

/** An SA of this number goes on where it was. */
function goOn(gateway: TestGateway, number: number, spi: number): void {
  const last = sas[number]?.last;
  if (last !== undefined) gateway.goOn(spi, last);
}

const app = <T extends App>(gateway: TestGateway, name: string) =>
  gateway.graph.apps.find((each) => each.name === name)!.app as T;

/** Where ESP begins; 0 if nowhere. */
function espOf(packet: Uint8Array): number {
  const [header, protocol] = packet[0] >>> 4 === 4 ? [20, packet[9]] : [40, packet[6]];
  if (protocol === 50) return header;
  return protocol === 17 && (packet[header + 2] << 8) + packet[header + 3] === 4500 ? header + 8 : 0;
}

/** 0 when the checksum of UDP over IPv6 is right. */
function udpSum(packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset);
  assert.notEqual(view.getUint16(46), 0);
  return fold(sum16(view, 8, packet.length - 8, 17 + packet.length - 40));
}

class Peer {
  readonly gateway = new TestGateway("ipsec-mb", { tun: true, publicMtu: 1900, privateMtu: 1900 });

  constructor() {
    const { gateway } = this;
    for (let i = 0; i <= AWAITED; i++) {
      gateway.sa({
        ...saOf(i, OUT + i),
        ...limited(0),
        replayWindow: 4096,
        inbound: true,
        ...ends(i, true),
        from: everything,
        to: everything,
      });
      goOn(gateway, i, OUT + i);
    }
    for (let i = 0; i < sas.length; i++) {
      const end = ends(i, false);
      gateway.sa({ ...saOf(i, IN + i), ...limited(0), ...end, from: everything, to: everything });
      goOn(gateway, i, IN + i);
    }
  }

  encrypt(packet: Uint8Array, number: number): Uint8Array {
    const { gateway } = this;
    const frame = gateway.frames.from(packet);
    app<Encapsulate>(gateway, "encapsulate").take(frame, gateway.slotOf(IN + number), 1900);
    const { public: sent } = gateway.sendFrames("private", [], false);
    assert.equal(sent.length, 1);
    return sent[0];
  }

  /** What is inside of ESP packets, and of which SA it was; other packets as they are. */
  decrypt(packets: Uint8Array[]): { flow: string; packet: Uint8Array }[] {
    return packets.map((packet) => {
      const esp = espOf(packet);
      if (esp === 0) return { flow: "in the clear", packet };
      const isFour = packet[0] >>> 4 === 4;
      if (esp === 48) assert.equal(udpSum(packet), 0, "UDP over IPv6 has its checksum");
      const { private: inner, drops } = this.gateway.send("public", [packet]);
      assert.deepEqual(drops, {}, "what is sent is sound, and has a number of its own");
      assert.equal(inner.length, 1);
      const outer = isFour ? `${packet[1]}, flags ${packet[6]}` : `${packet[0]} ${packet[1]}`;
      return { flow: `SA ${packet[esp + 3]}, outer TOS ${outer}`, packet: inner[0] };
    });
  }

  close(): void {
    this.gateway.close();
  }
}

/** One end of the tunnels, set up the same each time. */
function makeGateway(): TestGateway {
  const gateway = new TestGateway("ipsec-mb", { frames: 2048, privateMtu: 1300, linger: true, more: true });
  sas.forEach((_, i) => {
    // No limits on the way out: packets that come in a later breath than the one in which an SA has ended wait for another.
    const outbound = limited(sas[i].outLimit ?? 0);
    gateway.sa({ ...saOf(i, OUT + i), ...outbound, ...ends(i, false), from: everything, to: everything });
    const narrow = ["10.1.0.0/16[udp/1000-1001]", "10.1.0.0/16[icmp]", "10.3.0.0/24"];
    const to = i === 1 ? narrow : [...V4, ...V6, FAR4, "10.4.0.0/14", "10.8.0.0/14", FAR_V6];
    gateway.sa({ ...saOf(i, IN + i), inbound: true, ...ends(i, true), from: [FAR4, FAR_V6], to });
    goOn(gateway, i, OUT + i);
    goOn(gateway, i, IN + i);
  });
  const policy = (to: string, espSpi: number, type = 1) => {
    for (const from of to.includes(":") ? [V6[0], FAR_V6] : [V4[0], FAR4])
      gateway.policy({ from, to, espSpi, type, ...ends(espSpi - OUT, false) });
  };
  policy("10.2.0.0/16", OUT);
  policy(FAR_V6, OUT);
  policy("10.3.0.0/16[udp/1000]", OUT + 1);
  policy("10.3.0.0/16[udp/1001]", OUT + 2);
  policy("10.3.0.0/16[icmp]", OUT + 3);
  policy("10.3.0.0/24", OUT + 4);
  policy("10.4.0.0/16", 0, 2);
  policy("10.5.0.0/16", 0, 3);
  policy("10.6.0.0/25", OUT + 8);
  policy("10.6.0.128/25", OUT + 9);
  for (let i = 5; i < WITH_LIMITS; i++) policy(`10.${4 + i}.0.0/16`, OUT + i);
  for (const [i, from] of [V4[0], FAR4].entries())
    gateway.policy({ from, to: "10.7.0.0/16", priorityClass: 2, reqid: 9 + i });
  // A neighbour that nobody knows.
  gateway.route("private", "10.1.9.0/24", "10.1.0.253");
  return gateway;
}

/** What changes between packets; the same for both gateways. */
const changes: ((gateway: TestGateway) => void)[] = [
  (gateway) => gateway.policy({ from: "10.1.0.0/16", to: "10.2.0.7/32", type: 3, priorityClass: 0 }),
  (gateway) => gateway.link("private", 1100),
  (gateway) => {
    gateway.sa({ ...saOf(AWAITED, OUT + AWAITED), reqid: 9, from: everything, to: everything });
    gateway.policy({ from: "10.1.0.0/16", to: "10.7.0.0/16", reqid: 9, espSpi: OUT + AWAITED });
    gateway.policy({ from: FAR4, to: "10.7.0.0/16", reqid: 10, espSpi: OUT + 4 });
  },
  (gateway) => gateway.graph.fib.neighbour(1, Uint8Array.of(10, 1, 0, 253), Uint8Array.of(2, 0, 0, 0, 0, 3)),
  (gateway) =>
    succeed(
      gateway.kernel.deletePolicy(
        policyRequest({ from: "10.1.0.0/16", to: "10.2.0.7/32", type: 3, priorityClass: 0 }),
      ),
    ),
  (gateway) => succeed(gateway.kernel.deleteSa(saId(IN + DELETED, FAR, NEAR, [4500, 4500]))),
  (gateway) => gateway.route("private", "10.1.3.0/24", "10.1.0.253", true),
  (gateway) => gateway.link("public", 1400),
];

interface Flow {
  version: 4 | 6;
  source: number[];
  destination: number[];
  tos: number;
  ttl: number;
  protocol: number;
  port: number;
  options: number;
}

function address(isFar: boolean, random: Random): number[] {
  if (!isFar) return [10, 1, oneOf(random, 0, 0, 0, 3, 9), oneOf(random, 5, 6, 1)];
  const network = oneOf(random, 2, 2, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11);
  return [10, network, oneOf(random, 0, 0, 1), oneOf(random, 7, 8, 200)];
}

/** One that comes from far may go on to far. */
function newFlow(random: Random, isOutbound: boolean): Flow {
  return {
    version: random(6) === 0 ? 6 : 4,
    source: address(!isOutbound, random),
    destination: address(isOutbound || random(2) === 0, random),
    tos: oneOf(random, 0, 0, 0, 1, 2, 3, 0xb8, 0xba),
    ttl: oneOf(random, 64, 64, 64, 2, 255),
    protocol: oneOf(random, 17, 17, 6, 1),
    port: oneOf(random, 1000, 1000, 1001, 1002),
    options: random(12) === 0 ? 8 : 0,
  };
}

/** The same flow with one thing changed. */
function mutate(flow: Flow, random: Random, isOutbound: boolean): Flow {
  const other = newFlow(random, isOutbound);
  const fields = Object.keys(flow) as (keyof Flow)[];
  const field = fields[random(fields.length)];
  return { ...flow, [field]: other[field] };
}

/** A packet of the flow; its number stands in it, so that no two are alike. */
function make(flow: Flow, number: number, random: Random): Uint8Array {
  const { version, source, destination, tos, protocol, port, options } = flow;
  const isSix = version === 6;
  const header = isSix ? 40 : 20 + options;
  const length = header + oneOf(random, 12, 12, 13, 40, 200, random(1200) + 12, 1200, 1350, 1440);
  const ttl = random(25) === 0 ? 1 : flow.ttl;
  const packet = new Uint8Array(length).fill(number & 0xff);
  if (isSix) {
    const prefix = (near: boolean) => [0x20, 1, 0xd, 0xb8, 0, near ? 1 : 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    packet.set([0x60 | (tos >>> 4), (tos & 15) << 4, 0, 0, (length - 40) >>> 8, (length - 40) & 0xff]);
    packet.set([protocol === 1 ? 58 : protocol, ttl], 6);
    packet.set([...prefix(source[1] === 1), source[3]], 8);
    packet.set([...prefix(destination[1] === 1), destination[3]], 24);
  } else {
    const flags = oneOf(random, 0x40, 0, 0, 0x20, 1);
    const fragment = random(10) === 0 ? flags : flags & 0x40;
    packet.set([0x40 | (header >>> 2), tos, length >>> 8, length & 0xff, number >>> 8, number & 0xff]);
    packet.set([fragment, fragment === 1 ? 7 : 0, ttl, protocol, 0, 0, ...source, ...destination], 6);
    if (options > 0) packet.set([1, 1, 1, 1, 1, 1, 1, 0], 20);
    mendChecksum(packet);
    if (random(40) === 0) packet[10] ^= 0x10;
  }
  packet.set(protocol === 1 ? [8, 0] : [port >>> 8, port & 0xff], header);
  packet.set([port >>> 8, port & 0xff, number >>> 8, number & 0xff], header + 2);
  if (random(60) === 0) packet[3] ^= 0x40;
  return packet;
}

interface Step {
  side: Side;
  packet: Uint8Array;
}

/** An ESP packet, as it came or spoilt on the way. */
function spoil(packet: Uint8Array, random: Random, isLimited: boolean): Uint8Array {
  const copy = packet.slice();
  const chance = random(30);
  if (packet[0] >>> 4 === 6) {
    // Of IPv6 the header has no checksum: marks, and what is spoilt anywhere behind it.
    if (chance < 4) copy[1] = (copy[1] & 0xcf) | (chance << 4);
    else if (chance === 7) copy[copy.length - 1 - random(8)] ^= 1;
    else if (chance === 8) copy[espOf(packet)] ^= 0x10;
  } else if (chance < 4) {
    copy[1] = (copy[1] & 0xfc) | chance;
    mendChecksum(copy);
  } else if (chance === 4) {
    copy[8] = 9;
    mendChecksum(copy);
  } else if (chance === 5) copy[10] ^= 1;
  else if (chance === 6) {
    copy[6] |= 0x20;
    mendChecksum(copy);
  } else if (chance === 7 && !isLimited) copy[copy.length - 1 - random(8)] ^= 1;
  else if (chance === 8 && copy[9] === 50) copy[20] ^= 0x10;
  else if (chance === 9) {
    copy[9] = 6;
    mendChecksum(copy);
  }
  return copy;
}

function portOf(packet: Uint8Array): Side {
  if (packet[0] >>> 4 === 6) return packet[39] === 7 ? "red" : "private";
  // Which of those that wait for an SA are too many depends on who comes first.
  if (packet[17] === 7) return "private";
  return packet[19] === 8 ? "red" : packet[19] === 200 ? "blue" : "private";
}

function makeSteps(peer: Peer, random: Random): Step[] {
  const steps: Step[] = [];
  const flows = { out: newFlow(random, true), in: newFlow(random, false) };
  let direction: "out" | "in" = "out";
  let sa = 0;
  const received: Uint8Array[] = [];
  for (let number = 0; number < PACKETS; number++) {
    // Long trains follow short ones.
    const isCalm = number % 500 >= 250 && random(60) !== 0;
    if (!isCalm && random(4) === 0) direction = direction === "out" ? "in" : "out";
    const isOutbound = direction === "out";
    const chance = isCalm ? 10 : random(10);
    if (chance === 0) flows[direction] = newFlow(random, isOutbound);
    else if (chance < 4) flows[direction] = mutate(flows[direction], random, isOutbound);
    const packet = make(flows[direction], number, random);
    // All packets of a flow come by one port, and so in their order.
    if (isOutbound) steps.push({ side: portOf(packet), packet });
    else {
      if (!isCalm && random(3) === 0) sa = random(sas.length);
      const isLimited = sa >= WITH_LIMITS;
      const encrypted = peer.encrypt(packet, sa);
      steps.push({ side: "public", packet: spoil(encrypted, random, isLimited) });
      if (isLimited) continue;
      received.push(steps[steps.length - 1].packet);
      if (random(8) === 0)
        steps.push({ side: "public", packet: received[Math.max(0, received.length - 1 - random(90))] });
    }
  }
  return steps;
}

/** What came out, by flow, in its order, and what was dropped. */
class Outcome {
  readonly flows: Record<string, string[]> = {};
  readonly drops: Record<string, number> = {};
  readonly errors: string[] = [];
  usage: Record<string, unknown> = {};

  add(flow: string, packet: Uint8Array): void {
    const [from, to] = packet[0] >>> 4 === 4 ? [12, 20] : [8, 40];
    const isError = packet[0] >>> 4 === 4 ? packet[1] === 0xc0 : packet[6] === 58 && packet[40] < 128;
    // Errors come behind what the same breath has brought: their order among each other is nobody's concern.
    if (isError) {
      this.errors.push(`${flow}: ${Buffer.from(packet).toString("hex")}`);
      return;
    }
    const name = `${flow}: ${Buffer.from(packet.subarray(from, to)).toString("hex")} protocol ${packet[0] >>> 4 === 4 ? packet[9] : packet[6]}`;
    this.flows[name] ??= [];
    this.flows[name].push(Buffer.from(packet).toString("hex"));
  }

  addDrops(drops: Record<string, number>): void {
    for (const [name, count] of Object.entries(drops)) this.drops[name] = (this.drops[name] ?? 0) + count;
  }
}

/**
 * Drops by reason. A packet that comes when its SA has just reached its limit, and lies outside its selectors or is malformed,
 * has two: which of them counts depends on whether it was taken before the limit was reached. So it is with one that was spoilt or
 * seen before, and with which the window has moved on in the same breath.
 */
function reasons({ drops }: Outcome): Record<string, number> {
  const {
    [EXPIRED]: expired = 0,
    [SELECTORS]: selectors = 0,
    [INNER]: inner = 0,
    [ECN]: ecn = 0,
    [BAD_ICV]: spoilt = 0,
    [REPLAYED]: replayed = 0,
    [TOO_OLD]: old = 0,
    ...rest
  } = drops;
  return {
    ...rest,
    "expired, or what is seen first": expired + selectors + inner + ecn,
    "too old, or what is seen first": spoilt + replayed + old,
  };
}

/** What each SA has carried. Numbers that were reserved and not used are given back, but where 2^31 lies between. */
function usageOf(gateway: TestGateway): Record<string, unknown> {
  const usage: Record<string, unknown> = {};
  const { sad } = gateway;
  for (let slot = 0; slot < sad.used; slot++) {
    if (sad.state(slot) !== SaState.active) continue;
    const spi = sad.spi(slot);
    usage[spi.toString(16)] = gateway.kernel.usage(slot);
    if ((sad.flags(slot) & SaFlag.inbound) !== 0) continue;
    const begun = sas[spi - OUT]?.last ?? 0;
    const left =
      lastNumber(sad.atomics, sad.offset(slot) >>> 2) - begun - Number(gateway.kernel.usage(slot).packets);
    assert.ok(
      begun === 0 ? left === 0 : left >= 0 && left < 600,
      `${left} numbers of SA ${spi - OUT} are left out`,
    );
  }
  return usage;
}

/** @param batch how many of the next packets go together */
function run(peer: Peer, steps: Step[], batch: () => number): Outcome {
  const gateway = makeGateway();
  const outcome = new Outcome();
  try {
    const between = Math.floor(steps.length / (changes.length + 1));
    for (let i = 0; i < steps.length; ) {
      const next = (Math.floor(i / between) + 1) * between;
      const end = Math.min(i + batch(), next, steps.length);
      const { drops, ...sides } = gateway.sendTogether(steps.slice(i, end));
      i = end;
      outcome.addDrops(drops);
      for (const side of ["private", "red", "blue"] as const)
        for (const packet of sides[side]) outcome.add(side, packet);
      for (const { flow, packet } of peer.decrypt(sides.public)) outcome.add(flow, packet);
      // As many errors as are wanted.
      gateway.graph.tick(1000);
      for (let slot = 0; slot < gateway.sad.used; slot++)
        assert.equal(gateway.sad.flags(slot) >>> LOCK_SHIFT, 0, "nobody has a lock between two breaths");
      if (i === next) changes[next / between - 1]?.(gateway);
    }
    outcome.usage = usageOf(gateway);
    return outcome;
  } finally {
    gateway.close();
  }
}

test("the spread of packets over breaths makes no difference", async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const seed = Number(process.env["VITA_TEST_SEED"] ?? 1000) + round;
    await t.test(`seed ${seed}`, () => {
      const peer = new Peer();
      const others = [new Peer(), new Peer()];
      try {
        const random = randomFrom(seed);
        const steps = makeSteps(peer, random);
        const one = run(others[0], steps, () => 1);
        const many = run(others[1], steps, () => 1 + random(oneOf(random, 5, 40, MAX_BATCH)));
        assert.deepEqual(reasons(many), reasons(one));
        assert.deepEqual(many.flows, one.flows);
        assert.deepEqual(many.usage, one.usage);
        assert.deepEqual(many.errors.sort(), one.errors.sort());
      } finally {
        for (const each of [peer, ...others]) each.close();
      }
    });
  }
});

test("a breath brings more packets of one SA, and of several, than a cipher takes at a time", () => {
  const to = [
    { network: 2, protocol: 17, port: 1000 },
    { network: 3, protocol: 17, port: 1000 },
    { network: 3, protocol: 17, port: 1001 },
    { network: 3, protocol: 1, port: 1002 },
    { network: 3, protocol: 6, port: 1002 },
    ...[9, 10, 11].map((network) => ({ network, protocol: 17, port: 1000 })),
  ];
  const sides = ["private", "red", "blue"] as const;
  for (const only of [undefined, ...to.keys()]) {
    const [peer, gateway] = [new Peer(), makeGateway()];
    try {
      const random = randomFrom(1);
      const steps: Step[] = [];
      for (let i = 0; i < 3 * 120; i++) {
        const { network, protocol, port } = to[only ?? i % to.length];
        const packet = new Uint8Array(40 + random(4));
        packet.set([
          0x45,
          0,
          0,
          packet.length,
          i >>> 8,
          i,
          0x40,
          0,
          64,
          protocol,
          0,
          0,
          10,
          1,
          0,
          5,
          10,
          network,
          0,
          7,
        ]);
        packet.set(protocol === 1 ? [8, 0] : [port >>> 8, port & 0xff], 20);
        packet.set([port >>> 8, port & 0xff, i >>> 8, i], 22);
        mendChecksum(packet);
        steps.push({ side: sides[i % 3], packet });
      }
      const { drops, public: sent } = gateway.sendTogether(steps);
      assert.deepEqual(drops, {});
      const forwarded = ({ packet }: Step) => {
        packet[8]--;
        mendChecksum(packet);
        return packet;
      };
      const expected = sides.flatMap((side) => steps.filter((step) => step.side === side).map(forwarded));
      assert.deepEqual(
        peer.decrypt(sent).map(({ packet }) => packet),
        expected,
      );
      usageOf(gateway);
    } finally {
      peer.close();
      gateway.close();
    }
  }
});
