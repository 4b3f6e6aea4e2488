// From tunnel to tunnel: what came out of one and lies behind another is protected again, or goes nowhere. The gateway is a
// hub with its network, 10.1.0.0/16, between two spokes, 10.2.0.0/16 and 10.3.0.0/16, and the same in IPv6.

import assert from "node:assert/strict";
import type { Binding } from "../../src/ipsec/binding.js";
import {
  keyOf,
  type PolicyOptions,
  policyRequest,
  type SaOptions,
  saId,
} from "../../src/ipsec/testing/requests.js";
import { FAR, NEAR, succeed, type TestGateway } from "./gateway.js";
import type { ScapySa } from "./scapy.js";
import { forwarded, IN, OUT, type Suite } from "./suite.js";

type Identity = Pick<SaOptions & PolicyOptions, "mark" | "interfaceId">;
type Family = 4 | 6;

const whole = (value: number) => ({ value, mask: 0xffffffff });
const bound = (interfaceId: number, mark: number): Binding => ({
  interfaceId,
  mark,
  interfaceIdIn: interfaceId,
  markIn: mark,
});
const networks = { 4: (n: number) => `10.${n}.0.0/16`, 6: (n: number) => `2001:db8:${n}::/48` };
const everything = { 4: "10.0.0.0/8", 6: "2001:db8::/32" };
const host = (family: Family, n: number) => (family === 4 ? `10.${n}.0.7` : `2001:db8:${n}::7`);

/** As scapy sees the tunnel of a spoke. */
interface Spoke {
  fromHub: ScapySa;
  toHub: ScapySa;
}

/** The SAs of spoke number `n`, without a policy. */
function tunnel(gateway: TestGateway, n: number, spi: number, identity: Identity, options = {}): Spoke {
  const all = [everything[4], everything[6]];
  const its = [networks[4](n), networks[6](n)];
  gateway.sa({ spi: OUT + spi, reqid: spi, from: all, to: its, ...identity, ...options });
  const ends = { inbound: true, src: FAR, dst: NEAR };
  gateway.sa({ spi: IN + spi, reqid: spi, ...ends, from: its, to: all, ...identity });
  const both = { esn: true, cipher: "AES-GCM" };
  return {
    fromHub: { ...both, spi: OUT + spi, key: keyOf(OUT + spi, 20), outer: `IP(src="${NEAR}",dst="${FAR}")` },
    toHub: { ...both, spi: IN + spi, key: keyOf(IN + spi, 20), outer: `IP(src="${FAR}",dst="${NEAR}")` },
  };
}

/** With the policies: from everywhere to the spoke. */
function spoke(gateway: TestGateway, n: number, spi = n, identity: Identity = {}, options = {}): Spoke {
  const made = tunnel(gateway, n, spi, identity, options);
  for (const family of [4, 6] as const) {
    const ends = { from: everything[family], to: networks[family](n) };
    gateway.policy({ ...ends, reqid: spi, espSpi: OUT + spi, ...identity });
    const back = { from: ends.to, to: ends.from, direction: 0, src: FAR, dst: NEAR };
    gateway.policy({ ...back, reqid: spi, espSpi: IN + spi, ...identity });
  }
  return made;
}

function udp(family: Family, from: number, to: number, id: number, length = 20, extra = ""): string {
  const ip = family === 4 ? `IP(id=${id},` : "IPv6(";
  const ends = `src="${host(family, from)}",dst="${host(family, to)}"`;
  return `${ip}${ends}${extra})/UDP(sport=${1000 + (id & 1)},dport=2000)/Raw(bytes(i*3&255 for i in range(${length})))`;
}

