// Customers whose networks have the same addresses, told apart by the interface id or the mark that their ports and SAs
// have: what one sends, the other never sees.

import assert from "node:assert/strict";
import type { Binding } from "../../src/ipsec/binding.js";
import { keyOf, type PolicyOptions, type SaOptions } from "../../src/ipsec/testing/requests.js";
import { FAR, NEAR, type Side, type TestGateway } from "./gateway.js";
import type { ScapySa } from "./scapy.js";
import { forwarded, IN, OUT, type Suite, udp } from "./suite.js";

const bound = (interfaceId: number, mark: number): Binding => ({
  interfaceId,
  mark,
  interfaceIdIn: interfaceId,
  markIn: mark,
});
const whole = (value: number) => ({ value, mask: 0xffffffff });

/** What an SA and its policies have, each way. */
interface Identity {
  out?: Pick<SaOptions & PolicyOptions, "mark" | "interfaceId">;
  sa?: Pick<SaOptions, "mark" | "interfaceId" | "setMark">;
  policyIn?: Pick<PolicyOptions, "mark" | "interfaceId"> | undefined;
}

const everything = { from: "0.0.0.0/0", to: "0.0.0.0/0" };

/** The SAs and policies of one customer. */
function connect(gateway: TestGateway, spi: number, { out, sa, policyIn }: Identity): ScapySa[] {
  const any = ["0.0.0.0/0"];
  gateway.sa({ spi: OUT + spi, reqid: spi, ...out, from: any, to: any });
  gateway.sa({ spi: IN + spi, reqid: spi, inbound: true, src: FAR, dst: NEAR, from: any, to: any, ...sa });
  gateway.policy({ ...everything, ...out, espSpi: OUT + spi });
  if (policyIn)
    gateway.policy({ ...everything, ...policyIn, direction: 0, src: FAR, dst: NEAR, espSpi: IN + spi });
  const common = { esn: true };
  return [
    { ...common, spi: OUT + spi, key: keyOf(OUT + spi, 20), outer: `IP(src="${NEAR}",dst="${FAR}")` },
    { ...common, spi: IN + spi, key: keyOf(IN + spi, 20), outer: `IP(src="${FAR}",dst="${NEAR}")` },
  ];
}

