// What a router owes to senders: time exceeded, fragmentation needed, packet too big; and fragments of what may be cut.

import assert from "node:assert/strict";
import { NEAR, type TestGateway } from "./gateway.js";
import type { Scapy } from "./scapy.js";
import { forwarded, makeTunnel, type Suite, type TunnelOptions, udp } from "./suite.js";

const dont = ',flags="DF"';

/** Payload bytes of a UDP packet that is `length` bytes long. */
const payload = (family: 4 | 6, length: number) => length - (family === 4 ? 28 : 48);

interface Error4 {
  type: number;
  code: number;
  mtu?: number;
}

/** Asserts that the packet is an ICMP error with right checksums that quotes the beginning of `about`. */
async function assertError(
  scapy: Scapy,
  packet: Uint8Array,
  to: string,
  expected: Error4,
  about: Uint8Array,
): Promise<void> {
  const isIpv4 = about[0] >>> 4 === 4;
  await scapy.assertSound([packet], false);
  const [[ip, icmp]] = await scapy.show(packet);
  assert.equal(ip.fields["src"], isIpv4 ? "10.1.0.1" : "2001:db8:1::1");
  assert.equal(ip.fields["dst"], to);
  const header = isIpv4 ? 28 : 48;
  assert.equal(packet[isIpv4 ? 20 : 40], expected.type);
  assert.equal(packet[isIpv4 ? 21 : 41], expected.code);
  if (expected.mtu !== undefined) assert.equal(icmp.fields[isIpv4 ? "nexthopmtu" : "mtu"], expected.mtu);
  const quoted = packet.slice(header);
  assert.equal(quoted.length, Math.min(about.length, (isIpv4 ? 576 : 1280) - header));
  assert.deepEqual(quoted, about.slice(0, quoted.length));
}

