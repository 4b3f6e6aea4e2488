// The outer header: DF, DSCP and congestion marks (RFC 6040, RFC 4301 §5.1.2), TTL, identification, and where it leads.

import assert from "node:assert/strict";
import { host, saId } from "../../src/ipsec/testing/requests.js";
import { FAR, succeed } from "./gateway.js";
import { forwarded, IN, makeTunnel, OUT, type Suite, udp, withTos } from "./suite.js";

const NOT_ECT = 0;
const ECT1 = 1;
const ECT0 = 2;
const CE = 3;
const DROP = -1;

/** RFC 6040 figure 4: what leaves the tunnel, by inner (row) and outer (column) codepoint, both 0 to 3. */
const decapsulated = [
  [NOT_ECT, NOT_ECT, NOT_ECT, DROP],
  [ECT1, ECT1, ECT1, CE],
  [ECT0, ECT1, ECT0, CE],
  [CE, CE, CE, CE],
];

const DF = 0x4000;
const flagsOf = (packet: Uint8Array) => (packet[6] << 8) | packet[7];
const tosOf = (packet: Uint8Array) =>
  packet[0] >>> 4 === 4 ? packet[1] : ((packet[0] & 15) << 4) | (packet[1] >>> 4);

const tosField = { 4: "tos", 6: "tc" } as const;