export function hub({ test, scapy }: Suite): void {
  let sequence = 1;
  const receive = async (gateway: TestGateway, { toHub }: Spoke, packets: Uint8Array[]) =>
    gateway.send(
      "public",
      await scapy.encrypt(toHub, ...packets.map((packet) => ({ packet, sequence: sequence++ }))),
    );
  const decrypted = async ({ fromHub }: Spoke, packets: Uint8Array[]) =>
    (await scapy.decrypt(fromHub, packets)).map(({ inner }) => inner);

  test("from spoke to spoke both ways, in order, TTL one lower, and to the hub's network as before", async (gateway) => {
    const two = spoke(gateway, 2);
    const three = spoke(gateway, 3);
    for (const [from, to, near, far] of [
      [2, 3, two, three],
      [3, 2, three, two],
      // And back into the tunnel that they came by, which the policies allow: the TTL ends that.
      [2, 2, two, two],
    ] as const)
      for (const family of [4, 6] as const) {
        const packets = await scapy.packets(
          ...Array.from({ length: 9 }, (_, i) => udp(family, from, i % 4 === 3 ? 1 : to, i, 20 + i)),
        );
        const result = await receive(gateway, near, packets);
        assert.deepEqual(result.drops, {});
        const isOnward = (_: unknown, i: number) => i % 4 !== 3;
        assert.deepEqual(await decrypted(far, result.public), packets.filter(isOnward).map(forwarded));
        const home = packets.filter((_, i) => i % 4 === 3);
        assert.deepEqual(result.private, home.map(forwarded));
      }
  });

  test("the hub's network comes first, whatever the policies say of it", async (gateway) => {
    const two = spoke(gateway, 2);
    spoke(gateway, 1, 9);
    const [packet] = await scapy.packets(udp(4, 2, 1, 1));
    const result = await receive(gateway, two, [packet]);
    assert.deepEqual(result.private, [forwarded(packet)]);
    assert.deepEqual(result.public, []);
  });

  test("nothing leaves in the clear: not by a pass policy, nor without one, wherever the route leads", async (gateway) => {
    const two = spoke(gateway, 2);
    const pass = { from: everything[4], to: networks[4](3), type: 2, priorityClass: 0 };
    gateway.policy(pass);
    gateway.policy({ from: everything[4], to: networks[4](4), type: 3 });
    gateway.policy({ from: everything[4], to: networks[4](5), usesEsp: true, reqid: 0 });
    gateway.policy({ from: "10.1.0.0/16", to: networks[4](6), reqid: 2, espSpi: OUT + 2 });
    const cases: [number, string][] = [
      [3, "protect.drop.public"],
      [4, "protect.drop.policy"],
      [5, "protect.drop.no_sa"],
      // From elsewhere.
      [6, "protect.drop.public"],
      [7, "protect.drop.public"],
    ];
    for (const isRouted of [true, false]) {
      gateway.route("public", "0.0.0.0/0", FAR, isRouted);
      for (const [to, counter] of cases) {
        const packets = await scapy.packets(udp(4, 2, to, 0), udp(4, 2, to, 0));
        const result = await receive(gateway, two, packets);
        assert.deepEqual(result.drops, { [counter]: 2 }, `to ${to}`);
        assert.equal(result.public.length + result.private.length, 0);
      }
    }
    // What a host of the hub's network sends may.
    gateway.route("public", "0.0.0.0/0", FAR);
    const [mine] = await scapy.packets(udp(4, 1, 3, 1));
    assert.deepEqual(gateway.send("private", [mine]).public, [forwarded(mine)]);
    // A tunnel that comes in front of the pass policy protects again.
    succeed(gateway.kernel.deletePolicy(policyRequest(pass)));
    const three = spoke(gateway, 3);
    const [packet] = await scapy.packets(udp(4, 2, 3, 1));
    const { public: sent } = await receive(gateway, two, [packet]);
    assert.deepEqual(await decrypted(three, sent), [forwarded(packet)]);
  });

  test(
    "transport mode protects this host's packets, not those of a tunnel",
    async (gateway) => {
      const red = { interfaceId: 10 };
      const two = spoke(gateway, 2, 2, red);
      tunnel(gateway, 3, 3, red, { mode: 1, from: [networks[4](2)], to: [networks[4](3)] });
      const mode = { mode: 1, reqid: 3, espSpi: OUT + 3, ...red };
      gateway.policy({ from: everything[4], to: networks[4](3), ...mode });
      const result = await receive(gateway, two, await scapy.packets(udp(4, 2, 3, 0), udp(6, 2, 3, 0)));
      assert.deepEqual(result.drops, { "protect.drop.not_host": 1, "protect.drop.public": 1 });
      assert.equal(result.public.length, 0);
    },
    { tun: true, customers: { red: bound(10, 0), blue: bound(20, 0) } },
  );

  test("a trap has them wait for their SA, and they do not leave in the clear when it becomes another policy", async (gateway) => {
    const two = spoke(gateway, 2);
    const ends = { from: everything[4], to: networks[4](3), reqid: 3 };
    const trap = { ...ends, priorityClass: 2 };
    gateway.policy(trap);
    const packets = await scapy.packets(...[0, 2, 4].map((id) => udp(4, 2, 3, id)));
    assert.deepEqual((await receive(gateway, two, packets.slice(0, 2))).drops, {});
    assert.equal(gateway.graph.queue.count, 2);
    assert.equal(gateway.takeEvents().length, 1);
    const three = tunnel(gateway, 3, 3, {});
    gateway.policy({ ...ends, espSpi: OUT + 3 });
    const { public: sent } = await receive(gateway, two, packets.slice(2));
    assert.deepEqual(await decrypted(three, sent), packets.map(forwarded));

    succeed(gateway.kernel.deletePolicy(policyRequest({ ...ends, espSpi: OUT + 3 })));
    succeed(gateway.kernel.deleteSa(saId(OUT + 3)));
    await receive(gateway, two, packets.slice(0, 1));
    assert.equal(gateway.graph.queue.count, 1);
    gateway.policy({ ...ends, type: 2, priorityClass: 0 });
    const result = gateway.send("private", []);
    assert.deepEqual(result.drops, { "protect.drop.public": 1 });
    assert.equal(result.public.length, 0);
  });

  for (const family of [4, 6] as const)
    test(`errors go back through the sender's tunnel, IPv${family}`, async (gateway) => {
      const two = spoke(gateway, 2);
      const three = spoke(gateway, 3, 3, {}, { udpEncapsulation: true, ports: [4500, 4500] });
      const dying = family === 4 ? ",ttl=1" : ",hlim=1";
      const header = family === 4 ? 28 : 48;
      const inner = 1438;
      const [expired, tooLong, fits] = await scapy.packets(
        udp(family, 2, 3, 0, 20, dying),
        udp(family, 2, 3, 1, inner + 1 - header, family === 4 ? ',flags="DF"' : ""),
        udp(family, 2, 3, 2, inner - header, family === 4 ? ',flags="DF"' : ""),
      );
      for (const [packet, drop, type, code] of [
        [expired, "route.drop.ttl", family === 4 ? 11 : 3, 0],
        [tooLong, "protect.drop.too_big", family === 4 ? 3 : 2, family === 4 ? 4 : 0],
      ] as const) {
        const result = await receive(gateway, two, [packet]);
        assert.deepEqual(result.drops, { [drop]: 1 });
        assert.equal(result.private.length, 0);
        const [error] = await decrypted(two, result.public);
        await scapy.assertSound([error], false);
        const [[ip, icmp]] = await scapy.show(error);
        assert.equal(ip.fields["src"], family === 4 ? "10.1.0.1" : "2001:db8:1::1");
        assert.equal(ip.fields["dst"], host(family, 2));
        assert.deepEqual([...error.subarray(header - 8, header - 6)], [type, code]);
        if (drop === "protect.drop.too_big")
          assert.equal(icmp.fields[family === 4 ? "nexthopmtu" : "mtu"], inner);
      }
      const natt = { ...three, fromHub: { ...three.fromHub, natt: [4500, 4500] as [number, number] } };
      const { public: sent } = await receive(gateway, two, [fits]);
      assert.deepEqual(await decrypted(natt, sent), [forwarded(fits)]);
    });

  test("what may be cut is cut for the next tunnel", async (gateway) => {
    const two = spoke(gateway, 2);
    const three = spoke(gateway, 3);
    gateway.link("public", 1000);
    const packets = await scapy.packets(udp(4, 2, 3, 6, 1300), udp(4, 2, 3, 8, 10));
    const { public: sent, drops } = await receive(gateway, two, packets);
    assert.deepEqual(drops, {});
    const pieces = await decrypted(three, sent);
    assert.equal(pieces.length, 3);
    assert.deepEqual(await scapy.reassemble(pieces.slice(0, 2)), [forwarded(packets[0])]);
    assert.deepEqual(pieces[2], forwarded(packets[1]));
  });

  test("an error that no policy takes to its sender ends here", async (gateway) => {
    const two = tunnel(gateway, 2, 2, {});
    gateway.policy({ from: "10.1.0.0/16", to: networks[4](2), type: 2 });
    const [packet] = await scapy.packets(udp(4, 2, 3, 0, 20, ",ttl=1"));
    const result = await receive(gateway, two, [packet]);
    assert.deepEqual(result.drops, { "route.drop.ttl": 1, "protect.drop.public": 1 });
    assert.deepEqual(result.public, []);
  });

  const customers: [string, Record<"red" | "blue", Binding>, Record<"red" | "blue", Identity>][] = [
    [
      "interface ids",
      { red: bound(10, 0), blue: bound(20, 0) },
      { red: { interfaceId: 10 }, blue: { interfaceId: 20 } },
    ],
    ["marks", { red: bound(0, 1), blue: bound(0, 2) }, { red: { mark: whole(1) }, blue: { mark: whole(2) } }],
    [
      // Red has red's mark under the mask, and comes first.
      "both, and a mask",
      { red: bound(7, 0x12), blue: bound(7, 0x20) },
      {
        red: { interfaceId: 7, mark: { value: 0x10, mask: 0xf0 } },
        blue: { interfaceId: 7, mark: { value: 0x20, mask: 0xf0 } },
      },
    ],
  ];
  for (const [name, ports, identities] of customers)
    test(
      `a customer's tunnels lead into the customer's own: ${name}`,
      async (gateway) => {
        const red = [spoke(gateway, 2, 2, identities.red), spoke(gateway, 3, 3, identities.red)];
        const blue = spoke(gateway, 2, 4, identities.blue);
        const [packet, dying] = await scapy.packets(udp(4, 2, 3, 0), udp(4, 2, 3, 0, 20, ",ttl=1"));
        const carried = await receive(gateway, red[0], [packet]);
        assert.deepEqual(await decrypted(red[1], carried.public), [forwarded(packet)]);
        const refused = await receive(gateway, blue, [packet]);
        assert.deepEqual(refused.drops, { "protect.drop.public": 1 });
        assert.deepEqual(refused.public, []);
        // Blue's own; and an error goes to the customer whose packet it is about.
        const other = spoke(gateway, 3, 5, identities.blue);
        const again = await receive(gateway, blue, [packet]);
        assert.deepEqual(await decrypted(other, again.public), [forwarded(packet)]);
        const { public: errors } = await receive(gateway, blue, [dying]);
        const [error] = await decrypted(blue, errors);
        assert.equal(error[20], 11);
      },
      { customers: ports },
    );

  test(
    "an SA that is for every domain: the policies of the first one, which are those without a mark",
    async (gateway) => {
      const two = spoke(gateway, 2);
      const marked = spoke(gateway, 3, 3, { mark: whole(2) });
      const [packet] = await scapy.packets(udp(4, 2, 3, 0));
      assert.deepEqual((await receive(gateway, two, [packet])).drops, { "protect.drop.public": 1 });
      const [back] = await scapy.packets(udp(4, 3, 2, 0));
      const { public: sent } = await receive(gateway, marked, [back]);
      assert.deepEqual(await decrypted(two, sent), [forwarded(back)], "a policy without a mark is for any");
    },
    { customers: { red: bound(0, 1), blue: bound(0, 2) } },
  );

  test(
    "where this host is the only private side, its kernel routes",
    async (gateway) => {
      const two = spoke(gateway, 2);
      const three = spoke(gateway, 3);
      const [packet] = await scapy.packets(udp(4, 2, 3, 0));
      const { private: taken } = await receive(gateway, two, [packet]);
      assert.deepEqual(taken, [packet]);
      const { public: sent } = gateway.send("private", [forwarded(packet)]);
      assert.deepEqual(await decrypted(three, sent), [forwarded(packet)]);
    },
    { tun: true },
  );
}
