// What depends on the cipher beyond the packets' format (formats.ts): SAs with unlike ones in the same batch, lengths that
// only blocks have, sequence numbers whose high half an HMAC covers, and what the tunnel's MTU leaves.

import assert from "node:assert/strict";
import { suiteOf, suiteRequest, suites } from "../../src/ipsec/testing/suites.js";
import { FAR, NEAR, type TestGateway } from "./gateway.js";
import { type ScapySa, scapySuite } from "./scapy.js";
import { forwarded, IN, makeTunnel, OUT, type Suite, udp } from "./suite.js";

/** A tunnel for each suite, to a network of its own; every second one has extended sequence numbers. */
function makeTunnels(
  gateway: TestGateway,
  names: readonly string[],
): { fromVita: ScapySa; toVita: ScapySa }[] {
  return names.map((name, i) => {
    const suite = suiteOf(name);
    const esn = i % 2 === 0;
    const common = { reqid: 1 + i, extendedSequenceNumbers: esn, replayWindow: 64 };
    const near = ["10.1.0.0/16"];
    const far = [`10.${20 + i}.0.0/16`];
    const [out, back] = [OUT + i, IN + i];
    gateway.sa({ ...common, ...suiteRequest(suite, out), spi: out, from: near, to: far });
    gateway.sa({
      ...common,
      ...suiteRequest(suite, back),
      spi: back,
      inbound: true,
      src: FAR,
      dst: NEAR,
      from: far,
      to: near,
    });
    gateway.policy({ from: near[0], to: far[0], reqid: 1 + i, espSpi: out });
    return {
      fromVita: { ...scapySuite(suite, out), spi: out, esn, outer: `IP(src="${NEAR}",dst="${FAR}")` },
      toVita: { ...scapySuite(suite, back), spi: back, esn, outer: `IP(src="${FAR}",dst="${NEAR}")` },
    };
  });
}

