// Static SAs and policies: what the pseudo-kernel has after each change, and after supervisors that were killed.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Configuration, InboundSa, StaticRoute, StaticSa } from "../config/configuration.js";
import { ConfigurationError } from "../config/problem.js";
import { NodeEngine } from "../ipsec/aead-node.js";
import type { AddSaRequest } from "../ipsec/kernel.js";
import { Lingering } from "../ipsec/lingering.js";
import { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { readSa } from "../ipsec/read-sa.js";
import { acceptReplay, topSequence } from "../ipsec/replay.js";
import { Sad } from "../ipsec/sad.js";
import { SaState, saSlot } from "../ipsec/sad-layout.js";
import { atCeiling, ceilingOf, lastSequence, reserveSequence } from "../ipsec/sequence.js";
import { Spd } from "../ipsec/spd.js";
import { saRequest } from "../ipsec/testing/requests.js";
import { formatAddress, type IpAddress, parseAddress } from "../net/address.js";
import { markId, SequenceMarks } from "./sequence-marks.js";
import { STATIC_SESSION, StaticSecurity } from "./static-security.js";

const CHARON = 7n;
const digits = (seed: number, bytes: number) => seed.toString(16).padStart(2, "0").repeat(bytes);

const route: StaticRoute = {
  id: "foo",
  net: ["10.2.0.0/16"],
  "local-net": ["10.1.0.0/16"],
  gateway: { ip: "192.0.2.2" },
  "if-id": 0,
  mark: 0,
};

/** Leaves that are other ones, or none. */
type Change<Sa> = { [Leaf in keyof Sa]?: Sa[Leaf] | undefined };

function sa(spi: number, change: Change<StaticSa> = {}): StaticSa {
  return {
    spi,
    route: "foo",
    aead: "aes-gcm-16-icv",
    key: digits(spi & 0xff, 16),
    salt: digits(1, 4),
    esn: true,
    ...change,
  } as StaticSa;
}

function inbound(spi: number, change: Change<InboundSa> = {}): InboundSa {
  return { ...sa(spi), "replay-window": 64, ...change } as InboundSa;
}

function configuration(change: Partial<Configuration> = {}): Configuration {
  return {
    node: "test",
    "public-interface": [],
    "private-interface": [],
    workers: 1,
    "worker-cpu": [],
    engine: "node",
    "busy-poll": false,
    "route-table": 221,
    "transport-route-table": 223,
    limits: { "orphan-seconds": 180, sas: 16, policies: 16, frames: 1024 },
    "data-plane": true,
    route: [route],
    "inbound-sa": [inbound(1001)],
    "outbound-sa": [sa(2001)],
    "security-policy": [],
    charon: { vici: "" },
    connection: [],
    pool: [],
    secret: [],
    authority: [],
    restconf: {},
    ...change,
  };
}

class Rig {
  readonly directory = mkdtempSync("/dev/shm/vita-static-");
  sad: Sad;
  spd: Spd;
  kernel!: PseudoKernel;
  marks!: SequenceMarks;
  security!: StaticSecurity;
  readonly warnings: string[] = [];
  addresses: IpAddress[] = ["192.0.2.1", "2001:db8::1"].map((text) => parseAddress(text)!);
  now = 1000;
  /** The node's folder of marks. */
  state = "state";
  #count = 0;

  constructor(
    readonly slots = 16,
    readonly policies = 24,
  ) {
    this.sad = this.#newSad();
    this.spd = this.#newSpd();
    this.#start();
  }

  #newSad(): Sad {
    return Sad.create(join(this.directory, `sad-${++this.#count}`), this.slots, NodeEngine.id);
  }

  #newSpd(): Spd {
    return Spd.create(join(this.directory, `spd-${this.#count}`), this.policies);
  }

  #start(): void {
    const { sad, spd } = this;
    this.kernel = new PseudoKernel({
      sad,
      spd,
      engine: new NodeEngine(sad),
      now: () => this.now,
      lingering: new Lingering(sad),
    });
    this.marks = new SequenceMarks(join(this.directory, this.state));
    this.security = new StaticSecurity({
      kernel: this.kernel,
      sad,
      marks: this.marks,
      logger: { info() {}, warn: (text) => this.warnings.push(text) },
      now: () => this.now,
      addresses: () => this.addresses,
    });
  }

  /** The supervisor was killed, and nothing else. */
  async adopt(): Promise<void> {
    await this.marks.close();
    this.#start();
  }

  /** Everything is gone but what is on disk. @param inOrder the run has ended as it should */
  async reboot(inOrder: boolean): Promise<void> {
    if (inOrder) await this.security.settle();
    await this.marks.close();
    this.sad.close();
    this.spd.close();
    this.sad = this.#newSad();
    this.spd = this.#newSpd();
    this.#start();
  }

  slot(spi: number, isInbound = false): number {
    const slots = this.kernel
      .sasOf(STATIC_SESSION)
      .filter((slot) => this.sad.spi(slot) === spi && this.sad.isInbound(slot) === isInbound);
    assert.equal(slots.length, 1, `SAs with SPI ${spi}`);
    return slots[0];
  }

  word(slot: number): number {
    return this.sad.offset(slot) >>> 2;
  }

  last(slot: number): number {
    return Number(lastSequence(this.sad.atomics, this.word(slot)));
  }

  /** Reserves numbers as a worker would. @returns how many it got */
  use(slot: number, count: number, batch = 2 ** 20): number {
    let used = 0;
    for (; used < count && !atCeiling(this.sad.atomics, this.word(slot)); used += batch)
      reserveSequence(this.sad.atomics, this.word(slot), batch);
    return used;
  }

  /** Everything that is installed, in no order; `sa` of `out` entries by SPI. */
  told(): string[] {
    const address = (bytes: IpAddress) => formatAddress(bytes);
    const sas = this.kernel.sasOf(STATIC_SESSION).map((slot) => {
      const { id, inbound: isInbound } = readSa(this.sad, slot);
      return `${isInbound ? "in" : "out"} ${id.spi} ${address(id.src.address)} ${address(id.dst.address)}`;
    });
    const policies = [];
    for (let entry = 0; entry < this.spd.used; entry++) {
      if (!this.spd.present(entry) || this.spd.session(entry) !== STATIC_SESSION) continue;
      const { id, type } = this.spd.read(entry);
      const behind = this.spd.sa(entry);
      policies.push(
        `${["in", "out", "fwd"][id.direction]} ${["", "protect", "pass", "drop"][type]} ` +
          `${address(id.srcSelector.from)} ${address(id.dstSelector.from)}` +
          (behind < 0 ? "" : ` ${this.sad.spi(behind)}`),
      );
    }
    return [...sas, ...policies].sort();
  }

  /** What the memory holds of what is in use, to see what was touched. */
  touched(): string {
    const slots = this.kernel
      .sasOf(STATIC_SESSION)
      .map(
        (slot) =>
          `${slot}:${this.sad.words[this.word(slot) + (saSlot.at.generation >>> 2)]}:${this.sad.order(slot)}`,
      );
    const entries = Array.from({ length: this.spd.used }, (_, i) => `${i}:${this.spd.order(i)}`);
    return `${slots} ${entries} ${this.spd.generation}`;
  }

  async refuses(to: Configuration, expected: RegExp): Promise<void> {
    const before = [this.told(), this.keys()];
    await assert.rejects(this.security.apply(configuration(), to), (error) => {
      assert.ok(error instanceof ConfigurationError, String(error));
      assert.match(error.message, expected);
      return true;
    });
    assert.deepEqual([this.told(), this.keys()], before, "what was in force is not any more");
  }

  keys(): string[] {
    return this.kernel
      .sasOf(STATIC_SESSION)
      .map((slot) => Buffer.from(readSa(this.sad, slot).encryptionKey).toString("hex"))
      .sort();
  }

  async close(): Promise<void> {
    await this.security.settle();
    await this.marks.close();
    this.sad.close();
    this.spd.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function withRig(use: (rig: Rig) => Promise<void>, slots?: number, policies?: number): () => Promise<void> {
  return async () => {
    const rig = new Rig(slots, policies);
    try {
      await use(rig);
    } finally {
      await rig.close();
    }
  };
}

const whole = [
  "fwd protect 10.2.0.0 10.1.0.0",
  "in 1001 192.0.2.2 192.0.2.1",
  "in protect 10.2.0.0 10.1.0.0",
  "out 2001 192.0.2.1 192.0.2.2",
  "out protect 10.1.0.0 10.2.0.0 2001",
];

test(
  "a route with its SAs, and its end",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    assert.deepEqual(rig.told(), whole);
    const empty = configuration({ route: [], "inbound-sa": [], "outbound-sa": [] });
    await rig.security.apply(full, empty);
    assert.deepEqual(rig.told(), []);
    await rig.security.apply(empty, full);
    assert.deepEqual(rig.told(), whole);
  }),
);

