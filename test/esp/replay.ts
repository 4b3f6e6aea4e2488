// The replay window as an outsider sees it, and sequence numbers beyond 2^32 both ways.

import assert from "node:assert/strict";
import { saTotals } from "../../src/ipsec/sa-usage.js";
import { saSlot } from "../../src/ipsec/sad-layout.js";
import { CEILING_STEP } from "../../src/ipsec/sequence.js";
import type { TestGateway } from "./gateway.js";
import type { Scapy, ScapySa } from "./scapy.js";
import { forwarded, IN, makeTunnel, OUT, type Suite, udp } from "./suite.js";

/** One small packet from the far side with each of the sequence numbers. */
async function numbered(
  scapy: Scapy,
  sa: ScapySa,
  numbers: readonly (bigint | number)[],
): Promise<Uint8Array[]> {
  const packet = await scapy.packet(udp(4, 8, "", true));
  return scapy.encrypt(sa, ...numbers.map((sequence) => ({ packet, sequence })));
}

/** What happened to each of the packets when they arrived one by one. */
function arrive(gateway: TestGateway, packets: readonly Uint8Array[]): string {
  return packets
    .map((packet) => {
      const { private: received, drops } = gateway.send("public", [packet]);
      if (received.length === 1) {
        assert.deepEqual(drops, {});
        return "+";
      }
      const [[name, count], ...more] = Object.entries(drops);
      assert.ok(count === 1 && more.length === 0);
      return { replayed: "R", too_old: "O", bad_icv: "X" }[name.replace("decapsulate.drop.", "")] ?? name;
    })
    .join("");
}

function forge(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  copy[copy.length - 1] ^= 1;
  return copy;
}

/** Lets the next packet of the outbound SA have the number `next`. */
function setSequence(gateway: TestGateway, next: bigint): void {
  const { sad } = gateway;
  const base = sad.offset(gateway.slotOf(OUT));
  const last = next - 1n;
  const high = Number(last >> 32n);
  const low = Number(last & 0xffffffffn);
  sad.words[(base + saSlot.at.sequenceLow) >>> 2] = low;
  sad.words[(base + saSlot.at.sequenceHighA) >>> 2] = low >= 0x80000000 ? high + 1 : high;
  sad.words[(base + saSlot.at.sequenceHighB) >>> 2] = high;
}

