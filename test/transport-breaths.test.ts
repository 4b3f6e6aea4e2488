// Transport mode beside tunnels, and two public ports: random packets of this host and of its networks go out, and random ESP
// packets, sound and hostile, come in. One by one, each must meet what it is meant to: it comes out as it went in, protected by
// the right SA on the right port, or it ends with the right name. In batches of random sizes all must be as it was one by one.
//
// Half of what comes in is made by a gateway of Vita's, which also opens what goes out; the other half with Node's cryptography.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SaUsage } from "../src/ipsec/kernel.js";
import { LOCK_SHIFT } from "../src/ipsec/sad-layout.js";
import { FAR, FAR_UPLINK, type Result, type Side, type TestGateway } from "./esp/gateway.js";
import { oneOf, randomFrom } from "./esp/random.js";
import { UDP, writeChecksum } from "./transport/packets.js";
import { espIn, Far, IN, makeNear, OUT, sas, sideOf, usageOf } from "./transport/sites.js";
import { REPEATED, type Step, Steps } from "./transport/steps.js";

const ROUNDS = 3;
const PACKETS = 2400;
/** More than a breath takes of one port, and than a cipher takes at a time. */
const MAX_BATCH = 300;
const SIDES = ["private", "public", "red", "blue", "uplink"] as const;
/** Which of them counts a packet that comes again depends on how far the window has moved. */
const repeats = ["replayed", "too_old", "bad_icv"].map((name) => `decapsulate.drop.${name}`);

/** What changes between packets: the far end is to be reached by the other public port, for a while. */
const changes: { side: Side; change: (gateway: TestGateway) => void }[] = [
  { side: "public", change: () => {} },
  { side: "uplink", change: (gateway) => gateway.route("uplink", `${FAR}/32`, FAR_UPLINK) },
  { side: "public", change: (gateway) => gateway.route("uplink", `${FAR}/32`, FAR_UPLINK, false) },
];

const hex = (packet: Uint8Array) => Buffer.from(packet).toString("hex");
/** All that is of interest in a message. */
const shown = (packet: Uint8Array) => hex(packet.subarray(0, 120));

function makeSteps(far: Far, seed: number): Step[] {
  const random = randomFrom(seed);
  const made = new Steps(far, random);
  let [sa, isOutbound] = [0, true];
  for (let number = 0; number < PACKETS; number++) {
    // Long trains follow short ones.
    if (number % 400 < 300 ? random(3) === 0 : random(40) === 0) sa = random(sas.length);
    if (random(number % 400 < 300 ? 4 : 40) === 0) isOutbound = random(2) === 0;
    made.add(sa, isOutbound);
  }
  return made.steps;
}

/** An error about a packet that is too long. */
const isError = (packet: Uint8Array) =>
  packet[0] >>> 4 === 4 ? packet[9] === 1 && packet[20] === 3 : packet[6] === 58 && packet[40] === 2;

/** UDP over IPv6 must have its checksum. */
function checkUdp(packet: Uint8Array, udp: number): void {
  const copy = packet.slice();
  copy.fill(1, udp + 6, udp + 8);
  writeChecksum(copy, udp, UDP);
  assert.equal(hex(packet.subarray(udp, udp + 8)), hex(copy.subarray(udp, udp + 8)));
}

/** A packet that came out; what was protected, in the clear, with its SA and where ESP stood. */
interface Out {
  side: Side;
  sa: number | undefined;
  esp: number | undefined;
  packet: Uint8Array;
}

/** What came out, by flow, in its order, and what was dropped. */
class Outcome {
  readonly flows: Record<string, string[]> = {};
  readonly drops: Record<string, number> = {};
  readonly errors: string[] = [];
  /** What outbound SAs have carried, and all inbound ones together, under -1. */
  readonly carried = new Map<number, { packets: bigint; bytes: bigint }>();
  usage = new Map<number, SaUsage>();

  constructor(private readonly far: Far) {}

  take({ drops, ...sides }: Result): Out[] {
    for (const [name, count] of Object.entries(drops)) {
      const key = repeats.includes(name) ? REPEATED : name;
      this.drops[key] = (this.drops[key] ?? 0) + count;
    }
    const out = SIDES.flatMap((side) =>
      sides[side].map((packet) => {
        const isPublic = side === "public" || side === "uplink";
        const esp = isPublic ? espIn(packet) : undefined;
        if (esp === undefined) return { side, sa: undefined, esp, packet };
        const sa = new DataView(packet.buffer, packet.byteOffset).getUint32(esp) - OUT;
        if (sas[sa].inUdp && sas[sa].isSix) checkUdp(packet, esp - 8);
        return { side, sa, esp: sas[sa].inUdp ? esp - 8 : esp, packet: this.far.decrypt(packet) };
      }),
    );
    for (const each of out) this.add(each);
    return out;
  }

  /** Do the SAs tell what they have carried? */
  checkUsage(usage: Map<number, SaUsage>): void {
    this.usage = usage;
    const told = new Map<number, { packets: bigint; bytes: bigint }>();
    for (const [spi, { packets, bytes }] of usage) {
      const sa = spi < IN ? spi - OUT : -1;
      const before = told.get(sa) ?? { packets: 0n, bytes: 0n };
      told.set(sa, { packets: before.packets + packets, bytes: before.bytes + bytes });
    }
    for (const [sa, each] of told)
      assert.deepEqual(each, this.carried.get(sa) ?? { packets: 0n, bytes: 0n }, `SA ${sa}`);
  }