test(
  "what does not differ is not touched",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    const before = rig.touched();
    await rig.security.apply(full, structuredClone(full));
    assert.equal(rig.touched(), before);
    const other = { ...route, id: "bar", net: ["10.3.0.0/16"] };
    await rig.security.apply(full, configuration({ route: [other, route] }));
    assert.ok(rig.touched().startsWith(before.slice(0, before.indexOf(" "))), "its SAs were touched");
    assert.deepEqual(
      rig.told().filter((line) => line.includes("10.3.0.0")),
      ["fwd protect 10.3.0.0 10.1.0.0", "in protect 10.3.0.0 10.1.0.0", "out protect 10.1.0.0 10.3.0.0"],
    );
  }),
);

test(
  "a route without an outbound SA has an entry that asks nobody: its packets are dropped at once",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration({ "outbound-sa": [] }));
    const out = rig.kernel.policiesOf(STATIC_SESSION).filter(({ id }) => id.direction === 1);
    assert.deepEqual(
      out.map(({ type, reqid, espSpi }) => ({ type, reqid, espSpi })),
      [{ type: 1, reqid: 0, espSpi: 0 }],
    );
    await rig.security.apply(configuration({ "outbound-sa": [] }), configuration());
    assert.deepEqual(rig.told(), whole);
  }),
);

