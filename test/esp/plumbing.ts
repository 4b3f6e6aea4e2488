// What is around the tunnel: malformed and foreign packets on both sides, routes, neighbours, full tables and links.

import assert from "node:assert/strict";
import type { Transmit } from "../../src/apps/transmit.js";
import { NodeEngine } from "../../src/ipsec/aead-node.js";
import { Encapsulate, encapsulateCounters } from "../../src/ipsec/encapsulate.js";
import { LOCK_SHIFT } from "../../src/ipsec/sad-layout.js";
import { keyOf } from "../../src/ipsec/testing/requests.js";
import { FRAME_SHIFT, FRAME_SIZE, HEADROOM } from "../../src/memory/frames.js";
import { ethernet, everyCounter, FAR, NEAR, type Side } from "./gateway.js";
import { forwarded, IN, makeTunnel, OUT, type Suite, udp } from "./suite.js";

const change = (packet: Uint8Array, ...bytes: [at: number, value: number][]) => {
  const copy = packet.slice();
  for (const [at, value] of bytes) copy[at] = value;
  return copy;
};

/** Changes bytes of an IPv4 header and mends its checksum. */
const change4 = (packet: Uint8Array, ...bytes: [at: number, value: number][]) =>
  forwarded(change(packet, ...bytes, [8, packet[8] + 1]));

