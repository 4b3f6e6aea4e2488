// Hard limits in the data path: two gateways in this process, one that encapsulates and one that decapsulates, and no
// supervisor that could stop an SA. It stops by itself, with the very packet that reaches its limit.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SaFlag, trafficOf } from "../src/ipsec/sad-layout.js";
import type { SaOptions } from "../src/ipsec/testing/requests.js";
import { parseAddress } from "../src/net/address.js";
import { fold, sum16 } from "../src/net/checksum.js";
import { FAR, NEAR, TestGateway } from "./esp/gateway.js";

const SPI = 0xc1000001;
const LENGTH = 100;

/** A datagram of LENGTH bytes from 10.1.0.2 to 10.2.0.2. The gateways do not look at its checksums. */
const datagram = (() => {
  const packet = new Uint8Array(LENGTH);
  packet.set([0x45, 0, 0, LENGTH, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 2, 10, 2, 0, 2]);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += (packet[i] << 8) | packet[i + 1];
  sum = ~((sum & 0xffff) + (sum >>> 16));
  packet.set([(sum >>> 8) & 0xff, sum & 0xff], 10);
  return packet;
})();

const flood = (count: number) => Array.from({ length: count }, () => datagram);

/** Limits of bytes, packets and seconds. */
function lifetime(limits: { bytes?: number; packets?: number; time?: number }): Partial<SaOptions> {
  const hard = (life = 0) => ({ rekey: 0n, life: BigInt(life) });
  return {
    lifetime: { time: hard(limits.time), bytes: hard(limits.bytes), packets: hard(limits.packets) },
  };
}

/** To the far gateway's own address; its classifier looks at nothing else of the outer header. */
function turned(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  copy.set(packet.subarray(16, 20), 12);
  copy.set(packet.subarray(12, 16), 16);
  return copy;
}

interface Rig {
  near: TestGateway;
  far: TestGateway;
  /** Sends datagrams through both; how many left the near one, and how many the far one handed on. */
  send(count: number): { sent: number; received: number; drops: Record<string, number> };
}

function withTunnel(
  outbound: Partial<SaOptions>,
  inbound: Partial<SaOptions>,
  use: (rig: Rig) => void,
): void {
  const near = new TestGateway("ipsec-mb");
  const far = new TestGateway("ipsec-mb");
  try {
    near.sa({ spi: SPI, ...outbound });
    near.policy({ espSpi: SPI });
    // The far end has addresses like the near one: only the direction tells them apart.
    far.sa({
      spi: SPI,
      inbound: true,
      replayWindow: 1024,
      src: FAR,
      dst: NEAR,
      from: ["10.1.0.0/16"],
      to: ["10.2.0.0/16"],
      ...inbound,
    });
    far.route("private", "10.2.0.0/16", "10.1.0.254");
    use({
      near,
      far,
      send(count) {
        const first = near.send("private", flood(count));
        const encrypted = first.public.map(turned);
        const second = far.send("public", encrypted);
        return {
          sent: encrypted.length,
          received: second.private.length,
          drops: { ...first.drops, ...second.drops },
        };
      },
    });
  } finally {
    near.close();
    far.close();
  }
}

test("outbound, packets: what the limit allows leaves, be it in the middle of a batch", () =>
  withTunnel(lifetime({ packets: 300 }), {}, ({ near, send }) => {
    assert.deepEqual(send(250), { sent: 250, received: 250, drops: {} });
    assert.deepEqual(send(60), { sent: 50, received: 50, drops: { "encapsulate.drop.sa_expired": 10 } });
    assert.notEqual(near.sad.flags(0) & SaFlag.expired, 0, "the supervisor will find it expired");
    assert.equal(send(1).sent, 0);
    assert.equal(near.kernel.usage(0).packets, 300n);
  }));

test("outbound, bytes: the packet that reaches the limit is the last one", () =>
  withTunnel(lifetime({ bytes: 30 * LENGTH - 1 }), {}, ({ near, send }) => {
    assert.equal(send(29).sent, 29);
    assert.equal(near.sad.flags(0) & SaFlag.expired, 0);
    assert.deepEqual(send(5), { sent: 1, received: 1, drops: { "encapsulate.drop.sa_expired": 4 } });
  }));