test(
  "both families: pairs of one family, and everything of a family where local-net is left out",
  withRig(async (rig) => {
    const both = { ...route, net: ["10.2.0.0/16", "2001:db8:2::/48"], "local-net": [] };
    await rig.security.apply(undefined, configuration({ route: [both] }));
    assert.deepEqual(
      rig.told().filter((line) => line.includes("protect")),
      [
        "fwd protect 10.2.0.0 0.0.0.0",
        "fwd protect 2001:db8:2:: ::",
        "in protect 10.2.0.0 0.0.0.0",
        "in protect 2001:db8:2:: ::",
        "out protect 0.0.0.0 10.2.0.0 2001",
        "out protect :: 2001:db8:2:: 2001",
      ],
    );
    const gateway6 = { ...both, gateway: { ip: "2001:db8::2" } };
    await rig.security.apply(undefined, configuration({ route: [gateway6] }));
    assert.ok(rig.told().includes("out 2001 2001:db8::1 2001:db8::2"));
  }),
);

test(
  "interface id and mark are those of SAs and policies",
  withRig(async (rig) => {
    const bound = { ...route, "if-id": 42, mark: 7 };
    await rig.security.apply(undefined, configuration({ route: [bound] }));
    const requests = rig.kernel.sasOf(STATIC_SESSION).map((slot) => readSa(rig.sad, slot));
    for (const { id } of [...requests, ...rig.kernel.policiesOf(STATIC_SESSION)]) {
      assert.equal(id.interfaceId, 42);
      assert.deepEqual(id.mark, { value: 7, mask: 0xffffffff });
    }
    // Without them again: the inbound SA must not inherit the mark of the one that it replaces.
    await rig.security.apply(undefined, configuration());
    for (const slot of rig.kernel.sasOf(STATIC_SESSION))
      assert.deepEqual(readSa(rig.sad, slot).id.mark, { value: 0, mask: 0 });
  }),
);