export function domains({ test, scapy }: Suite): void {
  let sequence = 1;
  const receive = async (gateway: TestGateway, sa: ScapySa, to: Side | undefined, dst = "10.1.0.5") => {
    const packet = await scapy.packet(`IP(src="10.2.0.7",dst="${dst}")/UDP()/Raw(b"to one of them")`);
    const [encrypted] = await scapy.encrypt(sa, { packet, sequence: sequence++ });
    const result = gateway.send("public", [encrypted]);
    for (const side of ["private", "red", "blue"] as const)
      assert.deepEqual(result[side], side === to ? [forwarded(packet)] : [], side);
    return result;
  };
  const carries = async (gateway: TestGateway, from: Side, sa: ScapySa | undefined) => {
    const packet = await scapy.packet(udp(4, 30));
    const result = gateway.send(from, [packet]);
    if (!sa) {
      assert.deepEqual(result.drops, { "protect.drop.no_policy": 1 });
      assert.equal(result.public.length, 0);
      return;
    }
    const [{ spi, inner }] = await scapy.decrypt(sa, result.public);
    assert.equal(spi, sa.spi);
    assert.deepEqual(inner, forwarded(packet));
  };

  test(
    "interface ids: two customers and one network, 0.0.0.0/0 for both, and nobody else",
    async (gateway) => {
      await carries(gateway, "red", undefined);
      const [redOut, redIn] = connect(gateway, 1, {
        out: { interfaceId: 10 },
        sa: { interfaceId: 10 },
        policyIn: { interfaceId: 10 },
      });
      await carries(gateway, "blue", undefined);
      const [blueOut, blueIn] = connect(gateway, 2, {
        out: { interfaceId: 20 },
        sa: { interfaceId: 20 },
        policyIn: { interfaceId: 20 },
      });
      await carries(gateway, "red", redOut);
      await carries(gateway, "blue", blueOut);
      await carries(gateway, "private", undefined);
      await receive(gateway, redIn, "red");
      await receive(gateway, blueIn, "blue");
      // Other networks are nothing to the customer's routes, but to the policies, which have a tunnel for them (hub.ts).
      const { public: again, drops } = await receive(gateway, blueIn, undefined, "192.0.2.9");
      assert.deepEqual(drops, {});
      assert.equal((await scapy.decrypt(blueOut, again))[0].spi, blueOut.spi);

      const [plainOut, plainIn] = connect(gateway, 3, { policyIn: {} });
      await carries(gateway, "private", plainOut);
      await carries(gateway, "red", redOut);
      await receive(gateway, plainIn, "private");
      const [, nobodys] = connect(gateway, 4, { sa: { interfaceId: 30 }, policyIn: { interfaceId: 30 } });
      assert.deepEqual((await receive(gateway, nobodys, undefined)).drops, { "route.drop.no_domain": 1 });
    },
    { customers: { red: bound(10, 0), blue: bound(20, 0) } },
  );

  test(
    "interface ids that differ by direction",
    async (gateway) => {
      const [out, back] = connect(gateway, 1, {
        out: { interfaceId: 11 },
        sa: { interfaceId: 10 },
        policyIn: { interfaceId: 10 },
      });
      await carries(gateway, "red", out);
      await carries(gateway, "blue", undefined);
      await receive(gateway, back, "red");
    },
    { customers: { red: { ...bound(11, 0), interfaceIdIn: 10 }, blue: bound(10, 5) } },
  );

  test(
    "marks: those of the policies, masked; unknown until the `in` policy comes",
    async (gateway) => {
      const mark = { value: 0x10, mask: 0xf0 };
      const [redOut, redIn] = connect(gateway, 1, { out: { mark } });
      await carries(gateway, "red", redOut);
      await carries(gateway, "blue", undefined);
      await carries(gateway, "private", undefined);
      assert.deepEqual((await receive(gateway, redIn, undefined)).drops, { "route.drop.no_domain": 1 });
      gateway.policy({ ...everything, mark, direction: 0, src: FAR, dst: NEAR, espSpi: IN + 1 });
      await receive(gateway, redIn, "red");

      const [blueOut, blueIn] = connect(gateway, 2, {
        out: { mark: whole(0x20) },
        policyIn: { mark: whole(0x20) },
      });
      await carries(gateway, "blue", blueOut);
      await carries(gateway, "red", redOut);
      await receive(gateway, blueIn, "blue");

      // Without a mark a policy is for packets with any, but comes after those that are newer.
      const [anyOut, anyIn] = connect(gateway, 3, { policyIn: {} });
      await carries(gateway, "private", anyOut);
      await carries(gateway, "blue", anyOut);
      await receive(gateway, anyIn, "private");
    },
    { customers: { red: bound(0, 0x12), blue: bound(0, 0x20) } },
  );

  test(
    "marks of the SA itself, and those that set_mark_in sets",
    async (gateway) => {
      const cases: [Identity["sa"], Identity["policyIn"], Side | undefined][] = [
        [{ mark: whole(1) }, undefined, "red"],
        [{ mark: whole(2) }, {}, "blue"],
        [{ setMark: whole(2) }, undefined, "blue"],
        [{ setMark: whole(1) }, {}, "red"],
        // The `in` policy asks for another mark than the one that is set: it does not match, and nothing passes.
        [{ setMark: whole(1) }, { mark: whole(2) }, undefined],
        [{ setMark: whole(3) }, {}, undefined],
        // The set mark changes the bits of its mask alone.
        [{ mark: { value: 3, mask: 0 }, setMark: { value: 2, mask: 0xf } }, {}, "blue"],
        [{ mark: { value: 0x100, mask: 0xff00 }, setMark: { value: 2, mask: 0xf } }, {}, undefined],
        [{ interfaceId: 7, setMark: whole(1) }, { interfaceId: 7 }, undefined],
      ];
      for (const [i, [sa, policyIn, side]] of cases.entries()) {
        const [, back] = connect(gateway, 1 + i, { ...(sa && { sa }), policyIn });
        const { drops } = await receive(gateway, back, side);
        assert.deepEqual(drops, side === undefined ? { "route.drop.no_domain": 1 } : {}, `case ${i}`);
      }
    },
    { customers: { red: bound(0, 1), blue: bound(0, 2) } },
  );

  test(
    "what comes in transport mode is for the host, whomever the packet before was for",
    async (gateway) => {
      const [, red] = connect(gateway, 1, { out: { interfaceId: 10 }, sa: { interfaceId: 10 } });
      const ends = { src: FAR, dst: NEAR, from: [`${FAR}/32`], to: [`${NEAR}/32`] };
      gateway.sa({ spi: IN + 2, mode: 1, inbound: true, reqid: 2, ...ends });
      await receive(gateway, red, "red");
      const host: ScapySa = { esn: true, spi: IN + 2, key: keyOf(IN + 2, 20), outer: "" };
      const packet = await scapy.packet(`IP(src="${FAR}",dst="${NEAR}")/UDP()/Raw(b"to the host")`);
      const encrypted = await scapy.encrypt(host, { packet, sequence: 1 });
      const result = gateway.send("public", encrypted);
      assert.deepEqual(result.drops, {});
      assert.deepEqual(result.private, [packet]);
    },
    { tun: true, customers: { red: bound(10, 0), blue: bound(20, 0) } },
  );

  test(
    "errors to senders stay with their customer",
    async (gateway) => {
      connect(gateway, 1, { out: { interfaceId: 10 }, sa: { interfaceId: 10 } });
      const packet = await scapy.packet(udp(4, 30, ",ttl=1"));
      for (const side of ["red", "private"] as const) {
        const result = gateway.send(side, [packet]);
        assert.equal(result[side].length, 1, side);
        assert.equal(result.red.length + result.blue.length + result.private.length, 1);
        const [ip] = (await scapy.show(result[side][0]))[0];
        assert.equal(ip.fields["src"], "10.1.0.1");
        assert.equal(ip.fields["dst"], "10.1.0.5");
      }
    },
    { customers: { red: bound(10, 0), blue: bound(20, 0) } },
  );
}