  private add({ side: way, sa, packet }: Out): void {
    if (isError(packet)) {
      this.errors.push(hex(packet));
      return;
    }
    if (sa !== undefined || way === "private") {
      const { packets, bytes } = this.carried.get(sa ?? -1) ?? { packets: 0n, bytes: 0n };
      this.carried.set(sa ?? -1, { packets: packets + 1n, bytes: bytes + BigInt(packet.length) });
    }
    const [from, to, field] = packet[0] >>> 4 === 4 ? [12, 20, 9] : [8, 40, 6];
    const flow = `${way}, SA ${sa}: ${hex(packet.subarray(from, to))} protocol ${packet[field]}`;
    this.flows[flow] ??= [];
    this.flows[flow].push(hex(packet));
  }
}

/** Sends the steps, as many at a time as `batch` says, and has the changes happen in between. */
function run(
  steps: Step[],
  far: Far,
  batch: () => number,
  look?: (step: Step, result: Result, out: Out[], toFar: Side) => void,
): Outcome {
  const gateway = makeNear();
  const outcome = new Outcome(far);
  try {
    const between = Math.ceil(steps.length / changes.length);
    for (let i = 0; i < steps.length; ) {
      const era = Math.floor(i / between);
      if (i % between === 0) changes[era].change(gateway);
      const end = Math.min(i + batch(), (era + 1) * between, steps.length);
      const result = gateway.sendTogether(steps.slice(i, end));
      const out = outcome.take(result);
      look?.(steps[i], result, out, changes[era].side);
      i = end;
      for (let slot = 0; slot < gateway.sad.used; slot++)
        assert.equal(gateway.sad.flags(slot) >>> LOCK_SHIFT, 0, "nobody has a lock between two breaths");
      // As many errors as are wanted.
      gateway.graph.tick(1000);
    }
    outcome.checkUsage(usageOf(gateway));
    return outcome;
  } finally {
    gateway.close();
  }
}

/** One packet met what it was meant to. */
function check(step: Step, { drops }: Result, out: Out[], toFar: Side): void {
  const { drop, sa } = step;
  const note = `${step.side} ${shown(step.packet)}, ${drop ?? `SA ${sa}`}`;
  const names = Object.keys(drops);
  if (sa !== undefined && sas[sa].isBound && toFar !== "public") {
    assert.deepEqual(drops, { "protect.drop.interface": 1 }, note);
    assert.equal(out.length, 0, note);
    return;
  }
  if (drop === REPEATED) assert.ok(names.length === 1 && repeats.includes(names[0]), `${names} ${note}`);
  else assert.deepEqual(drops, drop === undefined ? {} : { [drop]: 1 }, note);
  if (step.isTooBig) {
    assert.ok(out.length === 1 && out[0].side === "private" && isError(out[0].packet), note);
    return;
  }
  assert.equal(out.length, step.out ? 1 : 0, note);
  if (!step.out) return;
  assert.equal(shown(out[0].packet), shown(step.out), note);
  assert.ok(hex(out[0].packet) === hex(step.out), note);
  assert.equal(out[0].sa, sa, note);
  if (step.esp !== undefined) assert.equal(out[0].esp, step.esp, note);
  const isInbound = step.side === "public" || step.side === "uplink";
  const isToFar = step.out[0] >>> 4 === 4 && step.out.subarray(16, 20).join(".") === FAR;
  const way = sa === undefined ? (isToFar ? toFar : undefined) : isTowardsFar(sa) ? toFar : sideOf(sas[sa]);
  if (isInbound) assert.equal(out[0].side, "private", note);
  else if (way !== undefined) assert.equal(out[0].side, way, note);
  else assert.ok(out[0].side === "public" || out[0].side === "uplink", note);
}

const isTowardsFar = (sa: number) => !sas[sa].isSix && !sas[sa].uplink;

/** What packets of all rounds together must have met. */
const all = [
  REPEATED,
  ...["bad_checksum", "bad_header", "fragment", "not_esp"].map((name) => `classify.drop.${name}`),
  "decapsulate.dummies",
  ...["bad_inner", "bad_next_header", "bad_padding", "no_sa", "selectors", "too_short"].map(
    (name) => `decapsulate.drop.${name}`,
  ),
  "encapsulate.drop.address",
  "encapsulate.drop.fragment",
  "ip-input.drop.bad_checksum",
  "ip-input.drop.bad_header",
  ...["interface", "malformed", "no_policy", "not_host", "too_big"].map((name) => `protect.drop.${name}`),
  "protect.unprotected",
];

test("transport mode: each packet meets what it should, one by one and in batches", async (t) => {
  const met = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    const seed = Number(process.env["VITA_TEST_SEED"] ?? 1000) + round;
    await t.test(`seed ${seed}`, () => {
      const fars = [new Far(), new Far(), new Far()];
      try {
        const steps = makeSteps(fars[0], seed);
        const random = randomFrom(seed);
        const one = run(steps, fars[1], () => 1, check);
        const many = run(steps, fars[2], () => 1 + random(oneOf(random, 5, 40, MAX_BATCH)));
        for (const name of Object.keys(one.drops)) met.add(name);
        assert.deepEqual(many.drops, one.drops);
        assert.deepEqual(many.flows, one.flows);
        assert.deepEqual(many.usage, one.usage);
        assert.deepEqual(many.errors.sort(), one.errors.sort());
      } finally {
        for (const far of fars) far.close();
      }
    });
  }
  assert.deepEqual([...met].sort(), all.sort());
});