export function plumbing({ test, scapy }: Suite): void {
  const dropped = (
    name: string,
    side: Side,
    cases: (four: Uint8Array, six: Uint8Array) => [string, Uint8Array][],
  ) =>
    test(name, async (gateway) => {
      const { toVita } = makeTunnel(gateway, { natt: false });
      let [four, six] = await scapy.packets(
        udp(4, 20, "", side === "public"),
        udp(6, 20, "", side === "public"),
      );
      if (side === "public") {
        [four] = await scapy.encrypt(toVita, { packet: four, sequence: 1 });
        const outer = 'IPv6(src="2001:db8::2",dst="2001:db8::1")';
        [six] = await scapy.encrypt({ ...toVita, outer }, { packet: six, sequence: 2 });
      }
      for (const [counter, frame] of cases(four, six)) {
        const result = gateway.sendFrames(side, [frame]);
        assert.deepEqual(result.drops, { [counter]: 1 });
        assert.equal(result.public.length + result.private.length, 0);
      }
      assert.deepEqual(gateway.send(side, [four, six]).drops, {});
    });

  dropped("malformed packets from the private side", "private", (four, six) => [
    ["ip-input.drop.not_ip", ethernet(four, "private", 0x0806)],
    ["ip-input.drop.not_ip", ethernet(four, "private", 0x8100)],
    ["ip-input.drop.bad_header", ethernet(four, "private", 0x86dd)],
    ["ip-input.drop.bad_header", ethernet(six, "private", 0x0800)],
    ["ip-input.drop.bad_header", ethernet(four, "private").slice(0, 33)],
    ["ip-input.drop.bad_header", ethernet(four, "private").slice(0, 60)],
    ["ip-input.drop.bad_header", ethernet(change4(four, [0, 0x44]), "private")],
    ["ip-input.drop.bad_header", ethernet(change4(four, [3, 19]), "private")],
    ["ip-input.drop.bad_header", ethernet(six, "private").slice(0, 53)],
    ["ip-input.drop.bad_header", ethernet(change(six, [5, 100]), "private")],
    ["ip-input.drop.bad_checksum", ethernet(change(four, [10, four[10] ^ 1]), "private")],
    ["protect.drop.malformed", ethernet(change(six, [6, 0], [41, 200]), "private")],
  ]);

  dropped("malformed and foreign packets from the public side", "public", (four, six) => [
    ["classify.drop.not_ip", ethernet(four, "public", 0x0806)],
    ["classify.drop.bad_header", ethernet(four, "public", 0x86dd)],
    ["classify.drop.bad_header", ethernet(six, "public", 0x0800)],
    ["classify.drop.bad_header", ethernet(four, "public").slice(0, 33)],
    ["classify.drop.bad_header", ethernet(four, "public").slice(0, 60)],
    ["classify.drop.bad_header", ethernet(change4(four, [0, 0x44]), "public")],
    ["classify.drop.bad_header", ethernet(change4(four, [3, 19]), "public")],
    ["classify.drop.bad_header", ethernet(six, "public").slice(0, 53)],
    ["classify.drop.bad_header", ethernet(change(six, [5, 255]), "public")],
    ["classify.drop.bad_checksum", ethernet(change(four, [10, four[10] ^ 1]), "public")],
    ["classify.drop.fragment", ethernet(change4(four, [6, 0x20]), "public")],
    ["classify.drop.fragment", ethernet(change4(four, [7, 1]), "public")],
    ["classify.drop.not_esp", ethernet(change4(four, [9, 6]), "public")],
    ["classify.drop.not_esp", ethernet(change(six, [6, 44]), "public")],
  ]);

  test("what else comes to port 4500 (RFC 3948)", async (gateway) => {
    const { toVita } = makeTunnel(gateway, { natt: true });
    const packet = await scapy.packet(udp(4, 20, "", true));
    const [esp] = await scapy.encrypt(toVita, { packet, sequence: 1 });
    const outer = 'IP(src="192.0.2.2",dst="192.0.2.1")';
    for (const [counter, expression] of [
      ["keepalives", `${outer}/UDP(sport=40500,dport=4500)/Raw(b"\\xff")`],
      ["keepalives", 'IPv6(src="2001:db8::2",dst="2001:db8::1")/UDP(sport=4500,dport=4500)/Raw(b"\\xff")'],
      ["drop.not_esp", `${outer}/UDP(sport=40500,dport=4500)/Raw(b"\\xfe")`],
      ["drop.not_esp", `${outer}/UDP(sport=40500,dport=4500)`],
      ["drop.not_esp", `${outer}/UDP(sport=40500,dport=4500)/Raw(b"1234567")`],
      ["drop.not_esp", `${outer}/UDP(sport=40500,dport=4501)/Raw(b"12345678")`],
      ["drop.ike", `${outer}/UDP(sport=40500,dport=4500)/Raw(bytes(4)+b"an IKE header")`],
      ["drop.bad_header", `${outer}/UDP(sport=40500,dport=4500,len=7)/Raw(b"12345678")`],
      ["drop.bad_header", `${outer}/UDP(sport=40500,dport=4500,len=17)/Raw(b"12345678")`],
      ["drop.bad_header", 'IP(src="192.0.2.2",dst="192.0.2.1",proto=17)/Raw(b"1234567")'],
    ]) {
      const [other] = await scapy.packets(expression);
      assert.deepEqual(gateway.send("public", [other]).drops, { [`classify.${counter}`]: 1 }, expression);
    }
    // The peer's NAT may have given it another port: the SPI says whose packet it is.
    const moved = esp.slice();
    moved[20] ^= 0x55;
    assert.deepEqual(gateway.send("public", [moved]).private, [forwarded(packet)]);
  });

  test("what came out of a tunnel goes to the private side, into another tunnel (hub.ts), or nowhere", async (gateway) => {
    const { toVita } = makeTunnel(gateway);
    const wide = { ...toVita, spi: IN + 1, key: keyOf(IN + 1, 20) };
    const all = ["0.0.0.0/0"];
    gateway.sa({ spi: wide.spi, inbound: true, src: FAR, dst: NEAR, from: all, to: all });
    let sequence = 1;
    const send = async (dst: string) => {
      const packet = await scapy.packet(`IP(src="10.2.0.7",dst="${dst}")/UDP()`);
      const [encrypted] = await scapy.encrypt(wide, { packet, sequence: sequence++ });
      const result = gateway.send("public", [encrypted]);
      assert.equal(result.public.length, 0, dst);
      return result.drops;
    };
    for (const dst of ["192.0.2.9", "198.51.100.1"])
      assert.deepEqual(await send(dst), { "protect.drop.public": 1 });
    assert.deepEqual(await send("10.1.0.1"), { "route.drop.local": 1 });
    gateway.route("public", "0.0.0.0/0", FAR, false);
    assert.deepEqual(await send("198.51.100.1"), { "protect.drop.public": 1 });
  });

  test(
    "a TUN device: no Ethernet, and the host counts the TTL",
    async (gateway) => {
      const { fromVita, toVita } = makeTunnel(gateway);
      const [there, back] = await scapy.packets(udp(4, 20, ",ttl=1"), udp(6, 20, ",hlim=1", true));
      const { public: sent } = gateway.send("private", [there]);
      assert.deepEqual((await scapy.decrypt(fromVita, sent))[0].inner, there);
      const [encrypted] = await scapy.encrypt(toVita, { packet: back, sequence: 1 });
      assert.deepEqual(gateway.send("public", [encrypted]).private, [back]);
      assert.deepEqual(gateway.send("private", [new Uint8Array(24)]).drops, { "ip-input.drop.not_ip": 1 });
    },
    { tun: true },
  );

  let taken: number[] = [];
  const slowPath = {
    send: (_offset: number, length: number) => {
      taken.push(length);
      return taken.length < 2;
    },
  };
  test(
    "neighbours that are not resolved: through the kernel's stack, or dropped",
    async (gateway) => {
      taken = [];
      makeTunnel(gateway);
      gateway.graph.fib.neighbour(2, Uint8Array.of(192, 0, 2, 2), undefined);
      const packet = await scapy.packet(udp(4, 20));
      assert.deepEqual(gateway.send("private", [packet]).drops, {});
      assert.deepEqual(gateway.send("private", [packet]).drops, { "transmit.drop.unresolved": 1 });
      assert.equal(taken.length, 2);
      const asked: string[] = [];
      gateway.graph.fib.hops.takeUnresolved((index, address) => asked.push(`${index} ${address.join(".")}`));
      assert.deepEqual(asked, ["2 192.0.2.2"]);
      gateway.graph.fib.neighbour(2, Uint8Array.of(192, 0, 2, 2), Uint8Array.of(2, 0, 0, 0, 0, 4));
      assert.equal(gateway.send("private", [packet]).public.length, 1);
    },
    { slowPath },
  );

  test("a full table of next hops", async (gateway) => {
    gateway.policy({ from: "0.0.0.0/0", to: "172.16.0.0/12", type: 2, priorityClass: 0 });
    gateway.route("public", "172.16.0.0/12");
    const packet = await scapy.packet('IP(src="10.1.0.5",dst="172.16.0.0")/UDP()');
    const packets = Array.from({ length: 40_000 }, (_, i) => change4(packet, [18, i >>> 8], [19, i & 255]));
    const { drops } = gateway.send("private", packets);
    assert.ok(drops["fib.drop.next_hops_full"] > 20_000);
    assert.equal(drops["protect.drop.no_route"], drops["fib.drop.next_hops_full"]);
    // An SA whose far end finds no place any more has a port, but no next hop.
    const { fib } = gateway.graph;
    const route = fib.route4(0xac100000);
    const last = Array.from(packets, (_, i) => i).find((i) => fib.hop4(route, 0xac100000 + i) < 0)!;
    const dst = `172.16.${last >>> 8}.${last & 255}`;
    gateway.sa({ spi: OUT, dst });
    gateway.policy({ from: "10.1.0.0/16", to: "10.2.0.0/16", dst, espSpi: OUT });
    gateway.sendFrames("private", []);
    const result = gateway.send("private", await scapy.packets(udp(4, 20)));
    assert.deepEqual(result.drops, { "fib.drop.next_hops_full": 1, "transmit.drop.no_route": 1 });
    // And the private side: there is a route, but no way.
    gateway.route("private", "10.1.128.0/17");
    const near = fib.route4(0x0a018000);
    const host = Array.from({ length: 0x8000 }, (_, i) => i).find((i) => fib.hop4(near, 0x0a018000 + i) < 0)!;
    const { toVita } = makeTunnel(gateway, { reqid: 2 });
    const back = await scapy.packet(
      `IP(src="10.2.0.7",dst="10.1.${128 + (host >>> 8)}.${host & 255}")/UDP()`,
    );
    const [encrypted] = await scapy.encrypt(toVita, { packet: back, sequence: 1 });
    assert.equal(gateway.send("public", [encrypted]).drops["route.drop.no_route"], 1);
  });

  test(
    "fragments that find no frames, or no MTU that they would fit",
    async (gateway) => {
      const { toVita } = makeTunnel(gateway);
      const packet = await scapy.packet(udp(4, 1300, "", true));
      const send = async (privateMtu: number, sequence: number) => {
        gateway.link("private", privateMtu);
        const [encrypted] = await scapy.encrypt(toVita, { packet, sequence });
        return gateway.send("public", [encrypted]);
      };
      assert.deepEqual((await send(68, 1)).drops, { "fragment.drop.no_frames": 1 });
      assert.deepEqual((await send(27, 2)).drops, { "fragment.drop.mtu": 1 });
      const fits = await send(300, 3);
      assert.deepEqual(await scapy.reassemble(fits.private), [forwarded(packet)]);
    },
    { frames: 8 },
  );

  test(
    "a link that overflows drops and counts",
    async (gateway) => {
      const { toVita } = makeTunnel(gateway);
      gateway.link("private", 68);
      const packet = await scapy.packet(udp(4, 1300, "", true));
      const encrypted = await scapy.encrypt(
        toVita,
        ...Array.from({ length: 60 }, (_, i) => ({ packet, sequence: i + 1 })),
      );
      const { private: received, drops } = gateway.send("public", encrypted);
      assert.equal(received.length, 1024);
      assert.deepEqual(drops, { "link.drop.full": 60 * Math.ceil(1308 / 48) - 1024 });
    },
    { frames: 4096 },
  );

  test("a packet that follows one without room takes nothing over from the train before", async (gateway) => {
    makeTunnel(gateway);
    const { frames, sad } = gateway;
    const counters = new Float64Array(Object.keys(encapsulateCounters).length);
    const tos: number[] = [];
    const note = (frame: number, at: number) => {
      tos.push(frames.view.getUint8(at + 1));
      frames.free(frame);
    };
    const exit = {
      open: () => {},
      send: (frame: number, start: number) => note(frame, start),
      sendIpv4: (frame: number, word: number) => note(frame, (word + 4) << 2),
    };
    const batches = new NodeEngine(sad, frames).encryptor();
    const parts = { sad, batches, clock: { seconds: 1 }, worker: 0, exit };
    const app = new Encapsulate({ frames, counters: () => counters }, parts);
    const slot = gateway.slotOf(OUT);
    const packet = (dscp: number) =>
      Uint8Array.of(0x45, dscp << 2, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
    const next = (dscp: number) => {
      const frame = frames.from(packet(dscp));
      app.takeNext(frame, frames.offset[frame], 20, slot, 1400);
    };
    app.take(frames.from(packet(1)), slot, 1400);
    next(1);
    app.take(frames.from(packet(2), FRAME_SIZE - 24), slot, 1400);
    next(2);
    next(2);
    app.push();
    assert.deepEqual(tos, [1 << 2, 1 << 2, 2 << 2, 2 << 2]);
    assert.equal(counters[Object.keys(encapsulateCounters).indexOf("drop.no_room")], 1);
    assert.equal(frames.available, frames.capacity);
  });

  test("a fragment gets no frame that is still to be encrypted for a packet that the way out has dropped", async (gateway) => {
    const { fromVita } = makeTunnel(gateway);
    const [dropped, long] = await scapy.packets(udp(4, 400), udp(4, 1470));
    const { app } = gateway.graph.apps.find(({ name }) => name === "transmit")!;
    const transmit = app as Transmit;
    const sendIpv4 = transmit.sendIpv4.bind(transmit);
    transmit.sendIpv4 = (frame) => {
      gateway.frames.free(frame);
      transmit.sendIpv4 = sendIpv4;
    };
    const { public: sent, drops } = gateway.send("private", [dropped, long]);
    assert.deepEqual(drops, {});
    const pieces = await scapy.decrypt(fromVita, sent);
    assert.deepEqual(await scapy.reassemble(pieces.map(({ inner }) => inner)), [forwarded(long)]);
  });

  test("a packet without room takes nothing of what its SA may carry", async (gateway) => {
    const none = { rekey: 0n, life: 0n };
    makeTunnel(gateway, { lifetime: { time: none, bytes: none, packets: { rekey: 0n, life: 2n } } });
    const { frames, sad } = gateway;
    const counters = new Float64Array(Object.keys(encapsulateCounters).length);
    const count = (name: keyof typeof encapsulateCounters) =>
      counters[Object.keys(encapsulateCounters).indexOf(name)];
    const exit = {
      open: () => {},
      send: (frame: number) => frames.free(frame),
      sendIpv4: (frame: number) => frames.free(frame),
    };
    const parts = {
      sad,
      batches: new NodeEngine(sad, frames).encryptor(),
      clock: { seconds: 1 },
      worker: 0,
      exit,
    };
    const app = new Encapsulate({ frames, counters: () => counters }, parts);
    const slot = gateway.slotOf(OUT);
    const packet = Uint8Array.of(0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
    const starts = [HEADROOM, FRAME_SIZE - 24, HEADROOM, HEADROOM];
    for (const start of starts) app.take(frames.from(packet, start), slot, 1400);
    app.push();
    assert.deepEqual([count("packets"), count("drop.no_room"), count("drop.sa_expired")], [2, 1, 1]);
    assert.equal(gateway.kernel.usage(slot).packets, 2n);
    assert.equal(sad.flags(slot) >>> LOCK_SHIFT, 0, "nobody has its lock");
    assert.equal(frames.available, frames.capacity);
  });

  test("a frame without room for trailer and ICV", async (gateway) => {
    // No port hands over such a frame, and no app makes one: only the app alone can be given one.
    makeTunnel(gateway);
    const { frames, sad } = gateway;
    const counters = new Float64Array(Object.keys(encapsulateCounters).length);
    const engine = new NodeEngine(sad, frames);
    const context = { frames, counters: () => counters };
    const sent = () => assert.fail("it was sent");
    const exit = { open: () => {}, send: sent, sendIpv4: sent };
    const parts = { sad, batches: engine.encryptor(), clock: { seconds: 1 }, worker: 0, exit };
    const app = new Encapsulate(context, parts);
    const slot = gateway.slotOf(OUT);
    for (const [from, to] of [
      [256, 2048 - 20],
      [20, 500],
    ]) {
      const frame = frames.allocate();
      frames.offset[frame] = (frame << FRAME_SHIFT) + from;
      frames.length[frame] = to - from;
      app.take(frame, slot, 1400);
      const next = frames.allocate();
      app.takeNext(next, (next << FRAME_SHIFT) + from, to - from, slot, 1400);
    }
    app.push();
    const index = Object.keys(encapsulateCounters).indexOf("drop.no_room");
    assert.equal(counters[index], 4);
    everyCounter.set("encapsulate.drop.no_room", counters[index]);
    assert.equal(frames.available, frames.capacity);
  });
}