test(
  "another key for an SPI: there is an SA at every moment, and the old key is gone",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const [outSlot, inSlot] = [rig.slot(2001), rig.slot(1001, true)];
    const { at } = saSlot;
    // A worker is in the middle of a breath, and holds what it has found.
    rig.sad.enterBreath(0);
    const found: number[] = [];
    const indexed: number[] = [];
    rig.spd.onChange = () => {
      const entry = Array.from({ length: rig.spd.used }, (_, i) => i).find(
        (i) => rig.spd.present(i) && rig.spd.read(i).id.direction === 1,
      );
      found.push(rig.spd.sa(entry!));
      indexed.push(rig.sad.lookup(1001));
    };
    const changed = configuration({
      "inbound-sa": [inbound(1001, { key: digits(0xee, 16) })],
      "outbound-sa": [sa(2001, { key: digits(0xdd, 16) })],
    });
    await rig.security.apply(configuration(), changed);
    assert.deepEqual(rig.told(), whole);
    assert.deepEqual(rig.keys(), [digits(0xdd, 16) + digits(1, 4), digits(0xee, 16) + digits(1, 4)]);
    assert.ok(found.length > 0 && found.every((slot) => slot >= 0), "an entry had no SA behind it");
    assert.ok(indexed.every((slot) => slot >= 0));
    assert.notEqual(rig.slot(2001), outSlot);
    assert.notEqual(rig.sad.lookup(1001), inSlot);
    assert.equal(rig.sad.state(outSlot), SaState.dying, "the worker may still be using it");
    const key = (slot: number) => rig.sad.region.bytes[rig.sad.offset(slot) + at.key];
    assert.equal(key(outSlot), 2001 & 0xff);
    rig.sad.enterBreath(0);
    rig.sad.reclaim();
    assert.equal(key(outSlot), 0);
    assert.equal(key(inSlot), 0);
  }),
);

test(
  "a change that is refused in its middle leaves everything as it was",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    // charon has an inbound SA with this SPI.
    const foreign = saRequest({ spi: 1005, inbound: true, src: "192.0.2.2", dst: "192.0.2.1" });
    assert.equal(rig.kernel.addSa(foreign, CHARON).status, 0);
    await rig.refuses(
      configuration({
        "inbound-sa": [inbound(1002), inbound(1003, { key: digits(0x77, 16) }), inbound(1005)],
        "outbound-sa": [sa(2001, { key: digits(0x78, 16) })],
      }),
      /^\/inbound-sa\[spi="1005"\]: inbound SPI 000003ed is in use$/,
    );
    // Nor does it matter whose SPI is free again later.
    rig.kernel.flushSas(CHARON);
    await rig.security.apply(
      configuration(),
      configuration({ "inbound-sa": [inbound(1001), inbound(1005)] }),
    );
    assert.equal(rig.told().length, whole.length + 1);
  }),
);

test(
  "the SPD is full after the SAs were changed: their old keys come back, with unused numbers",
  withRig(
    async (rig) => {
      await rig.security.apply(undefined, configuration());
      const used = rig.use(rig.slot(2001), 5 * 2 ** 20);
      const more = { ...route, id: "bar", net: ["10.3.0.0/16", "10.4.0.0/16"] };
      await rig.refuses(
        configuration({
          route: [route, more],
          "inbound-sa": [inbound(1001, { key: digits(0x77, 16) }), inbound(1002, { route: "bar" })],
          "outbound-sa": [sa(2001, { key: digits(0x78, 16) })],
        }),
        /\/route\[id="bar"\]: the SPD is full: 6 entries \(raise \/limits\/policies\)/,
      );
      assert.ok(rig.last(rig.slot(2001)) > used);
    },
    16,
    6,
  ),
);

test(
  "a route without a local address is refused where no public interface has one",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.addresses = [];
    await rig.refuses(
      configuration({ route: [{ ...route, mark: 1 }] }),
      /\/route\[id="foo"\]\/local-ip: is left out, and no public interface has an IPv4 address now/,
    );
  }),
);

test(
  "security policies: both directions and forward, before everything that protects, or by their priority",
  withRig(async (rig) => {
    const policy = {
      id: "p",
      "if-id": 0,
      mark: 0,
      "local-ts": ["10.1.0.0/16[udp/53]"],
      "remote-ts": ["10.2.0.0/16"],
    };
    const bypass = configuration({ "security-policy": [{ ...policy, action: "bypass" }] });
    await rig.security.apply(undefined, bypass);
    assert.deepEqual(
      rig.told().filter((line) => line.includes("pass")),
      ["fwd pass 10.2.0.0 10.1.0.0", "in pass 10.2.0.0 10.1.0.0", "out pass 10.1.0.0 10.2.0.0"],
    );
    const first = () =>
      Array.from({ length: rig.spd.used }, (_, i) => i)
        .filter((i) => rig.spd.present(i) && rig.spd.read(i).id.direction === 1)
        .sort((a, b) => rig.spd.rank(a) - rig.spd.rank(b))
        .map((i) => ["", "protect", "pass", "drop"][rig.spd.read(i).type])
        .join();
    assert.equal(first(), "pass,protect");
    const wide = { ...policy, id: "q", "local-ts": ["0.0.0.0/0"], "remote-ts": ["0.0.0.0/0"] };
    const discard = { ...wide, action: "discard" as const };
    await rig.security.apply(
      bypass,
      configuration({ "security-policy": [{ ...policy, action: "bypass" }, discard] }),
    );
    assert.equal(first(), "pass,drop,protect");
    await rig.security.apply(
      undefined,
      configuration({ "security-policy": [{ ...discard, priority: 900_000 }] }),
    );
    assert.equal(first(), "protect,drop");
  }),
);

