// Static SAs and policies on a SAD and an SPD of their own, with supervisors that end and begin.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Configuration, InboundSa, StaticRoute, StaticSa } from "../../config/configuration.js";
import { ConfigurationError } from "../../config/problem.js";
import { NodeEngine } from "../../ipsec/aead-node.js";
import { Lingering } from "../../ipsec/lingering.js";
import { PseudoKernel } from "../../ipsec/pseudo-kernel.js";
import { readSa } from "../../ipsec/read-sa.js";
import { Sad } from "../../ipsec/sad.js";
import { saSlot } from "../../ipsec/sad-layout.js";
import { atCeiling, lastSequence, reserveSequence } from "../../ipsec/sequence.js";
import { Spd } from "../../ipsec/spd.js";
import { formatAddress, type IpAddress, parseAddress } from "../../net/address.js";
import { SequenceMarks } from "../sequence-marks.js";
import { STATIC_SESSION, StaticSecurity } from "../static-security.js";

export const digits = (seed: number, bytes: number) => seed.toString(16).padStart(2, "0").repeat(bytes);

export const route: StaticRoute = {
  id: "foo",
  net: ["10.2.0.0/16"],
  "local-net": ["10.1.0.0/16"],
  gateway: { ip: "192.0.2.2" },
  "if-id": 0,
  mark: 0,
};

/** Leaves that are other ones, or none. */
export type Change<Sa> = { [Leaf in keyof Sa]?: Sa[Leaf] | undefined };

export function sa(spi: number, change: Change<StaticSa> = {}): StaticSa {
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

export function inbound(spi: number, change: Change<InboundSa> = {}): InboundSa {
  return { ...sa(spi), "replay-window": 64, ...change } as InboundSa;
}

export function configuration(change: Partial<Configuration> = {}): Configuration {
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

export class Rig {
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

export function withRig(
  use: (rig: Rig) => Promise<void>,
  slots?: number,
  policies?: number,
): () => Promise<void> {
  return async () => {
    const rig = new Rig(slots, policies);
    try {
      await use(rig);
    } finally {
      await rig.close();
    }
  };
}

export const whole = [
  "fwd protect 10.2.0.0 10.1.0.0",
  "in 1001 192.0.2.2 192.0.2.1",
  "in protect 10.2.0.0 10.1.0.0",
  "out 2001 192.0.2.1 192.0.2.2",
  "out protect 10.1.0.0 10.2.0.0 2001",
];
