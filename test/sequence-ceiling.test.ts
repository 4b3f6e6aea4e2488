// Static SAs in the data path: no number beyond what was set aside, and no packet larger than the configuration wants. A
// gateway in this process, and no supervisor.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CEILING_SLACK,
  CEILING_STEP,
  lastSequence,
  reserveSequence,
  setCeiling,
} from "../src/ipsec/sequence.js";
import type { SaOptions } from "../src/ipsec/testing/requests.js";
import { fold, sum16 } from "../src/net/checksum.js";
import { type GatewayOptions, TestGateway } from "./esp/gateway.js";

const SPI = 0xc1000001;

/** A packet from 10.1.0.2 to 10.2.0.2, or from 2001:db8:1::2 to 2001:db8:2::2, of so many bytes. */
function packet(length: number, isIpv4 = true, mayBeCut = false): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  if (!isIpv4) {
    bytes.set([0x60, 0, 0, 0, (length - 40) >> 8, (length - 40) & 255, 17, 64]);
    bytes.set([0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 8);
    bytes.set([0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 24);
    return bytes;
  }
  bytes.set([0x45, 0, length >> 8, length & 255, 0, 0, mayBeCut ? 0 : 0x40, 0, 64, 17]);
  bytes.set([10, 1, 0, 2, 10, 2, 0, 2], 12);
  view.setUint16(10, fold(sum16(view, 0, 20, 0)));
  return bytes;
}

const flood = (count: number) => Array.from({ length: count }, () => packet(60));

function withGateway(
  sa: Partial<SaOptions>,
  use: (gateway: TestGateway) => void,
  options: GatewayOptions = {},
): void {
  const gateway = new TestGateway("ipsec-mb", options);
  try {
    const [from, to] = [
      ["10.1.0.0/16", "2001:db8:1::/48"],
      ["10.2.0.0/16", "2001:db8:2::/48"],
    ];
    gateway.sa({ spi: SPI, from, to, ...sa });
    from.forEach((net, i) => {
      gateway.policy({ espSpi: SPI, from: net, to: to[i] });
    });
    use(gateway);
  } finally {
    gateway.close();
  }
}

/** The number of an ESP packet, of which the IV is the sequence number. */
const numberOf = (sent: Uint8Array) => Number(new DataView(sent.buffer, sent.byteOffset).getBigUint64(28));

test("numbers begin behind the last one, and end at the ceiling until it is raised", () => {
  const ceiling = 0x2_0000_0000 / CEILING_STEP + 7;
  const last = ceiling * CEILING_STEP - 300;
  withGateway({ sequence: { last, ceiling } }, (gateway) => {
    const slot = gateway.sad.offset(0) >>> 2;
    const at = () => Number(lastSequence(gateway.sad.atomics, slot));
    const sent = gateway.send("private", flood(250));
    assert.deepEqual(sent.drops, {});
    assert.deepEqual(
      sent.public.map(numberOf),
      Array.from({ length: 250 }, (_, i) => last + 1 + i),
    );
    // The run with which it is reached is the last one.
    const reached: number[] = [];
    const drops: Record<string, number>[] = [];
    for (let i = 0; i < 5; i++) {
      const result = gateway.send("private", flood(100));
      reached.push(...result.public.map(numberOf));
      drops.push(result.drops);
    }
    assert.ok(reached.length >= 50 && reached.length < 50 + 128, `${reached.length} packets`);
    assert.equal(at(), last + 250 + reached.length, "packets that are dropped use numbers");
    assert.ok(at() < ceiling * CEILING_STEP + CEILING_SLACK);
    assert.deepEqual(drops.at(-1), { "encapsulate.drop.sequence_ceiling": 100 });

    setCeiling(gateway.sad.atomics, slot, ceiling + 1);
    const next = gateway.send("private", flood(3));
    assert.deepEqual(next.drops, {});
    assert.deepEqual(
      next.public.map(numberOf),
      [1, 2, 3].map((i) => last + 250 + reached.length + i),
    );
  });
});

test("without extended numbers there is nothing behind 2^32", () =>
  withGateway(
    { extendedSequenceNumbers: false, sequence: { last: 2 ** 32 - 11, ceiling: 0xffff_ffff } },
    (gateway) => {
      const first = gateway.send("private", flood(20));
      assert.deepEqual(
        first.public.map(numberOf),
        Array.from({ length: 10 }, (_, i) => 2 ** 32 - 10 + i),
      );
      assert.deepEqual(first.drops, { "encapsulate.drop.sequence_exhausted": 10 });
      assert.deepEqual(gateway.send("private", flood(200)).drops, {
        "encapsulate.drop.sequence_exhausted": 200,
      });
    },
  ));

test("an SA of a key manager has no ceiling", () =>
  withGateway({}, (gateway) => {
    reserveSequence(gateway.sad.atomics, gateway.sad.offset(0) >>> 2, 2 ** 24);
    assert.equal(gateway.send("private", flood(200)).public.length, 200);
  }));

test("the largest packet that is put into a tunnel: others are cut, or their senders told", () =>
  withGateway(
    {},
    (gateway) => {
      assert.deepEqual(gateway.send("private", [packet(1200)]).drops, {});
      const refused = gateway.send("private", [packet(1201)]);
      assert.deepEqual(refused.drops, { "protect.drop.too_big": 1 });
      const [error] = refused.private;
      assert.equal(new DataView(error.buffer, error.byteOffset).getUint16(20 + 6), 1200, "MTU told");
      const cut = gateway.send("private", [packet(1400, true, true)]);
      assert.deepEqual(cut.drops, {});
      assert.equal(cut.public.length, 2);
      // IPv6 has no links of less than 1,280 bytes.
      assert.equal(gateway.send("private", [packet(1280, false)]).public.length, 1);
      const refused6 = gateway.send("private", [packet(1281, false)]);
      assert.deepEqual(refused6.drops, { "protect.drop.too_big": 1 });
      const [error6] = refused6.private;
      assert.equal(new DataView(error6.buffer, error6.byteOffset).getUint32(40 + 4), 1280);
    },
    { largest: 1200 },
  ));

test("a largest packet that the way does not carry changes nothing", () => {
  const limits = [undefined, 8937].map((largest) => {
    let length = 1500;
    withGateway(
      {},
      (gateway) => {
        while (gateway.send("private", [packet(length)]).public.length === 0) length--;
      },
      largest === undefined ? {} : { largest },
    );
    return length;
  });
  assert.equal(limits[0], limits[1]);
});