test(
  "charon's own, and its end, have nothing to do with it",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.kernel.sessionOpened(CHARON);
    assert.equal(rig.kernel.deleteSa(readSa(rig.sad, rig.slot(2001)).id, CHARON).status, 1);
    rig.kernel.flushSas(CHARON);
    rig.kernel.flushPolicies(CHARON);
    rig.kernel.sessionClosed(CHARON);
    rig.now += 10_000;
    rig.kernel.sweep();
    assert.deepEqual(rig.told(), whole);
  }),
);

// ---- supervisors that are killed -----------------------------------------------------------------------------------

test(
  "the next supervisor keeps what is equal, and changes what differs",
  withRig(async (rig) => {
    const cbc = inbound(1002, {
      aead: "aes-cbc-hmac-sha2-384-192",
      key: digits(3, 32),
      salt: undefined,
      "integrity-key": digits(4, 48),
      esn: false,
      "replay-window": 4096,
    });
    const policy = {
      id: "p",
      "if-id": 3,
      mark: 0,
      "local-ts": ["10.1.0.5-10.1.0.9[tcp/80]"],
      "remote-ts": ["0.0.0.0/0"],
    };
    const full = configuration({
      route: [{ ...route, "if-id": 3, mark: 9, net: ["10.2.0.0/16", "2001:db8:2::/48"], "local-net": [] }],
      "inbound-sa": [inbound(1001), cbc],
      "outbound-sa": [sa(2001, { aead: "chacha20-poly1305", key: digits(5, 32) })],
      "security-policy": [{ ...policy, action: "discard" }],
    });
    await rig.security.apply(undefined, full);
    const before = rig.touched();
    await rig.adopt();
    await rig.security.apply(undefined, full);
    assert.equal(rig.touched(), before, "something was touched that is as it should be");

    await rig.adopt();
    const slot = rig.slot(1001, true);
    await rig.security.apply(undefined, configuration());
    assert.deepEqual(rig.told(), whole);
    assert.notEqual(rig.slot(1001, true), slot, "it has another interface id");
  }),
);

test(
  "a supervisor that is killed while one SA takes the place of another: the next one finds one",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const slots = [rig.slot(2001), rig.slot(1001, true)];
    rig.sad.enterBreath(0);
    const changed = configuration({
      "inbound-sa": [inbound(1001, { key: digits(0xee, 16) })],
      "outbound-sa": [sa(2001, { key: digits(0xdd, 16) })],
    });
    await rig.security.apply(configuration(), changed);
    // As it was before the last step: both are there, and the index leads to the old one.
    for (const slot of slots) rig.sad.publish(slot, SaState.active);
    rig.sad.indexReplace(1001, slots[1]);
    await rig.adopt();
    await rig.security.apply(undefined, changed);
    assert.deepEqual(rig.told(), whole);
    assert.deepEqual(rig.keys(), [digits(0xdd, 16) + digits(1, 4), digits(0xee, 16) + digits(1, 4)]);
    rig.sad.enterBreath(0);
    rig.kernel.sweep();
    const states = Array.from({ length: rig.sad.used }, (_, i) => rig.sad.state(i));
    assert.deepEqual(
      states.filter((state) => state !== SaState.free),
      [SaState.active, SaState.active],
    );
    await rig.security.apply(changed, configuration({ route: [], "inbound-sa": [], "outbound-sa": [] }));
    assert.deepEqual(rig.told(), []);
  }),
);

// ---- sequence numbers ----------------------------------------------------------------------------------------------