export function ciphers({ test, scapy }: Suite): void {
  test("SAs with unlike ciphers take turns in a batch, both ways", async (gateway) => {
    const names = suites.map(({ name }) => name).filter((name) => !/^aes192-|-sha1/.test(name));
    assert.equal(names.length, 10);
    const tunnels = makeTunnels(gateway, names);
    const expression = (back: boolean) => (_: unknown, i: number) => {
      const far = `10.${20 + (i % names.length)}.0.7`;
      const [src, dst] = back ? [far, "10.1.0.5"] : ["10.1.0.5", far];
      return `IP(src="${src}",dst="${dst}")/UDP()/Raw(bytes(${(i * 37) % 700}))`;
    };
    // One packet an SA at a time; and then trains of several, in two batches.
    const singles = Array.from({ length: 60 }, (_, i) => i);
    const trains = Array.from({ length: 150 }, (_, i) => Math.floor(i / 3));
    for (const order of [singles, trains]) {
      const kinds = await scapy.packets(...Array.from({ length: 60 }, expression(false)));
      const packets = order.map((i) => kinds[i]);
      const sent = gateway.send("private", packets);
      assert.deepEqual(sent.drops, {});
      assert.equal(sent.public.length, packets.length);
      for (const [k, { fromVita }] of tunnels.entries()) {
        const mine = order.flatMap((i, n) => (i % names.length === k ? [n] : []));
        const decrypted = await scapy.decrypt(
          fromVita,
          mine.map((n) => sent.public[n]),
        );
        assert.deepEqual(
          decrypted.map(({ inner }) => inner),
          mine.map((n) => forwarded(packets[n])),
          names[k],
        );
      }
    }

    const replies = await scapy.packets(...Array.from({ length: 60 }, expression(true)));
    const encrypted: Uint8Array[] = [];
    for (const [i, packet] of replies.entries())
      encrypted.push(...(await scapy.encrypt(tunnels[i % names.length].toVita, { packet, sequence: 1 + i })));
    // Of each cipher some packets are not what was sent: first and last byte of the ICV, SPI aside everything in between.
    const isForged = (i: number) => i % 4 === 1;
    const received = gateway.send(
      "public",
      encrypted.map((packet, i) => {
        if (!isForged(i)) return packet;
        const copy = packet.slice();
        copy[[copy.length - 1, 24 + 3, 30, copy.length - 12][(i >>> 2) % 4]] ^= 1;
        return copy;
      }),
    );
    assert.deepEqual(received.drops, { "decapsulate.drop.bad_icv": 15 });
    assert.deepEqual(received.private, replies.filter((_, i) => !isForged(i)).map(forwarded));
  });

  test("AES-CBC: ESP of every length, most of them wrong", async (gateway) => {
    const { toVita } = makeTunnel(gateway, { ciphers: "aes128-sha256" });
    const packet = await scapy.packet(udp(4, 40, "", true));
    const [whole] = await scapy.encrypt(toVita, { packet, sequence: 1 });
    for (let length = 8; length < whole.length - 20; length++) {
      const cut = whole.slice(0, 20 + length);
      cut.set([0, 20 + length], 2);
      cut[8]++;
      // Header, IV, one block, ICV.
      const wrong = length < 8 + 16 + 16 + 16 || (length - 8) % 16 !== 0 ? "too_short" : "bad_icv";
      const { drops, private: received } = gateway.send("public", [forwarded(cut)]);
      assert.equal(received.length, 0);
      assert.deepEqual(drops, { [`decapsulate.drop.${wrong}`]: 1 }, `${length} bytes of ESP`);
    }
    assert.equal(gateway.send("public", [whole]).private.length, 1);
  });

  for (const ciphers of ["chacha20poly1305", "aes256-sha384"])
    test(`${ciphers}: the high half of a sequence number is authenticated`, async (gateway) => {
      const { toVita } = makeTunnel(gateway, { ciphers, replayWindow: 64 });
      const packet = await scapy.packet(udp(4, 30, "", true));
      const edge = 1n << 32n;
      const numbers = [edge - 99n, edge - 2n, edge + 1n, edge - 1n, 2n * edge + 2n, edge + 2n];
      const encrypted = await scapy.encrypt(toVita, ...numbers.map((sequence) => ({ packet, sequence })));
      const outcome = encrypted.map((each) => Object.keys(gateway.send("public", [each]).drops)[0] ?? "");
      // The receiver takes 2^33 + 2 for 2^32 + 2, of which the HMAC is another.
      assert.deepEqual(outcome, ["", "", "", "", "decapsulate.drop.bad_icv", ""]);
    });

  test("AES-CBC: a limit of packets holds across batches, both ways", async (gateway) => {
    const none = { rekey: 0n, life: 0n };
    const lifetime = { time: none, bytes: none, packets: { rekey: 0n, life: 130n } };
    const { toVita } = makeTunnel(gateway, { ciphers: "aes128-sha256", lifetime });
    const [there, back] = await scapy.packets(udp(4, 30), udp(4, 30, "", true));
    const sent = gateway.send(
      "private",
      Array.from({ length: 140 }, () => there),
    );
    assert.equal(sent.public.length, 130);
    const encrypted = await scapy.encrypt(
      toVita,
      ...Array.from({ length: 140 }, (_, i) => ({ packet: back, sequence: 1 + i })),
    );
    const received = gateway.send("public", encrypted);
    assert.equal(received.private.length, 130);
    assert.deepEqual(received.drops, { "decapsulate.drop.sa_expired": 10 });
  });

  test("AES-CBC: padding for traffic flow confidentiality", async (gateway) => {
    const { fromVita } = makeTunnel(gateway, { ciphers: "aes256-sha512", tfc: 0xffffffff });
    const packets = await scapy.packets(...[0, 100, 1380].map((length) => udp(4, length)));
    const { public: sent, drops } = gateway.send("private", packets);
    assert.deepEqual(drops, {});
    // 20 outside, 24 of header and IV, 1424 of blocks, 32 of ICV: all 1500.
    assert.deepEqual(
      sent.map(({ length }) => length),
      [1500, 1500, 1500],
    );
    const decrypted = await scapy.decrypt(fromVita, sent);
    decrypted.forEach(({ data }, i) => {
      assert.equal(data.length, 1422);
      assert.deepEqual(data.slice(0, packets[i].length), forwarded(packets[i]));
    });
  });
}
