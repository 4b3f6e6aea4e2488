// What may enter a tunnel and what may come out of it (RFC 4301 §5): policies outbound, the SA's selectors inbound.

import assert from "node:assert/strict";
import { FAR, NEAR, type TestGateway } from "./gateway.js";
import type { Scapy, ScapySa } from "./scapy.js";
import { forwarded, makeTunnel, OUT, type Suite, type TunnelOptions } from "./suite.js";

/** Expressions with `SRC` and `DST` in the place of addresses; whether they fit the tunnel. */
type Cases = [expression: string, src: string, dst: string, fits: boolean][];

async function outbound(gateway: TestGateway, scapy: Scapy, cases: Cases): Promise<void> {
  for (const [expression, src, dst, fits] of cases) {
    const packet = await scapy.packet(expression.replace("SRC", src).replace("DST", dst));
    const result = gateway.send("private", [packet]);
    const name = `${expression} from ${src} to ${dst}`;
    assert.equal(result.public.length, fits ? 1 : 0, name);
    assert.deepEqual(result.drops, fits ? {} : { "protect.drop.no_policy": 1 }, name);
  }
}

let sequence = 1;

/** The same packets from the other side: addresses and ports change places. */
async function inbound(gateway: TestGateway, scapy: Scapy, sa: ScapySa, cases: Cases): Promise<void> {
  for (const [expression, src, dst, fits] of cases) {
    const swapped = expression.replace(/sport=(\d+),dport=(\d+)/, "sport=$2,dport=$1");
    const packet = await scapy.packet(swapped.replace("SRC", dst).replace("DST", src));
    const [encrypted] = await scapy.encrypt(sa, { packet, sequence: sequence++ });
    const result = gateway.send("public", [encrypted]);
    const name = `${swapped} from ${dst} to ${src}`;
    assert.deepEqual(result.drops, fits ? {} : { "decapsulate.drop.selectors": 1 }, name);
    assert.deepEqual(result.private, fits ? [forwarded(packet)] : [], name);
  }
}

const ip = (rest: string) => `IP(src="SRC",dst="DST")/${rest}`;
const ip6 = (rest: string) => `IPv6(src="SRC",dst="DST")/${rest}`;
const udpPorts = (sport: number, dport: number) => ip(`UDP(sport=${sport},dport=${dport})/Raw(b"x")`);