test("inbound, packets: a batch across the limit is cut there, and the window stays right", () =>
  withTunnel({}, lifetime({ packets: 100 }), ({ far, send }) => {
    assert.equal(send(90).received, 90);
    assert.deepEqual(send(30), { sent: 30, received: 10, drops: { "decapsulate.drop.sa_expired": 20 } });
    assert.deepEqual(send(3), { sent: 3, received: 0, drops: { "decapsulate.drop.sa_expired": 3 } });
    assert.equal(far.kernel.usage(0).packets, 100n);
    assert.equal(far.kernel.usage(0).bytes, BigInt(100 * LENGTH));
  }));

test("inbound, packets, in transport mode: the same", () => {
  const near = new TestGateway("ipsec-mb", { tun: true });
  const far = new TestGateway("ipsec-mb", { tun: true });
  try {
    const [us, peer] = [`${NEAR}/32`, `${FAR}/32`];
    near.sa({ mode: 1, spi: SPI, from: [us], to: [peer] });
    near.policy({ mode: 1, espSpi: SPI, from: us, to: peer, src: NEAR, dst: FAR });
    const inbound = { mode: 1, spi: SPI, inbound: true, src: FAR, dst: NEAR, from: [peer], to: [us] };
    far.sa({ ...inbound, ...lifetime({ packets: 100 }) });
    const packet = datagram.slice();
    packet.set(parseAddress(NEAR) as Uint8Array, 12);
    packet.set(parseAddress(FAR) as Uint8Array, 16);
    packet.set([0, 0], 10);
    const view = new DataView(packet.buffer);
    view.setUint16(10, fold(sum16(view, 0, 20, 0)));
    const encrypted = near.send(
      "private",
      Array.from({ length: 110 }, () => packet),
    ).public;
    assert.equal(encrypted.length, 110);
    const { private: handed, drops } = far.send("public", encrypted.map(turned));
    assert.equal(handed.length, 100);
    assert.deepEqual(drops, { "decapsulate.drop.sa_expired": 10 });
  } finally {
    near.close();
    far.close();
  }
});

test("inbound, bytes", () =>
  withTunnel({}, lifetime({ bytes: 10 * LENGTH }), ({ send }) => {
    assert.deepEqual(send(12), { sent: 12, received: 10, drops: { "decapsulate.drop.sa_expired": 2 } });
  }));

test("time: too old an SA carries nothing, though no supervisor says so", () =>
  withTunnel(lifetime({ time: 60 }), {}, ({ near, send }) => {
    near.clock.seconds += 59;
    assert.equal(send(2).sent, 2);
    near.clock.seconds += 1;
    assert.deepEqual(send(2), { sent: 0, received: 0, drops: { "encapsulate.drop.sa_expired": 2 } });
  }));

test("what other workers have carried counts", () =>
  withTunnel(lifetime({ packets: 100 }), {}, ({ near, send }) => {
    const lane = (near.sad.offset(0) + trafficOf(3)) >>> 3;
    new Float64Array(near.sad.words.buffer as ArrayBuffer)[lane] = 95;
    assert.equal(send(20).sent, 5);
  }));

test("soft limits alone stop nothing, and cost nothing", () => {
  const soft = { rekey: 1n, life: 0n };
  const limits = { lifetime: { time: soft, bytes: soft, packets: soft } };
  withTunnel(limits, limits, ({ near, send }) => {
    near.clock.seconds += 5;
    assert.deepEqual(send(300), { sent: 300, received: 300, drops: {} });
    assert.equal(near.sad.flags(0) & (SaFlag.timeLimit | SaFlag.volumeLimit), 0);
  });
});

test("inbound, packets: an SA at its limit carries no more, though another one with a limit comes in between", () =>
  withTunnel({}, lifetime({ packets: 2 }), ({ near, far }) => {
    near.sa({ spi: SPI + 1 });
    const everywhere = { from: ["10.1.0.0/16"], to: ["10.2.0.0/16"] };
    far.sa({
      spi: SPI + 1,
      inbound: true,
      src: FAR,
      dst: NEAR,
      ...everywhere,
      ...lifetime({ packets: 100 }),
    });
    const [a, b, c, d, e] = near.send("private", flood(5)).public.map(turned);
    near.policy({ espSpi: SPI + 1, priorityClass: 0 });
    const [other] = near.send("private", flood(1)).public.map(turned);
    const { private: received, drops } = far.send("public", [a, b, c, other, d, e]);
    assert.equal(received.length, 3);
    assert.deepEqual(drops, { "decapsulate.drop.sa_expired": 3 });
  }));