export function replay({ test, scapy }: Suite): void {
  for (const replayWindow of [32, 64, 1024, 4096])
    for (const esn of [true, false])
      test(`a window of ${replayWindow}, ${esn ? "" : "no "}ESN`, async (gateway) => {
        const { toVita } = makeTunnel(gateway, { replayWindow, esn });
        const top = 10_000;
        const first = top - replayWindow + 1;
        const numbers = [top, top, first, first, first - 1, 1, first + 1, top - 1, top + 1, first, first + 1];
        const outcome = arrive(gateway, await numbered(scapy, toVita, numbers));
        // The window has moved by one in the end: `first` is outside, `first + 1` was seen.
        // With ESN the receiver takes a number that is too old for one of the next round, and the ICV is wrong.
        assert.equal(outcome, esn ? "+R+RXX+++XR" : "+R+ROO+++OR");
      });

  test("reordering within the window is accepted, each packet once", async (gateway) => {
    const { toVita } = makeTunnel(gateway, { replayWindow: 64, esn: false });
    const numbers = Array.from({ length: 192 }, (_, i) => 1 + (i & ~31) + (((i & 31) * 11) & 31));
    const packets = await numbered(scapy, toVita, numbers);
    const all = gateway.send("public", packets);
    assert.equal(all.private.length, 192);
    const again = gateway.send("public", packets);
    assert.equal(again.private.length, 0);
    assert.equal(again.drops["decapsulate.drop.replayed"], 64);
    assert.equal(again.drops["decapsulate.drop.too_old"], 128);
  });

  test("the same packet twice in one batch", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const [one, two, three] = await numbered(scapy, toVita, [1, 2, 500]);
    const { private: received, drops } = gateway.send("public", [one, two, one, three, two]);
    assert.equal(received.length, 3);
    assert.deepEqual(drops, { "decapsulate.drop.replayed": 1, "decapsulate.drop.too_old": 1 });
  });

  test("a forged number far ahead does not move the window", async (gateway) => {
    for (const esn of [true, false]) {
      const tunnel = makeTunnel(gateway, { replayWindow: 64, esn });
      const packets = await numbered(scapy, tunnel.toVita, [100, 1_000_000, 99, 40, 1_000_000]);
      const order = [packets[0], forge(packets[1]), packets[2], packets[3], packets[4]];
      assert.equal(arrive(gateway, order), "+X+++");
      gateway.kernel.flushSas();
      gateway.kernel.flushPolicies();
      gateway.graph.index.refresh();
    }
  });

  test("a forged packet changes neither counters nor the time of last use", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const [packet] = await numbered(scapy, toVita, [7]);
    for (const at of [24, 28, 30, 36, 40, packet.length - 1]) {
      const copy = packet.slice();
      copy[at] ^= 0x80;
      const { drops } = gateway.send("public", [copy]);
      assert.deepEqual(drops, { "decapsulate.drop.bad_icv": 1 }, `byte ${at}`);
    }
    const slot = gateway.sad.lookup(IN);
    assert.deepEqual(saTotals(gateway.sad, slot), { packets: 0, bytes: 0 });
    assert.equal(gateway.kernel.usage(slot).idleSeconds, undefined);
    gateway.send("public", [packet]);
    gateway.clock.seconds += 5;
    assert.deepEqual(gateway.kernel.usage(slot), { packets: 1n, bytes: 36n, idleSeconds: 5 });
  });

  test("a window of 0 lets replays pass", async (gateway) => {
    const { toVita } = makeTunnel(gateway, { replayWindow: 0 });
    assert.equal(arrive(gateway, await numbered(scapy, toVita, [5, 5, 1, 9, 5])), "+++++");
  });

  test("inbound ESN across 2^32, and across the next one", async (gateway) => {
    const { toVita } = makeTunnel(gateway, { replayWindow: 64 });
    const edge = 1n << 32n;
    const numbers = [
      1n,
      edge - 300n,
      edge - 2n,
      edge + 3n,
      edge - 1n,
      edge,
      edge - 2n,
      edge - 60n,
      edge - 61n,
    ];
    assert.equal(arrive(gateway, await numbered(scapy, toVita, numbers)), "++++++R+X");
    // edge - 61 is one too old, so the receiver takes its low half for a number of the next round.
    const next = [2n * edge - 200n, 2n * edge + 70n, 2n * edge - 1n, 2n * edge + 7n, edge + 70n];
    assert.equal(arrive(gateway, await numbered(scapy, toVita, next)), "++X+R");
  });

  test("inbound without ESN ends at 2^32 - 1", async (gateway) => {
    const { toVita } = makeTunnel(gateway, { replayWindow: 64, esn: false });
    const last = 0xffffffff;
    assert.equal(arrive(gateway, await numbered(scapy, toVita, [1, last - 1, last, last, 1, 2])), "+++ROO");
  });

  test("outbound ESN across 2^31, 2^32 and 2^33", async (gateway) => {
    const { fromVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 10));
    for (const edge of [1n << 31n, 1n << 32n, 3n << 31n, 1n << 33n]) {
      setSequence(gateway, edge - 3n);
      const { public: sent, drops } = gateway.send("private", Array(6).fill(packet));
      assert.deepEqual(drops, {});
      const numbers = sent.map((_, i) => edge - 3n + BigInt(i));
      const decrypted = await scapy.decrypt(
        fromVita,
        sent,
        numbers.map((number) => Number(number >> 32n)),
      );
      decrypted.forEach(({ inner, seq, iv }, i) => {
        assert.equal(BigInt(seq), numbers[i] & 0xffffffffn);
        assert.equal(BigInt(`0x${iv}`), numbers[i]);
        assert.deepEqual(inner, forwarded(packet));
      });
    }
  });

  test("outbound without ESN stops after 2^32 - 1 (RFC 4303 §3.3.3)", async (gateway) => {
    const { fromVita } = makeTunnel(gateway, { esn: false });
    const packet = await scapy.packet(udp(4, 10));
    setSequence(gateway, (1n << 32n) - 2n);
    const { public: sent, drops } = gateway.send("private", Array(5).fill(packet));
    assert.deepEqual(drops, { "encapsulate.drop.sequence_exhausted": 3 });
    const decrypted = await scapy.decrypt(fromVita, sent);
    assert.deepEqual(
      decrypted.map(({ seq }) => seq),
      [0xfffffffe, 0xffffffff],
    );
    assert.deepEqual(gateway.send("private", [packet]).drops, { "encapsulate.drop.sequence_exhausted": 1 });
  });

  for (const ciphers of ["aes256gcm16", "chacha20poly1305", "aes128-sha256"])
    test(`${ciphers}: a key that was used before goes on behind its numbers, up to the ceiling`, async (gateway) => {
      const edge = 0x3_8000_0000;
      const sequence = { last: edge - 3, ceiling: edge / CEILING_STEP };
      const { fromVita } = makeTunnel(gateway, { ciphers, sequence });
      const packet = await scapy.packet(udp(4, 10));
      const { public: sent, drops } = gateway.send("private", Array(3).fill(packet));
      assert.deepEqual(drops, {});
      const decrypted = await scapy.decrypt(fromVita, sent, [3, 3, 3]);
      decrypted.forEach(({ inner, seq }, i) => {
        assert.equal(seq, (edge - 2 + i) % 2 ** 32);
        assert.deepEqual(inner, forwarded(packet));
      });
      assert.deepEqual(gateway.send("private", [packet]).drops, { "encapsulate.drop.sequence_ceiling": 1 });
    });
}