/** Numbers that an SA has had, in lives that follow each other. */
class Lives {
  readonly #lives: [number, number][] = [];
  add(from: number, to: number): void {
    for (const [a, b] of this.#lives) assert.ok(to < a || from > b, `${from} to ${to} overlaps ${a} to ${b}`);
    this.#lives.push([from, to]);
  }
}

test(
  "no number is used twice with a key, whatever ends and begins",
  withRig(async (rig) => {
    const lives = new Lives();
    const full = configuration();
    const empty = configuration({ "outbound-sa": [] });
    const live = async (count: number) => {
      const slot = rig.slot(2001);
      const first = rig.last(slot) + 1;
      assert.equal(rig.use(slot, count), count);
      lives.add(first, rig.last(slot));
    };
    const M = 2 ** 20;
    await rig.security.apply(undefined, full);
    assert.equal(rig.last(rig.slot(2001)), 0, "a new key begins at 1");
    await live(3 * M);
    await rig.adopt();
    await rig.security.apply(undefined, full);
    await live(3 * M);
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    await live(5 * M);
    await rig.security.apply(full, empty);
    await rig.security.apply(empty, full);
    await live(2 * M);
    const rolled = configuration({ "outbound-sa": [sa(2002, { key: sa(2001).key })] });
    await rig.security.apply(full, rolled);
    const other = rig.slot(2002);
    const first = rig.last(other) + 1;
    rig.use(other, M);
    lives.add(first, rig.last(other));
    await rig.security.apply(rolled, full);
    await live(M);
    const end = rig.last(rig.slot(2001));
    await rig.reboot(true);
    await rig.security.apply(undefined, full);
    assert.equal(rig.last(rig.slot(2001)), end, "an orderly end costs no numbers");
    await live(M);
    await rig.reboot(false);
    await rig.security.apply(undefined, empty);
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    await live(M);
    assert.ok(rig.last(rig.slot(2001)) < 2 ** 28, "that cost more than it should");
  }),
);

test(
  "workers stop at the ceiling, and the supervisor raises it in time",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const slot = rig.slot(2001);
    const mark = () => rig.marks.get([...marksOf(rig)][0]);
    assert.ok(mark() >= 2 ** 24);
    for (let n = 0; n < 40; n++) {
      assert.equal(rig.use(slot, 6 * 2 ** 20), 6 * 2 ** 20, "the ceiling was not raised in time");
      await rig.security.check();
      assert.ok(mark() > rig.last(slot) + 2 ** 20);
      assert.ok(mark() - rig.last(slot) < 2 ** 27);
    }
    // Nobody is there to raise it.
    const used = rig.use(slot, Number.MAX_SAFE_INTEGER, 128);
    assert.ok(used > 0 && rig.last(slot) < mark(), "numbers were used that are not set aside");
    assert.equal(rig.use(slot, 1), 0);
    await rig.security.check();
    assert.equal(rig.use(slot, 2 ** 20), 2 ** 20);
  }),
);

function* marksOf(rig: Rig): Generator<string> {
  for (const slot of rig.kernel.sasOf(STATIC_SESSION))
    if (!rig.sad.isInbound(slot)) yield idOf(readSa(rig.sad, slot));
}

function idOf({ inbound: isInbound, encryptionKey }: AddSaRequest): string {
  return markId(isInbound ? "in" : "out", encryptionKey);
}

test(
  "other tables that were given up again: what they have used of a key is not used a second time",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    const lives = new Lives();
    const begun = rig.slot(2001);
    rig.use(begun, 2 ** 20);

    // A second SAD, with workers of its own, for a while.
    const sad = Sad.create(join(rig.directory, "other-sad"), 16, NodeEngine.id);
    const spd = Spd.create(join(rig.directory, "other-spd"), 16);
    const kernel = new PseudoKernel({ sad, spd, engine: new NodeEngine(sad), now: () => 0 });
    const { marks } = rig;
    const logger = { info() {}, warn: (text: string) => rig.warnings.push(text) };
    const other = new StaticSecurity({
      kernel,
      sad,
      marks,
      logger,
      now: () => 0,
      addresses: () => rig.addresses,
    });
    await other.apply(undefined, full);
    const slot = kernel.sasOf(STATIC_SESSION).find((each) => !sad.isInbound(each))!;
    const word = sad.offset(slot) >>> 2;
    const first = Number(lastSequence(sad.atomics, word)) + 1;
    reserveSequence(sad.atomics, word, 2 ** 20);
    lives.add(first, Number(lastSequence(sad.atomics, word)));

    // The first one goes on, up to what was set aside for it, and then behind the other.
    lives.add(1, rig.last(begun) + rig.use(begun, Number.MAX_SAFE_INTEGER));
    await rig.security.check();
    const next = rig.slot(2001);
    assert.notEqual(next, begun);
    const from = rig.last(next) + 1;
    rig.use(next, 2 ** 22);
    lives.add(from, rig.last(next));
    // What it leaves at its end must not give the other's numbers away, either way round.
    await rig.security.settle();
    await other.settle();
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    const after = rig.last(rig.slot(2001)) + 1;
    rig.use(rig.slot(2001), Number.MAX_SAFE_INTEGER);
    lives.add(after, rig.last(rig.slot(2001)));
    sad.close();
    spd.close();
  }),
);

