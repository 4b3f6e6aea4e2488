// A pseudo-kernel on real shared memory, and what charon says to it about one pair of gateways: `us`, `peer`, and where the
// peer is when it has moved.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { NodeEngine } from "../aead-node.js";
import { type AddSaRequest, type PolicyRequest, type Selector, Status } from "../kernel.js";
import { Lingering } from "../lingering.js";
import { PseudoKernel } from "../pseudo-kernel.js";
import { Sad } from "../sad.js";
import { Spd } from "../spd.js";
import { host, policyRequest, saRequest, selector } from "./requests.js";

export const session = 7n;
export const us = host("192.0.2.1", 4500);
export const peer = host("192.0.2.2", 4500);
export const moved = host("198.51.100.9", 4500);
export const key = Uint8Array.from({ length: 20 }, (_, i) => 0xa0 + i);

const subnet = (second: number) => `10.${second}.0.0/24`;

export function net(second: number): Selector {
  return selector(subnet(second));
}

/** An SA between the two, for the subnets 1 and 2. */
export function addSa(spi: number, inbound: boolean, change: Partial<AddSaRequest> = {}): AddSaRequest {
  const [src, dst] = inbound ? ["192.0.2.2", "192.0.2.1"] : ["192.0.2.1", "192.0.2.2"];
  const [from, to] = inbound ? [subnet(2), subnet(1)] : [subnet(1), subnet(2)];
  return {
    ...saRequest({ spi, inbound, update: inbound, src, dst, ports: [4500, 4500], from: [from], to: [to] }),
    encryptionKey: key,
    ...change,
  };
}

/** Their policy in one direction. */
export function policy(
  direction: number,
  espSpi: number,
  change: Partial<PolicyRequest> = {},
): PolicyRequest {
  const out = direction === 1;
  const [from, to] = out ? [subnet(1), subnet(2)] : [subnet(2), subnet(1)];
  return {
    ...policyRequest({ direction, from, to, espSpi }),
    src: out ? us : peer,
    dst: out ? peer : us,
    ...change,
  };
}

export class Rig {
  constructor(private readonly slots: number) {}

  readonly directory = mkdtempSync("/dev/shm/vita-kernel-");
  readonly sad = Sad.create(join(this.directory, "sad"), this.slots, NodeEngine.id);
  readonly spd = Spd.create(join(this.directory, "spd"), 16);
  now = 1000;
  kernel = this.restart();

  /** The next supervisor, on the same memory. @param linger whether deleted inbound SAs stay for a moment */
  restart(linger = false): PseudoKernel {
    const engine = new NodeEngine(this.sad);
    this.kernel = new PseudoKernel({
      sad: this.sad,
      spd: this.spd,
      engine,
      now: () => this.now,
      interfaces: ["wan0"],
      ...(linger && { lingering: new Lingering(this.sad) }),
    });
    return this.kernel;
  }

  /** get_spi and both SAs of a CHILD_SA; returns our SPI. */
  establish(peerSpi: number): number {
    const { spi } = this.kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session);
    assert.ok(spi);
    this.ok(this.kernel.addSa(addSa(spi, true), session));
    this.ok(this.kernel.addSa(addSa(peerSpi, false), session));
    for (const direction of [0, 2, 1])
      this.ok(this.kernel.addPolicy(policy(direction, direction === 1 ? peerSpi : spi), session));
    return spi;
  }

  ok(answer: { status: number; reason?: string }): void {
    assert.equal(answer.status, Status.success, answer.reason);
  }

  /** SPI of the SA behind the first `out` entry of all. */
  protectedBy(): number | undefined {
    const entries = Array.from({ length: this.spd.used }, (_, i) => i)
      .filter((i) => this.spd.present(i) && this.spd.read(i).id.direction === 1)
      .sort((a, b) => this.spd.rank(a) - this.spd.rank(b) || this.spd.order(b) - this.spd.order(a));
    if (entries.length === 0 || this.spd.read(entries[0]).type !== 1) return undefined;
    const sa = this.spd.sa(entries[0]);
    return sa < 0 ? undefined : this.sad.spi(sa);
  }

  count(state: number): number {
    return Array.from({ length: this.sad.slotCount }, (_, i) => this.sad.state(i)).filter((s) => s === state)
      .length;
  }
}

/** A test with a rig of its own. @param slots of its SAD */
export function withRig(use: (rig: Rig) => void, slots = 16): () => void {
  return () => {
    const rig = new Rig(slots);
    try {
      use(rig);
    } finally {
      rig.sad.close();
      rig.spd.close();
      rmSync(rig.directory, { recursive: true, force: true });
    }
  };
}

export const outId = (spi: number) => addSa(spi, false).id;
export const inId = (spi: number) => addSa(spi, true).id;
