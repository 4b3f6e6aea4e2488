// What authentic and unauthentic packets may contain, and the lengths that an ESP packet can have.

import assert from "node:assert/strict";
import type { Encapsulate } from "../../src/ipsec/encapsulate.js";
import { SaFlag, saSlot } from "../../src/ipsec/sad-layout.js";
import { policyRequest, saId } from "../../src/ipsec/testing/requests.js";
import { ethernet, succeed, type TestGateway } from "./gateway.js";
import type { Scapy, ScapySa, Trailer } from "./scapy.js";
import { forwarded, IN, makeTunnel, OUT, type Suite, udp } from "./suite.js";

const counting = (length: number) => Uint8Array.from({ length }, (_, i) => i + 1);

interface Case {
  what: string;
  packet: Uint8Array;
  padding?: Uint8Array;
  padLength?: number;
  nextHeader?: number;
  /** Name of the counter, or none when the packet is to arrive. */
  drop?: string;
}

/** Sends each case as an authentic packet and looks where it ended. */
async function tryCases(
  gateway: TestGateway,
  scapy: Scapy,
  sa: ScapySa,
  cases: Case[],
): Promise<Uint8Array[]> {
  const encrypted = await scapy.encrypt(
    sa,
    ...cases.map(({ packet, padding = counting((2 - packet.length) & 3), padLength, nextHeader = 4 }, i) => ({
      packet,
      sequence: 1 + i,
      trailer: { padding, padLength: padLength ?? padding.length, nextHeader } satisfies Trailer,
    })),
  );
  return encrypted.flatMap((packet, i) => {
    const { what, drop } = cases[i];
    const result = gateway.send("public", [packet]);
    assert.deepEqual(result.drops, drop === undefined ? {} : { [`decapsulate.${drop}`]: 1 }, what);
    assert.equal(result.private.length, drop === undefined ? 1 : 0, what);
    return result.private;
  });
}

