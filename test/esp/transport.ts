// Transport mode: packets of the host itself, both ways, byte for byte.

import assert from "node:assert/strict";
import { UNBOUND } from "../../src/ipsec/binding.js";
import { policyRequest } from "../../src/ipsec/testing/requests.js";
import { suiteOf, suiteRequest } from "../../src/ipsec/testing/suites.js";
import { FAR, FAR6, type GatewayOptions, NEAR, NEAR6, type TestGateway } from "./gateway.js";
import { type ScapySa, scapySuite } from "./scapy.js";
import { type Family, forwarded, IN, OUT, type Suite } from "./suite.js";

interface Options {
  natt?: boolean;
  esn?: boolean;
  ciphers?: string;
  /** Protocol and ports of the selectors, in brackets: here and there. */
  near?: string;
  far?: string;
}

/** SAs and policies between the hosts of both families' addresses; scapy's view of them, from Vita and to it. */
function connect(gateway: TestGateway, family: Family, options: Options = {}): [ScapySa, ScapySa] {
  const { natt = false, esn = true, ciphers = "aes128gcm16", near = "", far = "" } = options;
  const [us, peer] = family === 4 ? [NEAR, FAR] : [NEAR6, FAR6];
  const bits = family === 4 ? 32 : 128;
  const mine = `${us}/${bits}${near}`;
  const theirs = `${peer}/${bits}${far}`;
  const common = { mode: 1, extendedSequenceNumbers: esn, udpEncapsulation: natt };
  const suite = suiteOf(ciphers);
  gateway.sa({
    ...common,
    spi: OUT,
    src: us,
    dst: peer,
    ports: [4500, 40_500],
    from: [mine],
    to: [theirs],
    ...suiteRequest(suite, OUT),
  });
  gateway.sa({
    ...common,
    spi: IN,
    inbound: true,
    src: peer,
    dst: us,
    ports: [40_500, 4500],
    from: [theirs],
    to: [mine],
    ...suiteRequest(suite, IN),
  });
  gateway.policy({ mode: 1, from: mine, to: theirs, src: us, dst: peer, espSpi: OUT });
  const sa = (spi: number, natt: [number, number] | undefined) => ({
    spi,
    ...scapySuite(suite, spi),
    esn,
    outer: "",
    ...(natt && { natt }),
  });
  return [sa(OUT, natt ? [4500, 40_500] : undefined), sa(IN, natt ? [40_500, 4500] : undefined)];
}

const tun: GatewayOptions = { tun: true };
const there = (family: Family, extra = "") =>
  family === 4 ? `IP(src="${NEAR}",dst="${FAR}"${extra})` : `IPv6(src="${NEAR6}",dst="${FAR6}"${extra})`;
const back = (family: Family, extra = "") =>
  family === 4 ? `IP(src="${FAR}",dst="${NEAR}"${extra})` : `IPv6(src="${FAR6}",dst="${NEAR6}"${extra})`;
const raw = (length: number) => `Raw(bytes(i*7&255 for i in range(${length})))`;
const LENGTHS = [0, 1, 2, 3, 4, 5, 15, 64, 511, 1300];