export function outer({ test, scapy }: Suite): void {
  test("DF: copied, or not; set for IPv6 inside (RFC 4301 §8.1)", async (gateway) => {
    makeTunnel(gateway);
    const packets = await scapy.packets(udp(4, 10), udp(4, 10, ',flags="DF"'), udp(6, 10));
    const { public: sent } = gateway.send("private", packets);
    assert.deepEqual(sent.map(flagsOf), [0, DF, DF]);
    await scapy.assertSound(sent);
    assert.notEqual((sent[0][4] << 8) | sent[0][5], 0, "what may be fragmented has an identification");
    gateway.kernel.flushSas();
    gateway.kernel.flushPolicies();
    makeTunnel(gateway, { copyDf: false });
    const uncopied = gateway.send("private", packets).public;
    assert.deepEqual(uncopied.map(flagsOf), [0, 0, 0]);
    await scapy.assertSound(uncopied);
    assert.equal(new Set(uncopied.map((packet) => (packet[4] << 8) | packet[5])).size, 3);
  });

  for (const outerFamily of [4, 6] as const)
    for (const inner of [4, 6] as const)
      test(`DSCP and ECN outbound, IPv${inner} in IPv${outerFamily}`, async (gateway) => {
        const all = [0x00, 0xb8, 0xb9, 0xba, 0xbb, 0xff, 0x02];
        const packets = await scapy.packets(
          ...all.map((tos) => udp(inner, 10, `,${tosField[inner]}=${tos}`)),
        );
        const rules = [
          { copyEcn: true, copyDscp: 0, mask: 0xff },
          { copyEcn: true, copyDscp: 2, mask: 0xff },
          { copyEcn: true, copyDscp: 1, mask: 0x03 },
          { copyEcn: false, copyDscp: 0, mask: 0xfc },
          { copyEcn: false, copyDscp: 3, mask: 0x00 },
        ];
        for (const { mask, ...rule } of rules) {
          const { fromVita } = makeTunnel(gateway, { outer: outerFamily, ...rule });
          const { public: sent } = gateway.send("private", packets);
          assert.deepEqual(
            sent.map(tosOf),
            all.map((tos) => tos & mask),
          );
          await scapy.assertSound(sent);
          const decrypted = await scapy.decrypt(fromVita, sent);
          assert.deepEqual(
            decrypted.map((packet) => tosOf(packet.inner)),
            all,
          );
          for (const packet of sent) assert.equal(packet[outerFamily === 4 ? 8 : 7], 64, "hop limit");
          gateway.kernel.flushSas();
          gateway.kernel.flushPolicies();
        }
      });

  for (const outerFamily of [4, 6] as const)
    for (const inner of [4, 6] as const)
      test(`ECN inbound, all 16 pairs of RFC 6040 §4.2, IPv${inner} in IPv${outerFamily}`, async (gateway) => {
        const { toVita } = makeTunnel(gateway, { outer: outerFamily });
        let sequence = 1;
        for (let mine = 0; mine < 4; mine++)
          for (let theirs = 0; theirs < 4; theirs++) {
            const tos = 0x28 | mine;
            const packet = await scapy.packet(udp(inner, 9, `,${tosField[inner]}=${tos}`, true));
            const [encrypted] = await scapy.encrypt(toVita, { packet, sequence: sequence++ });
            const result = gateway.send("public", [withTos(encrypted, 0xb8 | theirs)]);
            const expected = decapsulated[mine][theirs];
            if (expected === DROP) assert.deepEqual(result.drops, { "decapsulate.drop.ecn": 1 });
            else {
              assert.deepEqual(
                result.private,
                [withTos(forwarded(packet), 0x28 | expected)],
                `${mine} in ${theirs}`,
              );
              await scapy.assertSound(result.private);
            }
          }
      });

  test("ECN and DSCP inbound as the SA says", async (gateway) => {
    const [packet, six] = await scapy.packets(udp(4, 9, ",tos=0x29", true), udp(6, 9, ",tc=0x29", true));
    for (const { expected, ...rule } of [
      { copyEcn: false, copyDscp: 0, expected: 0x29 },
      { copyEcn: false, copyDscp: 1, expected: 0xb9 },
      { copyEcn: true, copyDscp: 2, expected: 0xbb },
      { copyEcn: true, copyDscp: 3, expected: 0x2b },
    ]) {
      const { toVita } = makeTunnel(gateway, rule);
      const encrypted = await scapy.encrypt(toVita, { packet, sequence: 1 }, { packet: six, sequence: 2 });
      const { private: received, drops } = gateway.send(
        "public",
        encrypted.map((each) => withTos(each, 0xbb)),
      );
      assert.deepEqual(drops, {});
      assert.deepEqual(received, [withTos(forwarded(packet), expected), withTos(forwarded(six), expected)]);
      gateway.kernel.flushSas();
      gateway.kernel.flushPolicies();
    }
  });

  test("end points that move take numbers, window and counters with them", async (gateway) => {
    const { fromVita, toVita } = makeTunnel(gateway);
    const [there, back] = await scapy.packets(udp(4, 10), udp(4, 10, "", true));
    gateway.send("private", [there, there]);
    const moved = { newSrc: host("192.0.2.1", 4500), newDst: host("192.0.2.77", 40_000) };
    const update = { udpEncapsulation: false, newUdpEncapsulation: true, newReqid: 0 };
    succeed(gateway.kernel.updateSa({ id: saId(OUT), ...moved, ...update }));
    succeed(
      gateway.kernel.updateSa({
        id: saId(IN, FAR, "192.0.2.1"),
        newSrc: moved.newDst,
        newDst: moved.newSrc,
        ...update,
      }),
    );
    // The policies still name the old end point: nothing leaves until they are renewed.
    assert.deepEqual(gateway.send("private", [there]).public, []);
    assert.equal(gateway.graph.queue.count, 1);
    gateway.policy({ dst: "192.0.2.77", espSpi: OUT });
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 4);
    gateway.graph.fib.neighbour(2, moved.newDst.address, mac);
    const { public: sent } = gateway.send("private", [there]);
    await scapy.assertSound(sent);
    assert.equal(sent.length, 2, "the one that waited leaves before the new one");
    const [[ip, port]] = await scapy.show(...sent);
    assert.equal(ip.fields["dst"], "192.0.2.77");
    assert.equal(port.fields["dport"], 40_000);
    const decrypted = await scapy.decrypt({ ...fromVita, natt: [4500, 40_000] }, sent);
    assert.deepEqual(
      decrypted.map(({ seq }) => seq),
      [3, 4],
    );
    const natt: [number, number] = [40_000, 4500];
    const outerHeader = 'IP(src="192.0.2.77",dst="192.0.2.1")';
    const [encrypted] = await scapy.encrypt(
      { ...toVita, natt, outer: outerHeader },
      { packet: back, sequence: 1 },
    );
    assert.deepEqual(gateway.send("public", [encrypted]).private, [forwarded(back)]);
    const slot = gateway.sad.lookup(IN);
    assert.equal(gateway.kernel.usage(slot).packets, 1n);
  });
}