export function content({ test, scapy }: Suite): void {
  test("padding and pad length (RFC 4303 §2.4)", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 40, "", true));
    const bad = "drop.bad_padding";
    const wrongByte = counting(202);
    wrongByte[100] = 0;
    await tryCases(gateway, scapy, toVita, [
      {
        what: "pad length 255 beyond a short payload",
        packet,
        padding: counting(2),
        padLength: 255,
        drop: bad,
      },
      {
        what: "pad length one beyond",
        packet: new Uint8Array(0),
        padding: counting(2),
        padLength: 3,
        drop: bad,
      },
      { what: "all of it padding", packet: new Uint8Array(0), padding: counting(2), drop: "drop.bad_inner" },
      {
        what: "255 bytes of right padding",
        packet: packet.slice(0, 67),
        padding: counting(255),
        drop: "drop.bad_inner",
      },
      { what: "zeros", packet, padding: Uint8Array.of(0, 0), drop: bad },
      { what: "the last byte wrong", packet, padding: Uint8Array.of(1, 3), drop: bad },
      { what: "one byte of many wrong", packet, padding: wrongByte, drop: bad },
      { what: "much right padding", packet, padding: counting(202) },
      { what: "right padding", packet, padding: counting(2) },
    ]);
  });

  test("255 bytes of padding are legal when they are there", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 39, "", true));
    const [received] = await tryCases(gateway, scapy, toVita, [
      { what: "255 bytes", packet, padding: counting(255) },
    ]);
    assert.deepEqual(received, forwarded(packet));
  });

  test("next headers: dummies end here, others than IP are dropped", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 10, "", true));
    await tryCases(gateway, scapy, toVita, [
      { what: "dummy", packet: new Uint8Array(50), nextHeader: 59, drop: "dummies" },
      { what: "empty dummy", packet: new Uint8Array(0), nextHeader: 59, drop: "dummies" },
      { what: "UDP in transport mode", packet, nextHeader: 17, drop: "drop.bad_next_header" },
      { what: "BEET", packet, nextHeader: 94, drop: "drop.bad_next_header" },
    ]);
    // A dummy moves the window: it is authentic.
    const [again] = await scapy.encrypt(toVita, { packet, sequence: 1 });
    assert.deepEqual(gateway.send("public", [again]).drops, { "decapsulate.drop.replayed": 1 });
  });

  test("inner headers", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const [four, six, extension] = await scapy.packets(
      udp(4, 10, "", true),
      udp(6, 10, "", true),
      'IPv6(src="2001:db8:2::7",dst="2001:db8:1::5")/IPv6ExtHdrDestOpt(len=200)/Raw(bytes(16))',
    );
    const changed = (packet: Uint8Array, at: number, value: number) => {
      const copy = packet.slice();
      copy[at] = value;
      return copy;
    };
    const drop = "drop.bad_inner";
    await tryCases(gateway, scapy, toVita, [
      { what: "IPv4 said to be IPv6", packet: four, nextHeader: 41, drop },
      { what: "IPv6 said to be IPv4", packet: six, nextHeader: 4, drop },
      { what: "IPv4 header length 4", packet: changed(four, 0, 0x41), drop },
      { what: "IPv4 header beyond the packet", packet: changed(four, 0, 0x4f), drop },
      { what: "IPv4 length beyond the payload", packet: changed(four, 3, 255), drop },
      { what: "IPv4 length below the header's", packet: changed(four, 3, 19), drop },
      { what: "half an IPv4 header", packet: four.slice(0, 18), drop },
      { what: "IPv6 length beyond the payload", packet: changed(six, 5, 255), nextHeader: 41, drop },
      { what: "half an IPv6 header", packet: six.slice(0, 39), nextHeader: 41, drop },
      { what: "extension header beyond the packet", packet: extension, nextHeader: 41, drop },
      { what: "IPv4", packet: four },
      { what: "IPv6", packet: six, nextHeader: 41 },
    ]);
  });

  test("padding for traffic flow confidentiality is trimmed (RFC 4303 §2.7)", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const [four, six] = await scapy.packets(udp(4, 10, "", true), udp(6, 10, "", true));
    const longer = (packet: Uint8Array) => {
      const copy = new Uint8Array(1000).fill(0x5a);
      copy.set(packet);
      return copy;
    };
    const received = await tryCases(gateway, scapy, toVita, [
      { what: "IPv4", packet: longer(four) },
      { what: "IPv6", packet: longer(six), nextHeader: 41 },
    ]);
    assert.deepEqual(received, [forwarded(four), forwarded(six)]);
  });

  for (const [name, tfc, lengths] of [
    ["to a size", 500, [500, 500, 500, 528, 1428]],
    ["to the MTU", 0xffffffff, [1446, 1446, 1446, 1446, 1446]],
    ["to a size beyond the MTU", 1600, [1446, 1446, 1446, 1446, 1446]],
  ] as const)
    test(`traffic flow confidentiality outbound: padded ${name}`, async (gateway) => {
      const { fromVita } = makeTunnel(gateway, { tfc });
      const packets = await scapy.packets(...[0, 100, 472, 500, 1400].map((length) => udp(4, length)));
      const { public: sent, drops } = gateway.send("private", packets);
      assert.deepEqual(drops, {});
      for (const packet of sent)
        assert.ok(packet.length <= 1500, `${packet.length} bytes are more than the MTU`);
      const decrypted = await scapy.decrypt(fromVita, sent);
      decrypted.forEach(({ data }, i) => {
        const packet = forwarded(packets[i]);
        assert.deepEqual(data.slice(0, packet.length), packet);
        assert.ok(data.slice(packet.length).every((byte) => byte === 0));
        assert.equal(data.length, lengths[i]);
      });
    });

  test("ESP of every length, most of them wrong", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 10, "", true));
    const [whole] = await scapy.encrypt(toVita, { packet, sequence: 1 });
    for (let length = 0; length < whole.length - 20; length++) {
      const cut = whole.slice(0, 20 + length);
      cut.set([0, 20 + length, 0, 0], 2);
      cut.set([0, 0], 10);
      const short = fixed(cut);
      const { drops, private: received } = gateway.send("public", [short]);
      assert.equal(received.length, 0);
      const wrong = length % 4 !== 0 || length < 36 ? "too_short" : "bad_icv";
      assert.deepEqual(drops, { [`decapsulate.drop.${wrong}`]: 1 }, `${length} bytes of ESP`);
    }
    assert.equal(gateway.send("public", [whole]).private.length, 1);
  });

  test("SAs that are not there, no more, or of the other direction", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 10, "", true));
    for (const other of [0x12345678, OUT]) {
      const [foreign] = await scapy.encrypt({ ...toVita, spi: other }, { packet, sequence: 1 });
      assert.deepEqual(gateway.send("public", [foreign]).drops, { "decapsulate.drop.no_sa": 1 });
    }
    const [mine] = await scapy.encrypt(toVita, { packet, sequence: 1 });
    succeed(gateway.kernel.deleteSa(saId(IN, "192.0.2.2", "192.0.2.1")));
    assert.deepEqual(gateway.send("public", [mine]).drops, { "decapsulate.drop.no_sa": 1 });
  });

  test(
    "an inbound SA that was deleted takes what was under way, and then nothing more",
    async (gateway) => {
      const { toVita } = makeTunnel(gateway);
      const packet = await scapy.packet(udp(4, 10, "", true));
      const [first, second] = await scapy.encrypt(toVita, { packet, sequence: 1 }, { packet, sequence: 2 });
      succeed(gateway.kernel.deleteSa(saId(IN, "192.0.2.2", "192.0.2.1")));
      const { status } = gateway.kernel.querySa(saId(IN, "192.0.2.2", "192.0.2.1"));
      assert.equal(status, 6, "for charon it is gone");
      gateway.lingering.end();
      assert.deepEqual(gateway.send("public", [first]).private, [forwarded(packet)]);
      gateway.lingering.end();
      assert.deepEqual(gateway.send("public", [second]).drops, { "decapsulate.drop.no_sa": 1 });
      assert.equal(gateway.sad.state(1), 0, "and its slot is free");
    },
    { linger: true },
  );

  test("SAs beyond their hard limit carry nothing, either way", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const [there, back] = await scapy.packets(udp(4, 10), udp(4, 10, "", true));
    // In the moment between the policy's decision and the encryption.
    const { app } = gateway.graph.apps.find(({ name }) => name === "encapsulate")!;
    const encapsulate = app as Encapsulate;
    const take = encapsulate.take.bind(app);
    encapsulate.take = (...packet) => {
      for (let slot = 0; slot < gateway.sad.slotCount; slot++)
        if (gateway.sad.state(slot) !== 0)
          gateway.sad.words[(gateway.sad.offset(slot) + saSlot.at.flags) >>> 2] |= SaFlag.expired;
      take(...packet);
    };
    assert.deepEqual(gateway.send("private", [there]).drops, { "encapsulate.drop.sa_expired": 1 });
    const [encrypted] = await scapy.encrypt(toVita, { packet: back, sequence: 1 });
    assert.deepEqual(gateway.send("public", [encrypted]).drops, { "decapsulate.drop.sa_expired": 1 });
    // And from then on packets wait for the SA that comes after it.
    assert.deepEqual(gateway.send("private", [there]).drops, {});
    assert.equal(gateway.graph.queue.count, 1);
  });

  test("an outbound SA that is deleted under a worker which has not looked yet", async (gateway) => {
    const { fromVita } = makeTunnel(gateway);
    const packet = await scapy.packet(udp(4, 10));
    gateway.send("private", [packet]);
    gateway.sad.enterBreath(0);
    succeed(gateway.kernel.deleteSa(saId(OUT)));

    // In the breath that began before, the SA carries what was meant for it: a rekey loses nothing.
    const frame = ethernet(packet, "private");
    const late = gateway.sendFrames("private", [frame], false);
    assert.deepEqual(late.drops, {});
    const [decrypted] = await scapy.decrypt(fromVita, late.public);
    assert.deepEqual(Buffer.from(decrypted.inner).subarray(20), Buffer.from(packet).subarray(20));
    // Once the worker has passed that moment the slot is empty, and nothing can be encrypted with it.
    gateway.sad.leave(0);
    gateway.kernel.sweep();
    assert.deepEqual(gateway.sendFrames("private", [frame], false).drops, { "encapsulate.drop.no_sa": 1 });
    assert.deepEqual(gateway.send("private", [packet]).drops, {});
    assert.equal(gateway.graph.queue.count, 1, "the packet waits for another SA");
    succeed(gateway.kernel.addPolicy(policyRequest({ type: 3 }), 1n));
    assert.deepEqual(gateway.send("private", [packet]).drops, { "protect.drop.policy": 2 });
  });
}

/** The packet with a right IPv4 header checksum. */
function fixed(packet: Uint8Array): Uint8Array {
  // `forwarded` computes it anew; the TTL that it takes away is given first.
  packet[8]++;
  return forwarded(packet);
}
