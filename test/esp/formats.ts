// Packets of every shape through tunnels of every shape, both ways, byte for byte.

import assert from "node:assert/strict";
import { forwarded, makeTunnel, type Suite, udp } from "./suite.js";

/** Every pad length, the short and the long end. */
const LENGTHS = [0, 1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 63, 64, 100, 511, 1000, 1357, 1358, 1359, 1360];
const SHORT = LENGTHS.slice(0, 8);
/** The same for blocks of 16 bytes. */
const BLOCKS = Array.from({ length: 16 }, (_, i) => i);
const LONG_BLOCKS = [...BLOCKS, 63, 64, 100, 511, 1000, 1339, 1340, 1341, 1342];

/** Suites, lengths of UDP packets that they are tried with, and bytes that a text is a multiple of. */
const suites: [ciphers: string, lengths: number[], block: number][] = [
  ["aes128gcm16", LENGTHS, 4],
  ["aes192gcm16", SHORT, 4],
  ["aes256gcm16", SHORT, 4],
  ["chacha20poly1305", LENGTHS, 4],
  ["aes128-sha256", LONG_BLOCKS, 16],
  ["aes192-sha384", BLOCKS, 16],
  ["aes256-sha512", LONG_BLOCKS, 16],
  ["aes128-sha1", BLOCKS, 16],
];

type Shape = [esn: boolean, outer: 4 | 6, natt: boolean];
const SHAPES: Shape[] = [
  [true, 4, false],
  [false, 6, true],
  [false, 4, false],
  [true, 6, true],
  [true, 4, true],
  [true, 6, false],
  [false, 4, true],
  [false, 6, false],
];
/** What is around ESP does not depend on what is in it: with one cipher all shapes are tried, with others four or two. */
const SHAPES_OF: Record<string, number> = { aes128gcm16: 8, "aes192-sha384": 2, "aes128-sha1": 2 };

