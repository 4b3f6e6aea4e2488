// Packets that come before the keys of their SA: charon has reserved the SPI, and the peer is faster.

import assert from "node:assert/strict";
import { host, keyOf, saId } from "../../src/ipsec/testing/requests.js";
import { FAR, NEAR, type TestGateway } from "./gateway.js";
import type { ScapySa } from "./scapy.js";
import { forwarded, makeTunnel, type Suite, udp, withTos } from "./suite.js";

function reserve(gateway: TestGateway): number {
  const { spi } = gateway.kernel.getSpi({ src: host(FAR), dst: host(NEAR), protocol: 50 }, 1n);
  assert.ok(spi !== undefined);
  return spi;
}

function complete(gateway: TestGateway, spi: number): void {
  gateway.sa({
    spi,
    inbound: true,
    update: true,
    src: FAR,
    dst: NEAR,
    from: ["10.2.0.0/16"],
    to: ["10.1.0.0/16"],
  });
}

const peer = (spi: number): ScapySa => ({
  spi,
  key: keyOf(spi, 20),
  esn: true,
  outer: `IP(src="${FAR}",dst="${NEAR}")`,
});

export function early({ test, scapy }: Suite): void {
  test("packets before the keys wait, and go on in their order", async (gateway) => {
    const spi = reserve(gateway);
    const packet = await scapy.packet(udp(4, 8, "", true));
    const encrypted = await scapy.encrypt(
      peer(spi),
      ...Array.from({ length: 60 }, (_, i) => ({ packet, sequence: i + 1 })),
    );
    for (const part of [encrypted.slice(0, 20), encrypted.slice(20, 50)]) {
      const { private: received, drops } = gateway.send("public", part);
      assert.deepEqual([received.length, drops], [0, {}]);
    }
    assert.equal(gateway.graph.held, 50);
    complete(gateway, spi);
    // The window is 32 packets: out of order, the oldest ones would be lost.
    const { private: received, drops } = gateway.send("public", encrypted.slice(50));
    assert.deepEqual(drops, {});
    assert.deepEqual(
      received,
      Array.from({ length: 60 }, () => forwarded(packet)),
    );
    assert.equal(gateway.graph.held, 0);
    assert.equal(gateway.kernel.usage(0).packets, 60n);
  });

  test(
    "more packets wait than a cipher takes at a time",
    async (gateway) => {
      const { toVita } = makeTunnel(gateway);
      const spi = reserve(gateway);
      const packet = await scapy.packet(udp(4, 8, "", true));
      const sequences = Array.from({ length: 300 }, (_, i) => ({ packet, sequence: i + 1 }));
      const encrypted = await scapy.encrypt(peer(spi), ...sequences);
      assert.deepEqual(gateway.send("public", encrypted.slice(0, 290)).drops, {});
      complete(gateway, spi);
      // The last ones wait behind them, beside packets of another SA that need not.
      const others = await scapy.encrypt(toVita, ...sequences.slice(0, 10));
      const { private: received, drops } = gateway.send("public", [
        ...encrypted.slice(290, 295),
        ...others,
        ...encrypted.slice(295),
      ]);
      assert.deepEqual(drops, {});
      assert.equal(received.length, 310);
      assert.equal(gateway.graph.held, 0);
      assert.equal(gateway.frames.available, gateway.frames.capacity);
    },
    { frames: 4096 },
  );

  test("keys that come while nothing else does are noticed with the next breath", async (gateway) => {
    const spi = reserve(gateway);
    const packet = await scapy.packet(udp(4, 8, "", true));
    gateway.send("public", await scapy.encrypt(peer(spi), { packet, sequence: 1 }));
    complete(gateway, spi);
    assert.equal(gateway.send("public", []).private.length, 1);
  });

  test("packets that waited speak for no train that was under way before", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const [ect, packet] = await scapy.packets(udp(4, 8, ",tos=2", true), udp(4, 8, "", true));
    const marked = (
      await scapy.encrypt(toVita, ...[1, 2, 3].map((sequence) => ({ packet: ect, sequence })))
    ).map((each) => withTos(each, 3));
    const spi = reserve(gateway);
    gateway.send("public", await scapy.encrypt(peer(spi), { packet, sequence: 1 }));
    complete(gateway, spi);
    // The packet that waited comes last in its breath, and is not marked. Of those behind it the first one is looked at anyway.
    assert.equal(gateway.send("public", marked.slice(0, 1)).private.length, 2);
    const { private: received } = gateway.send("public", marked.slice(1));
    assert.deepEqual(
      received,
      [1, 2].map(() => withTos(forwarded(ect), 3)),
    );
  });

  test("keys that do not come: the packets end after a while, when too many wait, or with the SPI", async (gateway) => {
    const spi = reserve(gateway);
    const packet = await scapy.packet(udp(4, 8, "", true));
    const encrypted = await scapy.encrypt(
      peer(spi),
      ...Array.from({ length: 70 }, (_, i) => ({ packet, sequence: i + 1 })),
    );
    assert.deepEqual(gateway.send("public", encrypted).drops, { "decapsulate.drop.early": 6 });
    gateway.clock.seconds += 2;
    assert.deepEqual(gateway.send("public", []).drops, {});
    gateway.clock.seconds += 1;
    assert.deepEqual(gateway.send("public", []).drops, { "decapsulate.drop.early": 64 });
    gateway.send("public", encrypted.slice(0, 3));
    gateway.kernel.deleteSa(saId(spi, FAR, NEAR));
    assert.deepEqual(gateway.send("public", []).drops, { "decapsulate.drop.no_sa": 3 });
  });
}