test(
  "a disk that fails: no ceiling is raised, and it is told once",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const slot = rig.slot(2001);
    mkdirSync(join(rig.directory, "state", "sequence-marks.new"));
    rig.use(slot, 12 * 2 ** 20);
    const before = ceilingOf(rig.sad.words, rig.word(slot));
    for (let i = 0; i < 3; i++) await rig.security.check();
    assert.equal(ceilingOf(rig.sad.words, rig.word(slot)), before);
    assert.equal(rig.warnings.length, 1);
    assert.match(rig.warnings[0], /cannot be noted.*EISDIR/);
    await rig.refuses(
      configuration({ "outbound-sa": [sa(2001), sa(2002, { route: "foo" })] }),
      /\/outbound-sa\[spi="2002"\]: EISDIR/,
    );
    rmSync(join(rig.directory, "state", "sequence-marks.new"), { recursive: true });
    await rig.security.check();
    assert.ok(ceilingOf(rig.sad.words, rig.word(slot)) > before);
  }),
);

test(
  "damaged marks: no SA is started, whatever the direction",
  withRig(async (rig) => {
    mkdirSync(join(rig.directory, "state"));
    writeFileSync(join(rig.directory, "state", "sequence-marks"), "nonsense");
    await rig.refuses(
      configuration(),
      /\/inbound-sa\[spi="1001"\]: .*is damaged.*give every outbound SA a new key/,
    );
    await rig.refuses(configuration({ "inbound-sa": [] }), /\/outbound-sa\[spi="2001"\]: .*is damaged/);
    await rig.security.apply(undefined, configuration({ "inbound-sa": [], "outbound-sa": [] }));
    assert.equal(rig.told().length, 3, "the route without SAs drops");
    rmSync(join(rig.directory, "state", "sequence-marks"));
  }),
);

test(
  "marks that are lost, or an old copy, while the SAD is kept: the SAD is right",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.use(rig.slot(2001), 9 * 2 ** 20);
    await rig.security.check();
    rig.use(rig.slot(2001), 40 * 2 ** 20);
    const last = rig.last(rig.slot(2001));
    await rig.marks.close();
    rmSync(join(rig.directory, "state", "sequence-marks"));
    await rig.adopt();
    await rig.security.apply(undefined, configuration());
    await rig.reboot(false);
    await rig.security.apply(undefined, configuration());
    assert.ok(rig.last(rig.slot(2001)) >= last);
  }),
);

test(
  "without extended sequence numbers a key ends at 2^32",
  withRig(async (rig) => {
    const short = configuration({ "outbound-sa": [sa(2001, { esn: false })] });
    await rig.security.apply(undefined, short);
    const slot = rig.slot(2001);
    for (let n = 0; n < 4096 + 64; n += 8) {
      assert.equal(rig.use(slot, 8 * 2 ** 20), 8 * 2 ** 20);
      if (n % 16 === 0) await rig.security.check();
    }
    assert.ok(rig.last(slot) > 2 ** 32, "the data path drops them, by their high half");
    const [id] = marksOf(rig);
    assert.equal(rig.marks.get(id), 2 ** 32);
    const none = configuration({ "outbound-sa": [] });
    await rig.security.apply(short, none);
    await rig.refuses(short, /^\/outbound-sa\[spi="2001"\]\/key: has used all of its 2\^32 sequence numbers/);
    await rig.reboot(false);
    await rig.security.apply(undefined, short);
    assert.match(rig.warnings.at(-1) ?? "", /has used all/);
    assert.ok(rig.last(rig.slot(2001)) >= 2 ** 32, "a node that starts has the SA, which carries nothing");
  }),
);

