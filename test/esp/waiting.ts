// Packets that wait for an SA, and what the worker tells the supervisor of: they, and peers that speak from elsewhere.

import assert from "node:assert/strict";
import { keyOf, policyRequest, saId } from "../../src/ipsec/testing/requests.js";
import { WorkerEventType } from "../../src/ipsec/worker-events.js";
import { formatAddress } from "../../src/net/address.js";
import { FAR, FAR6, NEAR, NEAR6, succeed, type TestGateway } from "./gateway.js";
import { forwarded, IN, makeTunnel, OUT, type Suite, udp } from "./suite.js";

const from = "10.1.0.0/16";
const TRAP = { from, to: "10.2.0.0/16", priorityClass: 2, reqid: 9 } as const;
const PATIENCE = 10;
const PER_POLICY = 32;

/** The SA that a trap led to, with its `out` entry. */
function establish(gateway: TestGateway, to: string = TRAP.to): void {
  gateway.sa({ spi: OUT, reqid: 9, from: [from], to: [to], encryptionKey: keyOf(OUT, 20) });
  gateway.policy({ from, to, reqid: 9, espSpi: OUT });
}

export function waiting({ test, scapy }: Suite): void {
  const numbered = (count: number, dst = "10.2.0.7") =>
    scapy.packets(
      ...Array.from(
        { length: count },
        (_, i) => `IP(src="10.1.0.5",dst="${dst}",id=${i})/UDP(sport=1000,dport=53)`,
      ),
    );

  test("what meets a trap asks once, waits, and leaves in its order before what comes later", async (gateway) => {
    gateway.policy(TRAP);
    const packets = await numbered(5);
    assert.deepEqual(gateway.send("private", packets.slice(0, 3)).drops, {});
    const [request, ...more] = gateway.takeEvents();
    assert.deepEqual(more, []);
    assert.equal(request.type, WorkerEventType.acquire);
    assert.equal(gateway.spd.read(request.subject).reqid, 9);
    assert.equal(`${formatAddress(request.src)} ${request.srcPort}`, "10.1.0.5 1000");
    assert.equal(`${formatAddress(request.dst)} ${request.dstPort}`, "10.2.0.7 53");
    assert.equal(request.protocol, 17);
    assert.equal(request.seconds, gateway.clock.seconds);

    // Other policies come and go, and the trap itself is installed again: nothing is lost by that, nor asked again.
    gateway.policy({ to: "10.9.0.0/16" });
    gateway.policy(TRAP);
    succeed(gateway.kernel.deletePolicy(policyRequest(TRAP)));
    assert.deepEqual(gateway.send("private", [packets[3]]).drops, {});
    assert.deepEqual(gateway.takeEvents(), []);
    assert.equal(gateway.graph.queue.count, 4);

    establish(gateway);
    const { public: sent } = gateway.send("private", [packets[4]]);
    const decrypted = await scapy.decrypt(
      { spi: OUT, key: keyOf(OUT, 20), esn: true, outer: `IP(src="${NEAR}",dst="${FAR}")` },
      sent,
    );
    assert.deepEqual(
      decrypted.map(({ inner }) => Buffer.from(inner)),
      packets.map((packet) => Buffer.from(forwarded(packet))),
    );
  });

  test("nobody answers: asked again every second while packets wait, and they are given up in time", async (gateway) => {
    gateway.policy(TRAP);
    const [packet] = await numbered(1);
    gateway.send("private", [packet]);
    for (let second = 1; second < PATIENCE; second++) {
      gateway.clock.seconds++;
      gateway.graph.tick(0);
    }
    assert.equal(gateway.takeEvents().length, PATIENCE);
    gateway.clock.seconds++;
    assert.deepEqual(gateway.send("private", []).drops, { "hold.drop.timeout": 1 });
    gateway.clock.seconds++;
    gateway.graph.tick(0);
    assert.deepEqual(gateway.takeEvents(), []);
  });

  test("the queue is bounded, for each policy and by the packet memory", async (gateway) => {
    gateway.policy(TRAP);
    gateway.policy({ ...TRAP, to: "10.3.0.0/16", reqid: 10 });
    const packets = await numbered(PER_POLICY + 8);
    assert.deepEqual(gateway.send("private", packets).drops, { "hold.drop.full": 8 });
    assert.equal(gateway.graph.queue.count, gateway.frames.capacity / 16);
    // A gateway of 512 frames spares 32.
    const [other] = await numbered(1, "10.3.0.7");
    assert.deepEqual(gateway.send("private", [other]).drops, { "hold.drop.full": 1 });
    assert.equal(gateway.takeEvents().length, 2, "it asks all the same");
  });

  test("a trap whose SA is narrower: the rest is dropped at once, but asks; without the SA it waits again", async (gateway) => {
    gateway.policy(TRAP);
    const [inside] = await numbered(1, "10.2.0.7");
    const [outside] = await numbered(1, "10.2.9.9");
    gateway.send("private", [inside, outside]);
    establish(gateway, "10.2.0.0/24");
    const { public: sent, drops } = gateway.send("private", []);
    assert.equal(sent.length, 1);
    // The SA's other policies may be on their way yet.
    assert.deepEqual(drops, {});
    assert.equal(gateway.graph.queue.count, 1);
    gateway.clock.seconds += 2;
    gateway.kernel.sweep();
    assert.deepEqual(gateway.send("private", [outside]).drops, { "protect.drop.narrowed": 2 });
    assert.equal(gateway.send("private", [inside]).public.length, 1);
    // When they met the trap; when the one inside was gone, for the other; and when that was known to be outside.
    assert.equal(gateway.takeEvents().length, 3);

    succeed(gateway.kernel.deletePolicy(policyRequest({ from, to: "10.2.0.0/24", reqid: 9, espSpi: OUT })));
    succeed(gateway.kernel.deleteSa(saId(OUT)));
    assert.deepEqual(gateway.send("private", [inside, outside]).drops, {});
    assert.equal(gateway.graph.queue.count, 2);
  });

  test("an address change: what drops lies over what protects, and is gone with it", async (gateway) => {
    establish(gateway);
    const [packet] = await numbered(1);
    const out = { from, to: TRAP.to, reqid: 9, espSpi: OUT };
    gateway.policy({ ...out, type: 3 });
    assert.deepEqual(gateway.send("private", [packet]).drops, { "protect.drop.policy": 1 });
    succeed(gateway.kernel.deletePolicy(policyRequest(out)));
    gateway.policy({ ...out, dst: FAR });
    succeed(gateway.kernel.deletePolicy(policyRequest({ ...out, type: 3 })));
    assert.equal(gateway.send("private", [packet]).public.length, 1);
  });

  for (const outer of [4, 6] as const)
    test(`a peer in UDP over IPv${outer} that speaks from elsewhere is told of, if it is the peer`, async (gateway) => {
      const { toVita } = makeTunnel(gateway, { outer, natt: true });
      const back = await scapy.packet(udp(4, 10, "", true));
      const elsewhere = outer === 4 ? "198.51.100.9" : "2001:db8:5::9";
      const header = (src: string) =>
        outer === 4 ? `IP(src="${src}",dst="${NEAR}")` : `IPv6(src="${src}",dst="${NEAR6}")`;
      const far = outer === 4 ? FAR : FAR6;
      const send = async (sequence: number, src: string, port: number, key = toVita.key) => {
        const sa = { ...toVita, key, outer: header(src), natt: [port, 4500] as [number, number] };
        const [packet] = await scapy.encrypt(sa, { packet: back, sequence });
        const { private: arrived, drops } = gateway.send("public", [packet]);
        return { arrived: arrived.length, drops, events: gateway.takeEvents() };
      };
      assert.deepEqual(await send(1, far, 40_500), { arrived: 1, drops: {}, events: [] });
      for (const [sequence, src, port] of [
        [2, far, 40_501],
        [3, elsewhere, 40_500],
      ] as const) {
        gateway.clock.seconds++;
        const { arrived, events } = await send(sequence, src, port);
        assert.equal(arrived, 1);
        assert.equal(events.length, 1);
        assert.equal(events[0].type, WorkerEventType.mapping);
        assert.equal(events[0].subject, gateway.sad.lookup(IN));
        assert.equal(events[0].spi, IN);
        assert.equal(`${formatAddress(events[0].src)} ${events[0].srcPort}`, `${src} ${port}`);
      }
      assert.deepEqual((await send(4, elsewhere, 40_502)).events, [], "once a second");
      gateway.clock.seconds++;
      const replayed = await send(4, elsewhere, 40_502);
      assert.deepEqual(replayed.drops, { "decapsulate.drop.replayed": 1 });
      assert.deepEqual(replayed.events, []);
      const forged = await send(5, elsewhere, 40_502, keyOf(1, 20));
      assert.deepEqual(forged.drops, { "decapsulate.drop.bad_icv": 1 });
      assert.deepEqual(forged.events, []);

      // charon moves the SA: from there it is at home.
      succeed(
        gateway.kernel.updateSa({
          id: saId(IN, far, outer === 4 ? NEAR : NEAR6, [40_500, 4500]),
          newSrc: { address: saId(1, elsewhere).src.address, port: 40_502 },
          newDst: { address: saId(1, outer === 4 ? NEAR : NEAR6).src.address, port: 4500 },
          udpEncapsulation: true,
          newUdpEncapsulation: true,
          newReqid: 0,
        }),
      );
      assert.deepEqual(await send(6, elsewhere, 40_502), { arrived: 1, drops: {}, events: [] });
    });
}