export function formats({ test, scapy }: Suite): void {
  for (const [ciphers, lengths, block] of suites)
    for (const [esn, outer, natt] of SHAPES.slice(0, SHAPES_OF[ciphers] ?? 4))
      test(`${ciphers}, ${esn ? "" : "no "}ESN, IPv${outer} outside${natt ? ", in UDP" : ""}`, async (gateway) => {
        const tunnel = makeTunnel(gateway, { ciphers, esn, outer, natt });
        for (const inner of [4, 6] as const) {
          const packets = await scapy.packets(...lengths.map((length) => udp(inner, length)));
          const sent = gateway.send("private", packets);
          assert.deepEqual(sent.drops, {});
          assert.equal(sent.public.length, packets.length);
          await scapy.assertSound(sent.public, outer === 4);
          const decrypted = await scapy.decrypt(tunnel.fromVita, sent.public);
          decrypted.forEach(({ inner: packet, seq, padLength, padding, nextHeader, iv }, i) => {
            assert.deepEqual(packet, forwarded(packets[i]));
            assert.equal(nextHeader, inner === 4 ? 4 : 41);
            assert.deepEqual(
              padding,
              Uint8Array.from({ length: padLength }, (_, n) => n + 1),
            );
            if (block === 4) assert.equal(Number(`0x${iv}`), seq);
          });
          assert.equal(new Set(decrypted.map(({ padLength }) => padLength)).size, block, "all pad lengths");
          assert.equal(new Set(decrypted.map(({ iv }) => iv)).size, packets.length);

          const replies = await scapy.packets(...lengths.map((length) => udp(inner, length, "", true)));
          const first = inner * 1000;
          const encrypted = await scapy.encrypt(
            tunnel.toVita,
            ...replies.map((packet, i) => ({ packet, sequence: first + i })),
          );
          const received = gateway.send("public", encrypted);
          assert.deepEqual(received.drops, {});
          assert.deepEqual(received.private, replies.map(forwarded));
        }
      });

  test("UDP over IPv6 carries a checksum, over IPv4 none (RFC 3948 §2.2)", async (gateway) => {
    makeTunnel(gateway, { natt: true, outer: 6 });
    const packets = await scapy.packets(udp(4, 7), udp(6, 8), udp(4, 1000));
    const { public: sent } = gateway.send("private", packets);
    for (const [outer, layer] of await scapy.show(...sent)) {
      assert.equal(outer.fields["nh"], 17);
      assert.equal(layer.layer, "UDP");
      assert.equal(layer.fields["sport"], 4500);
      assert.equal(layer.fields["dport"], 40_500);
      assert.notEqual(layer.fields["chksum"], 0);
    }
    await scapy.assertSound(sent, false);
  });

  test("IPv4 options and IPv6 extension headers inside", async (gateway) => {
    const tunnel = makeTunnel(gateway);
    const four = 'IP(src="10.1.0.5",dst="10.2.0.7"';
    const six = 'IPv6(src="2001:db8:1::5",dst="2001:db8:2::7")';
    const expressions = [
      `${four},options=[IPOption_RR(routers=["1.2.3.4","0.0.0.0"])])/UDP()/Raw(b"options")`,
      `${four},options=[IPOption_NOP()]*40)/ICMP(type=8)`,
      `${four})/TCP(options=[("MSS",1400)],flags="S")`,
      `${six}/IPv6ExtHdrHopByHop(options=[RouterAlert()])/UDP()/Raw(b"hop by hop")`,
      `${six}/IPv6ExtHdrRouting(addresses=["2001:db8:2::9"])/TCP()`,
      `${six}/IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])/ICMPv6EchoRequest(data=b"ping")`,
      `${six}/IPv6ExtHdrHopByHop()/IPv6ExtHdrDestOpt()/IPv6ExtHdrFragment(offset=100,nh=17)/Raw(b"later")`,
    ];
    const packets = await scapy.packets(...expressions);
    const { public: sent, drops } = gateway.send("private", packets);
    assert.deepEqual(drops, {});
    const decrypted = await scapy.decrypt(tunnel.fromVita, sent);
    assert.deepEqual(
      decrypted.map(({ inner }) => inner),
      packets.map(forwarded),
    );
    const back = expressions.map((expression) =>
      expression
        .replace('src="10.1.0.5",dst="10.2.0.7"', 'src="10.2.0.7",dst="10.1.0.5"')
        .replace('src="2001:db8:1::5",dst="2001:db8:2::7"', 'src="2001:db8:2::7",dst="2001:db8:1::5"'),
    );
    const replies = await scapy.packets(...back);
    const encrypted = await scapy.encrypt(
      tunnel.toVita,
      ...replies.map((packet, i) => ({ packet, sequence: 1 + i })),
    );
    const received = gateway.send("public", encrypted);
    assert.deepEqual(received.drops, {});
    assert.deepEqual(received.private, replies.map(forwarded));
  });

  test("batches larger than a burst, and SAs that take turns in it", async (gateway) => {
    const tunnel = makeTunnel(gateway, { from: ["10.1.0.0/16"], to: ["10.2.0.0/16"] });
    gateway.sa({ spi: 0xc1000009, from: ["10.1.0.0/16"], to: ["10.9.0.0/16"] });
    gateway.policy({ to: "10.9.0.0/16", espSpi: 0xc1000009 });
    const [one, other] = await scapy.packets(
      udp(4, 30),
      'IP(src="10.1.0.5",dst="10.9.0.7")/UDP()/Raw(b"other")',
    );
    const packets = Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? other : one));
    const { public: sent, drops } = gateway.send("private", packets);
    assert.deepEqual(drops, {});
    const spis = (await scapy.show(...sent)).map(([, esp]) => esp.fields["spi"]);
    assert.deepEqual(
      spis,
      packets.map((packet) => (packet === one ? tunnel.fromVita.spi : 0xc1000009)),
    );
    const mine = sent.filter((_, i) => packets[i] === one);
    const decrypted = await scapy.decrypt(tunnel.fromVita, mine);
    decrypted.forEach(({ inner, seq }, i) => {
      assert.equal(seq, i + 1);
      assert.deepEqual(inner, forwarded(one));
    });
  });
}