export function selectors({ test, scapy }: Suite): void {
  const bothWays = (name: string, options: TunnelOptions, cases: Cases) =>
    test(name, async (gateway) => {
      const { toVita } = makeTunnel(gateway, options);
      await outbound(gateway, scapy, cases);
      await inbound(gateway, scapy, toVita, cases);
    });

  test("policies that are bound to an interface", async (gateway) => {
    makeTunnel(gateway);
    const protect = { from: "10.1.9.0/24", to: "10.2.0.0/16", espSpi: OUT };
    const pass = { from: "10.1.0.0/16", to: "192.0.2.0/24", type: 2, priorityClass: 0, reqid: 0 };
    const send = async (src: string, dst: string) => {
      const packet = await scapy.packet(`IP(src="${src}",dst="${dst}")/UDP()`);
      const result = gateway.send("private", [packet]);
      return result.public.length === 1 ? {} : result.drops;
    };
    const elsewhere = { "protect.drop.interface": 1 };
    gateway.policy({ ...protect, interface: "public" });
    gateway.policy({ ...pass, interface: "public" });
    assert.deepEqual(await send("10.1.9.1", "10.2.0.1"), {});
    assert.deepEqual(await send("10.1.9.1", FAR), {});
    // Newer ones come first.
    gateway.policy({ ...protect, interface: "elsewhere" });
    gateway.policy({ ...pass, interface: "elsewhere" });
    assert.deepEqual(await send("10.1.9.1", "10.2.0.1"), elsewhere);
    assert.deepEqual(await send("10.1.9.1", FAR), elsewhere);
    assert.deepEqual(await send("10.1.8.1", "10.2.0.1"), {}, "the tunnel's own policy is not bound");
  });

  bothWays("prefixes", { from: ["10.1.4.0/22"], to: ["10.2.0.0/16"] }, [
    [ip("UDP()"), "10.1.4.0", "10.2.255.255", true],
    [ip("UDP()"), "10.1.7.255", "10.2.0.0", true],
    [ip("UDP()"), "10.1.3.255", "10.2.0.0", false],
    [ip("UDP()"), "10.1.8.0", "10.2.0.0", false],
    [ip("UDP()"), "10.1.4.1", "10.3.0.0", false],
    [ip("UDP()"), "10.1.4.1", "10.1.255.255", false],
    [ip6("UDP()"), "2001:db8:1::1", "2001:db8:2::1", false],
  ]);

  bothWays(
    "address ranges that are no prefixes",
    {
      from: ["10.1.0.5-10.1.1.2", "2001:db8:1::3-2001:db8:1::1:0"],
      to: ["10.2.0.7-10.2.0.7", "10.2.9.255-10.2.11.0", "2001:db8:2::/64"],
    },
    [
      [ip("TCP()"), "10.1.0.5", "10.2.0.7", true],
      [ip("TCP()"), "10.1.1.2", "10.2.10.9", true],
      [ip("TCP()"), "10.1.0.255", "10.2.11.0", true],
      [ip("TCP()"), "10.1.0.4", "10.2.0.7", false],
      [ip("TCP()"), "10.1.1.3", "10.2.0.7", false],
      [ip("TCP()"), "10.1.0.9", "10.2.0.8", false],
      [ip("TCP()"), "10.1.0.9", "10.2.9.254", false],
      [ip("TCP()"), "10.1.0.9", "10.2.11.1", false],
      [ip6("TCP()"), "2001:db8:1::3", "2001:db8:2::9", true],
      [ip6("TCP()"), "2001:db8:1::1:0", "2001:db8:2::9", true],
      [ip6("TCP()"), "2001:db8:1::ffff", "2001:db8:2::ffff:ffff:ffff:ffff", true],
      [ip6("TCP()"), "2001:db8:1::2", "2001:db8:2::9", false],
      [ip6("TCP()"), "2001:db8:1::1:1", "2001:db8:2::9", false],
      [ip6("TCP()"), "2001:db8:1::4", "2001:db8:2:1::9", false],
    ],
  );

  const [near, far] = ["10.1.0.5", "10.2.0.7"];
  bothWays(
    "protocols and ports",
    {
      from: ["10.1.0.0/16[udp]", "10.1.0.0/16[tcp/443]"],
      to: ["10.2.0.0/16[udp/53]", "10.2.0.0/16[tcp/1000-1999]"],
    },
    [
      [udpPorts(999, 53), near, far, true],
      [udpPorts(53, 999), near, far, false],
      [udpPorts(53, 53), near, "10.3.0.1", false],
      [ip("TCP(sport=443,dport=1000)"), near, far, true],
      [ip("TCP(sport=443,dport=1999)"), near, far, true],
      [ip("TCP(sport=443,dport=2000)"), near, far, false],
      [ip("TCP(sport=444,dport=1500)"), near, far, false],
      [ip("TCP(sport=443,dport=53)"), near, far, false],
      [ip("SCTP(sport=443,dport=1500)"), near, far, false],
      [ip("ICMP()"), near, far, false],
      // The ports stand behind the options.
      ['IP(src="SRC",dst="DST",options=[IPOption_NOP()]*4)/UDP(sport=9,dport=53)', near, far, true],
      ['IP(src="SRC",dst="DST",options=[IPOption_NOP()]*4)/UDP(sport=9,dport=54)', near, far, false],
    ],
  );

  bothWays("ICMP types and codes", { from: ["10.1.0.0/16[icmp/8.0]"], to: ["10.2.0.0/16[icmp]"] }, [
    [ip("ICMP(type=8)"), near, far, true],
    [ip("ICMP(type=8,code=1)"), near, far, false],
    [ip("ICMP(type=13)"), near, far, false],
    [ip("UDP()"), near, far, false],
  ]);

  bothWays(
    "behind IPv6 extension headers",
    { from: ["2001:db8:1::/48[udp/7]"], to: ["2001:db8:2::/48[udp]"] },
    [
      [ip6("IPv6ExtHdrHopByHop()/UDP(sport=7,dport=9)"), "2001:db8:1::1", "2001:db8:2::1", true],
      [
        ip6("IPv6ExtHdrDestOpt()/IPv6ExtHdrFragment(m=1)/UDP(sport=7,dport=9)"),
        "2001:db8:1::1",
        "2001:db8:2::1",
        true,
      ],
      [ip6("IPv6ExtHdrDestOpt()/UDP(sport=8,dport=9)"), "2001:db8:1::1", "2001:db8:2::1", false],
      [ip6("IPv6ExtHdrDestOpt()/TCP(sport=7,dport=9)"), "2001:db8:1::1", "2001:db8:2::1", false],
    ],
  );

  bothWays(
    "fragments without ports do not fit selectors with ports",
    { from: ["10.1.0.0/16[udp]"], to: ["10.2.0.0/16[udp/53]"] },
    [
      ['IP(src="SRC",dst="DST",proto=17,frag=100)/Raw(b"12345678")', near, far, false],
      ['IP(src="SRC",dst="DST",proto=17)/Raw(b"12")', near, far, false],
    ],
  );

  bothWays(
    "fragments without ports fit selectors that name but the protocol",
    { from: ["10.1.0.0/16[udp]"], to: ["10.2.0.0/16[udp]"] },
    [
      ['IP(src="SRC",dst="DST",proto=17,frag=100)/Raw(b"12345678")', near, far, true],
      ['IP(src="SRC",dst="DST",proto=6,frag=100)/Raw(b"12345678")', near, far, false],
    ],
  );

  bothWays(
    "opaque ports: later fragments alone",
    { from: ["10.1.0.0/16[udp/opaque]"], to: ["10.2.0.0/16[udp/opaque]"] },
    [
      ['IP(src="SRC",dst="DST",proto=17,frag=100)/Raw(b"12345678")', near, far, true],
      [udpPorts(0, 0), near, far, false],
    ],
  );

  test("a later fragment of IPv6 whose next header is an extension header", async (gateway) => {
    makeTunnel(gateway, { from: ["2001:db8:1::/48[udp]"], to: ["2001:db8:2::/48[udp]"] });
    const packet = await scapy.packet(
      'IPv6(src="2001:db8:1::1",dst="2001:db8:2::1")/IPv6ExtHdrFragment(offset=9,nh=60)/Raw(b"12345678")',
    );
    assert.deepEqual(gateway.send("private", [packet]).drops, { "protect.drop.no_policy": 1 });
  });

  test("policies: pass in the clear, drop, protect without an SA and a way to get one", async (gateway) => {
    makeTunnel(gateway);
    gateway.policy({ to: "10.2.3.0/24", type: 2, priorityClass: 0 });
    gateway.policy({ to: "203.0.113.0/24", type: 2, priorityClass: 0 });
    gateway.policy({ from: "::/0", to: "2001:db8:ffff::/48", type: 2, priorityClass: 0 });
    gateway.policy({ to: "10.2.4.0/24", type: 3 });
    gateway.policy({ to: "10.7.0.0/16", priorityClass: 2, reqid: 0 });
    const to = (dst: string) => `IP(src="10.1.0.5",dst="${dst}")/UDP()/Raw(b"clear")`;
    const [clear, dropped, trapped, nowhere, far6] = await scapy.packets(
      to("203.0.113.9"),
      to("10.2.4.1"),
      to("10.7.0.1"),
      to(NEAR).replace(NEAR, "10.2.3.4"),
      'IPv6(src="2001:db8:1::5",dst="2001:db8:ffff::1")/UDP()',
    );
    const bypassed = gateway.send("private", [clear]);
    assert.deepEqual(bypassed.public, [forwarded(clear)]);
    assert.deepEqual(bypassed.drops, {});
    assert.deepEqual(gateway.send("private", [dropped]).drops, { "protect.drop.policy": 1 });
    assert.deepEqual(gateway.send("private", [trapped]).drops, { "protect.drop.no_sa": 1 });
    assert.deepEqual(gateway.send("private", [far6]).drops, { "protect.drop.no_route": 1 });
    gateway.route("public", "0.0.0.0/0", "192.0.2.2", false);
    assert.deepEqual(gateway.send("private", [nowhere]).drops, { "protect.drop.no_route": 1 });
  });

  test("no route to the tunnel's far end", async (gateway) => {
    gateway.sa({ spi: OUT, dst: "198.51.100.1" });
    gateway.policy({ dst: "198.51.100.1", espSpi: OUT });
    const packet = await scapy.packet(udpPorts(1, 2).replace("SRC", near).replace("DST", far));
    assert.equal(gateway.send("private", [packet]).public.length, 1);
    gateway.route("public", "0.0.0.0/0", "192.0.2.2", false);
    assert.deepEqual(gateway.send("private", [packet]).drops, { "protect.drop.no_route": 1 });
  });
}