export function transport({ test, scapy }: Suite): void {
  for (const family of [4, 6] as const)
    for (const natt of [false, true])
      for (const [ciphers, esn] of [
        ["aes128gcm16", true],
        ["aes256gcm16", false],
        ["chacha20poly1305", true],
        ["aes128-sha256", true],
        ["aes256-sha512", false],
      ] as const)
        test(
          `transport mode, IPv${family}${natt ? ", in UDP" : ""}, ${ciphers}, ${esn ? "" : "no "}ESN`,
          async (gateway) => {
            const [fromVita, toVita] = connect(gateway, family, { natt, esn, ciphers });
            const echo = family === 4 ? "ICMP(type=8,id=7)" : "ICMPv6EchoRequest(id=7)";
            const bodies = [
              ...LENGTHS.map((length) => `UDP(sport=1000,dport=2000)/${raw(length)}`),
              `TCP(sport=80,dport=1024,flags="PA")/${raw(99)}`,
              `${echo}/${raw(56)}`,
            ];
            const extra = family === 4 ? ",ttl=7,tos=0xb9,id=0x1234" : ",hlim=7,tc=0xb9,fl=0x54321";
            const packets = await scapy.packets(...bodies.map((body) => `${there(family, extra)}/${body}`));
            const sent = gateway.send("private", packets);
            assert.deepEqual(sent.drops, {});
            await scapy.assertSound(sent.public, family === 4);
            const decrypted = await scapy.decrypt(fromVita, sent.public);
            decrypted.forEach(({ inner, padLength, padding }, i) => {
              assert.deepEqual(inner, packets[i], bodies[i]);
              assert.deepEqual(
                padding,
                Uint8Array.from({ length: padLength }, (_, n) => n + 1),
              );
            });
            if (natt)
              for (const [, udp] of await scapy.show(...sent.public)) {
                assert.equal(udp.fields["sport"], 4500);
                assert.equal(udp.fields["dport"], 40_500);
                assert.equal(udp.fields["chksum"] === 0, family === 4);
              }

            const replies = await scapy.packets(...bodies.map((body) => `${back(family, extra)}/${body}`));
            const encrypted = await scapy.encrypt(
              toVita,
              ...replies.map((packet, i) => ({ packet, sequence: 1 + i })),
            );
            const received = gateway.send("public", encrypted);
            assert.deepEqual(received.drops, {});
            assert.deepEqual(received.private, replies);
          },
          tun,
        );

  test(
    "transport mode: IPv4 options and IPv6 extension headers stay in front of ESP",
    async (gateway) => {
      const [fromVita, toVita] = connect(gateway, 4);
      const options = ',options=[IPOption_RR(routers=["1.2.3.4","0.0.0.0"])]';
      const [packet, reply] = await scapy.packets(
        `${there(4, options)}/UDP()/Raw(b"options")`,
        `${back(4, options)}/UDP()/Raw(b"options")`,
      );
      const { public: sent } = gateway.send("private", [packet]);
      assert.deepEqual((await scapy.decrypt(fromVita, sent))[0].inner, packet);
      const [encrypted] = await scapy.encrypt(toVita, { packet: reply, sequence: 1 });
      assert.deepEqual(gateway.send("public", [encrypted]).private, [reply]);
    },
    tun,
  );

  test(
    "transport mode: IPv6 extension headers",
    async (gateway) => {
      const [fromVita, toVita] = connect(gateway, 6);
      const chains: [string, string[]][] = [
        ["IPv6ExtHdrHopByHop(options=[RouterAlert()])/UDP()", ["IPv6ExtHdrHopByHop", "ESP"]],
        ["IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])/TCP()", ["ESP"]],
        ["IPv6ExtHdrHopByHop()/IPv6ExtHdrDestOpt()/UDP()", ["IPv6ExtHdrHopByHop", "ESP"]],
        [
          "IPv6ExtHdrDestOpt()/IPv6ExtHdrRouting(segleft=0,addresses=[])/IPv6ExtHdrDestOpt()/UDP()",
          ["IPv6ExtHdrDestOpt", "IPv6ExtHdrRouting", "ESP"],
        ],
      ];
      let sequence = 1;
      for (const [chain, layers] of chains) {
        const [packet, reply] = await scapy.packets(`${there(6)}/${chain}`, `${back(6)}/${chain}`);
        const { public: sent, drops } = gateway.send("private", [packet]);
        assert.deepEqual(drops, {}, chain);
        const [shown] = await scapy.show(...sent);
        assert.deepEqual(
          shown.slice(1).map(({ layer }) => layer),
          layers,
          chain,
        );
        assert.deepEqual((await scapy.decrypt(fromVita, sent))[0].inner, packet, chain);
        // scapy puts ESP behind destination options as well.
        const [encrypted] = await scapy.encrypt(toVita, { packet: reply, sequence: sequence++ });
        const received = gateway.send("public", [encrypted]);
        assert.deepEqual(received.drops, {}, chain);
        assert.deepEqual(received.private, [reply], chain);
      }
      const beyond = await scapy.packet(`${there(6)}/IPv6ExtHdrHopByHop()/UDP()`);
      beyond[41] = 9;
      assert.deepEqual(gateway.send("private", [beyond]).drops, { "protect.drop.malformed": 1 });
    },
    tun,
  );

  test(
    "transport mode: what it does not protect",
    async (gateway) => {
      connect(gateway, 4);
      connect6(gateway);
      // Between other hosts than the SA's, though its policy would have it.
      gateway.policy({ mode: 1, from: "192.0.2.0/24", to: "192.0.2.0/24", espSpi: OUT, manualPriority: 9 });
      for (const [expression, drops] of [
        [`${there(4, ",flags=1")}/UDP()`, { "encapsulate.drop.fragment": 1 }],
        [`${there(4, ",frag=5")}/Raw(b"later")`, { "encapsulate.drop.fragment": 1 }],
        [`${there(6)}/IPv6ExtHdrFragment(m=1)/UDP()`, { "encapsulate.drop.fragment": 1 }],
        [`IP(src="${NEAR}",dst="192.0.2.9")/UDP()`, { "encapsulate.drop.address": 1 }],
        [`IP(src="192.0.2.9",dst="${FAR}")/UDP()`, { "encapsulate.drop.address": 1 }],
        [`${there(4)}/UDP()/${raw(1440)}`, { "protect.drop.too_big": 1 }],
      ] as const) {
        const result = gateway.send("private", [await scapy.packet(expression)]);
        assert.deepEqual(result.drops, drops, expression);
        assert.equal(result.public.length, 0, expression);
      }
    },
    tun,
  );

  /** An SA and a policy for IPv6 beside those of `connect`. */
  function connect6(gateway: TestGateway): void {
    const [from, to] = [`${NEAR6}/128`, `${FAR6}/128`];
    gateway.sa({ mode: 1, spi: OUT + 6, src: NEAR6, dst: FAR6, from: [from], to: [to] });
    gateway.policy({ mode: 1, from, to, src: NEAR6, dst: FAR6, espSpi: OUT + 6 });
  }

  // With AES-CBC the packet's header, whose length decides where blocks end, may ask for 12 bytes of padding.
  for (const [ciphers, longest] of [
    ["aes128gcm16", 1500 - 32 - 2],
    ["aes128-sha256", 1500 - 40 - 14],
  ] as const)
    test(
      `transport mode: the longest packet fills the link, ${ciphers}`,
      async (gateway) => {
        const [fromVita] = connect(gateway, 4, { ciphers });
        const [fits, beyond] = await scapy.packets(
          ...[longest, longest + 1].map((length) => `${there(4, ",flags=2")}/UDP()/${raw(length - 28)}`),
        );
        const { public: sent, drops } = gateway.send("private", [fits]);
        assert.deepEqual(drops, {});
        assert.equal(sent[0].length, 1500);
        assert.deepEqual((await scapy.decrypt(fromVita, sent))[0].inner, fits);
        const refused = gateway.send("private", [beyond]);
        assert.deepEqual(refused.drops, { "protect.drop.too_big": 1 });
        const [, icmp] = (await scapy.show(refused.private[0]))[0];
        assert.equal(icmp.fields["nexthopmtu"], longest);
      },
      tun,
    );

  test(
    "transport mode: protocol and ports; what no policy wants leaves in the clear",
    async (gateway) => {
      const [, toVita] = connect(gateway, 4, { near: "[tcp]", far: "[tcp/80]" });
      const [web, other, ping] = await scapy.packets(
        `${there(4)}/TCP(dport=80)`,
        `${there(4)}/TCP(dport=81)`,
        `${there(4)}/ICMP()`,
      );
      const { public: sent, drops } = gateway.send("private", [web, other, ping]);
      assert.deepEqual(drops, { "protect.unprotected": 2 });
      assert.equal(sent.length, 3);
      assert.deepEqual(sent.slice(1), [other, ping]);
      const elsewhere = await scapy.packet(`IP(src="${NEAR}",dst="192.0.2.3")/ICMP()`);
      assert.deepEqual(gateway.send("private", [elsewhere]).drops, { "protect.drop.no_policy": 1 });

      const [answer, foreign] = await scapy.packets(`${back(4)}/TCP(sport=80)`, `${back(4)}/TCP(sport=81)`);
      const encrypted = await scapy.encrypt(
        toVita,
        { packet: answer, sequence: 1 },
        { packet: foreign, sequence: 2 },
      );
      const received = gateway.send("public", encrypted);
      assert.deepEqual(received.private, [answer]);
      assert.deepEqual(received.drops, { "decapsulate.drop.selectors": 1 });
    },
    tun,
  );

  test("transport mode is for this host alone", async (gateway) => {
    assert.match(
      gateway.kernel.addPolicy(policyRequest({ mode: 1 }), 1n).reason ?? "",
      /add \{ "name": "vita0", "driver": "tun" \} to \/private-interface/,
    );
  });

  test(
    "transport mode: a host in a network cannot speak as the gateway",
    async (gateway) => {
      connect(gateway, 4);
      const packet = await scapy.packet(`${there(4)}/UDP()`);
      assert.deepEqual(gateway.send("red", [packet]).drops, { "protect.drop.not_host": 1 });
    },
    { tun: true, customers: { red: UNBOUND, blue: UNBOUND } },
  );

  test(
    "transport mode through a NAT: checksums follow the addresses (RFC 3948 §3.1.2)",
    async (gateway) => {
      for (const family of [4, 6] as const) {
        const [, toVita] = connect(gateway, family, { natt: true });
        const address = family === 4 ? "10.0.0.9" : "2001:db8:9::9";
        const bodies = [
          `UDP(sport=5,dport=6)/${raw(33)}`,
          `TCP(sport=5,dport=6)/${raw(20)}`,
          ...(family === 4
            ? [`ICMP()/${raw(9)}`, `UDP(sport=5,dport=6,chksum=0)/${raw(33)}`]
            : [`ICMPv6EchoRequest()/${raw(9)}`]),
        ];
        const before = bodies.map(
          (body) => `${back(family).replace(/src="[^"]+"/, `src="${address}"`)}/${body}`,
        );
        const packets = await scapy.packets(...before);
        const after = await scapy.packets(...bodies.map((body) => `${back(family)}/${body}`));
        const encrypted = await scapy.encrypt(
          toVita,
          ...packets.map((packet, i) => ({ packet, sequence: 1 + i })),
        );
        const source = family === 4 ? 12 : 8;
        const translated = encrypted.map((packet) => {
          const copy = packet.slice();
          copy.set(after[0].subarray(source, source + (family === 4 ? 4 : 16)), source);
          if (family === 6) return copy;
          copy[8]++;
          return forwarded(copy);
        });
        const received = gateway.send("public", translated);
        assert.deepEqual(received.drops, {});
        assert.deepEqual(received.private, after);
        gateway.kernel.flushSas();
      }
    },
    tun,
  );
}