export function errors({ test, scapy }: Suite): void {
  test("TTL used up on the way in: the sender is told", async (gateway) => {
    makeTunnel(gateway);
    for (const ttl of [0, 1]) {
      const [four, six] = await scapy.packets(udp(4, 700, `,ttl=${ttl}`), udp(6, 1300, `,hlim=${ttl}`));
      const result = gateway.send("private", [four, six]);
      assert.deepEqual(result.drops, { "ip-input.drop.ttl": 2 });
      assert.equal(result.public.length, 0);
      // What goes out to the private side was routed there, and that is one hop.
      const [error4, error6] = result.private;
      await assertError(scapy, error4, "10.1.0.5", { type: 11, code: 0 }, four);
      await assertError(scapy, error6, "2001:db8:1::5", { type: 3, code: 0 }, six);
    }
    const [last] = await scapy.packets(udp(4, 700, ",ttl=2"));
    assert.equal(gateway.send("private", [last]).public.length, 1);
  });

  test("TTL used up behind the tunnel: the error goes back through it", async (gateway) => {
    const { fromVita, toVita } = makeTunnel(gateway);
    const packets = await scapy.packets(udp(4, 9, ",ttl=1", true), udp(6, 9, ",hlim=1", true));
    const encrypted = await scapy.encrypt(
      toVita,
      ...packets.map((packet, i) => ({ packet, sequence: i + 1 })),
    );
    const result = gateway.send("public", encrypted);
    assert.deepEqual(result.drops, { "route.drop.ttl": 2 });
    const [error4, error6] = await scapy.decrypt(fromVita, result.public);
    await assertError(scapy, error4.inner, "10.2.0.7", { type: 11, code: 0 }, packets[0]);
    await assertError(scapy, error6.inner, "2001:db8:2::7", { type: 3, code: 0 }, packets[1]);
  });

  const tunnels: [string, TunnelOptions, publicMtu: number, innerMtu: number][] = [
    ["IPv4", {}, 1500, 1446],
    ["IPv4 and UDP", { natt: true }, 1500, 1438],
    ["IPv6", { outer: 6 }, 1500, 1426],
    ["IPv6 and UDP", { outer: 6, natt: true }, 1500, 1418],
    ["a link of 1,423 bytes", {}, 1423, 1366],
    ["AES-CBC with SHA-256", { ciphers: "aes128-sha256" }, 1500, 1438],
    ["AES-CBC with SHA-512, IPv6 and UDP", { ciphers: "aes256-sha512", outer: 6, natt: true }, 1500, 1390],
    ["AES-CBC with SHA-1, a link of 1,428 bytes", { ciphers: "aes128-sha1" }, 1428, 1358],
  ];
  for (const [name, options, publicMtu, innerMtu] of tunnels)
    test(
      `too long for the tunnel: ${name}`,
      async (gateway) => {
        makeTunnel(gateway, options);
        const unit = options.ciphers === undefined ? 4 : 16;
        for (const family of [4, 6] as const) {
          const [fits, tooLong, muchTooLong] = await scapy.packets(
            ...[innerMtu, innerMtu + 1, 1500].map((length) =>
              udp(family, payload(family, length), family === 4 ? dont : ""),
            ),
          );
          const sent = gateway.send("private", [fits]);
          assert.deepEqual(sent.drops, {});
          assert.ok(sent.public[0].length <= publicMtu && sent.public[0].length > publicMtu - unit);
          for (const packet of [tooLong, muchTooLong]) {
            const result = gateway.send("private", [packet]);
            assert.deepEqual(result.drops, { "protect.drop.too_big": 1 });
            const expected =
              family === 4 ? { type: 3, code: 4, mtu: innerMtu } : { type: 2, code: 0, mtu: innerMtu };
            const to = family === 4 ? "10.1.0.5" : "2001:db8:1::5";
            await assertError(scapy, result.private[0], to, expected, forwarded(packet));
          }
        }
      },
      { publicMtu },
    );

  test("IPv4 that may be fragmented is: before the tunnel, so that each piece fits", async (gateway) => {
    const { fromVita } = makeTunnel(gateway);
    const [plain, options, piece] = await scapy.packets(
      udp(4, 1472, ",id=4711"),
      'IP(src="10.1.0.5",dst="10.2.0.7",id=4712,options=[IPOption_NOP()]*8)/UDP()/Raw(bytes(i*5&255 for i in range(1460)))',
      'IP(src="10.1.0.5",dst="10.2.0.7",id=4713,proto=17,flags="MF",frag=185)/Raw(bytes(1480))',
    );
    for (const packet of [plain, options]) {
      const { public: sent, drops } = gateway.send("private", [packet]);
      assert.deepEqual(drops, {});
      assert.equal(sent.length, 2);
      for (const { length } of sent) assert.ok(length <= 1500);
      const fragments = (await scapy.decrypt(fromVita, sent)).map(({ inner }) => inner);
      await scapy.assertSound(fragments.slice(1));
      assert.deepEqual(await scapy.reassemble(fragments), [forwarded(packet)]);
    }
    // A fragment is cut like any other packet; its last piece is not the last of the whole.
    const { public: sent } = gateway.send("private", [piece]);
    const pieces = (await scapy.decrypt(fromVita, sent)).map(({ inner }) => (inner[6] << 8) | inner[7]);
    assert.deepEqual(pieces, [0x2000 | 185, 0x2000 | (185 + 1424 / 8)]);
  });

  test(
    "too long for the private link: cut, or the far sender is told through the tunnel",
    async (gateway) => {
      const { fromVita, toVita } = makeTunnel(gateway);
      const [cut, tooBig, six] = await scapy.packets(
        udp(4, 1300, ",id=99", true),
        udp(4, 1300, dont, true),
        udp(6, 1300, "", true),
      );
      const [first, second, third] = await scapy.encrypt(
        toVita,
        { packet: cut, sequence: 1 },
        { packet: tooBig, sequence: 2 },
        { packet: six, sequence: 3 },
      );
      const fragments = gateway.send("public", [first]).private;
      assert.equal(fragments.length, 2);
      await scapy.assertSound(fragments.slice(1));
      assert.deepEqual(await scapy.reassemble(fragments), [forwarded(cut)]);
      for (const [packet, about, to, expected] of [
        [second, tooBig, "10.2.0.7", { type: 3, code: 4, mtu: 1300 }],
        [third, six, "2001:db8:2::7", { type: 2, code: 0, mtu: 1300 }],
      ] as const) {
        const result = gateway.send("public", [packet]);
        assert.deepEqual(result.drops, { "route.drop.too_big": 1 });
        const [{ inner }] = await scapy.decrypt(fromVita, result.public);
        await assertError(scapy, inner, to, expected, forwarded(about));
      }
    },
    { privateMtu: 1300 },
  );

  test("nobody is told about errors, later fragments and packets to many (RFC 1122 §3.2.2)", async (gateway) => {
    makeTunnel(gateway, { from: ["0.0.0.0/0", "::/0"], to: ["0.0.0.0/0", "::/0"] });
    const dying = 'IP(src="10.1.0.5",dst="10.2.0.7",ttl=1';
    const dying6 = 'IPv6(src="2001:db8:1::5",dst="2001:db8:2::7",hlim=1)';
    const silent = await scapy.packets(
      `${dying})/ICMP(type=3,code=4)/IP()/UDP()`,
      `${dying})/ICMP(type=5)/IP()/UDP()`,
      `${dying},frag=9,proto=17)/Raw(b"12345678")`,
      'IP(src="10.1.0.5",dst="239.1.2.3",ttl=1)/UDP()',
      'IP(src="0.0.0.0",dst="10.2.0.7",ttl=1)/UDP()',
      'IP(src="127.0.0.1",dst="10.2.0.7",ttl=1)/UDP()',
      'IP(src="224.0.0.1",dst="10.2.0.7",ttl=1)/UDP()',
      `${dying6}/ICMPv6TimeExceeded()/IPv6()/UDP()`,
      'IPv6(src="2001:db8:1::5",dst="ff0e::1",hlim=1)/UDP()',
      'IPv6(src="::",dst="2001:db8:2::7",hlim=1)/UDP()',
      'IPv6(src="ff02::1",dst="2001:db8:2::7",hlim=1)/UDP()',
    );
    for (const packet of silent) {
      const result = gateway.send("private", [packet]);
      assert.deepEqual(result.drops, { "ip-input.drop.ttl": 1, "icmp-errors.drop.silent": 1 });
      assert.deepEqual(result.private, []);
    }
    const told = await scapy.packets(`${dying})/ICMP(type=8)`, `${dying6}/ICMPv6EchoRequest()`);
    assert.equal(gateway.send("private", told).private.length, 2);
  });

  test("no more errors than the rate allows", async (gateway) => {
    makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 10, ",ttl=1"));
    const many = gateway.send("private", Array(120).fill(packet));
    assert.equal(many.private.length, 100);
    assert.equal(many.drops["icmp-errors.drop.rate"], 20);
    gateway.graph.tick(5);
    assert.equal(gateway.send("private", Array(9).fill(packet)).private.length, 5);
  });

  test("without an address to speak from there is no error", async (gateway) => {
    makeTunnel(gateway);
    withoutAddresses(gateway);
    const packet = await scapy.packet(udp(4, 10, ",ttl=1"));
    assert.deepEqual(gateway.send("private", [packet]).drops, {
      "ip-input.drop.ttl": 1,
      "icmp-errors.drop.no_address": 1,
    });
  });
}

function withoutAddresses({ graph: { fib } }: TestGateway): void {
  fib.address(1, Uint8Array.of(10, 1, 0, 1), 16, false);
  fib.address(2, Uint8Array.from(NEAR.split("."), Number), 24, false);
}