test(
  "inbound windows go on where they were: what was seen is not accepted again, what follows is",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    const accept = (high: number, low: number) =>
      acceptReplay(rig.sad.words, rig.word(rig.slot(1001, true)), high, low) === 0;
    const top = () => topSequence(rig.sad.words, rig.word(rig.slot(1001, true)));
    assert.ok(accept(5, 70) && accept(5, 100));
    await rig.reboot(true);
    await rig.security.apply(undefined, full);
    assert.equal(top(), 5 * 2 ** 32 + 100);
    for (const low of [1, 37, 60, 70, 99, 100]) assert.ok(!accept(5, low), `${low} again`);
    for (const low of [101, 127, 128, 140, 130, 5000, 4990]) assert.ok(accept(5, low), `${low}`);
    assert.ok(!accept(5, 5000));

    // A minute later it is on disk, whatever ends then.
    await rig.security.check();
    rig.now += 60;
    await rig.security.check();
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    assert.equal(top(), 5 * 2 ** 32 + 5000);

    // Removed and added again, and changed in something else.
    assert.ok(accept(5, 6000));
    await rig.security.apply(full, configuration({ "inbound-sa": [] }));
    await rig.security.apply(configuration({ "inbound-sa": [] }), full);
    assert.ok(!accept(5, 6000));
    await rig.security.apply(
      full,
      configuration({ "inbound-sa": [inbound(1001, { "replay-window": 2000 })] }),
    );
    assert.ok(!accept(5, 6000) && !accept(5, 5999) && accept(5, 6001));

    // Removed, with all that was in memory lost a moment later.
    await rig.security.apply(full, configuration({ "inbound-sa": [] }));
    await rig.security.check();
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    assert.ok(!accept(5, 6001));
  }),
);

test(
  "thousands of routes: one more is a matter of milliseconds",
  withRig(
    async (rig) => {
      const many = Array.from({ length: 2000 }, (_, i) => i);
      const key = (i: number) => i.toString(16).padStart(32, "0");
      const full = configuration({
        route: many.map((i) => ({ ...route, id: `r${i}`, net: [`10.${i >> 8}.${i & 255}.0/24`] })),
        "inbound-sa": many.map((i) => inbound(10_000 + i, { route: `r${i}`, key: key(i) })),
        "outbound-sa": many.map((i) => sa(20_000 + i, { route: `r${i}`, key: key(2 ** 20 + i) })),
      });
      await rig.security.apply(undefined, full);
      assert.equal(rig.kernel.sasOf(STATIC_SESSION).length, 4000);
      const reqids = new Set(rig.kernel.policiesOf(STATIC_SESSION).map(({ reqid }) => reqid));
      assert.equal(reqids.size, 2000);
      for (const reqid of reqids) assert.ok(reqid >= 2 ** 31);
      const before = performance.now();
      await rig.security.apply(full, {
        ...full,
        route: [...full.route, { ...route, net: ["10.99.0.0/24"] }],
      });
      const milliseconds = performance.now() - before;
      assert.ok(milliseconds < 1000, `${milliseconds} ms`);
    },
    4096,
    8192,
  ),
);

test(
  "a key that the node has used under another name is refused, and so is another node's",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.use(rig.slot(2001), 2 ** 20);
    rig.state = "renamed";
    await rig.reboot(true);
    const where = join(rig.directory, "state", "sequence-marks");
    await rig.refuses(
      configuration({ "outbound-sa": [sa(2002), sa(2001)] }),
      new RegExp(
        `^/outbound-sa\\[spi="2001"\\]/key: was used by another node of this machine \\(see ${where}\\)`,
      ),
    );
    // The other end of its own SA may well be on this machine.
    await rig.security.apply(undefined, configuration({ "outbound-sa": [], "inbound-sa": [inbound(2001)] }));
    // With its folder the node finds what it knew.
    await rig.marks.close();
    rig.state = "state";
    await rig.reboot(true);
    await rig.security.apply(undefined, configuration());
    assert.ok(rig.last(rig.slot(2001)) >= 2 ** 20);
  }),
);
