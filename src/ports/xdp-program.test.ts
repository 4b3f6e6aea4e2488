// The kernel's own interpreter (BPF_PROG_TEST_RUN) is the judge: it needs root, but no device. No socket is bound here,
// so that a packet for Vita ends in XDP_DROP.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { close } from "../native/libc.js";
import {
  BpfMap,
  createMap,
  loadXdpProgram,
  MAP_TYPE_ARRAY,
  MAP_TYPE_HASH,
  MAP_TYPE_XSKMAP,
  runXdp,
} from "./bpf.js";
import { BpfAssembler, r0, r1, r9 } from "./bpf-assembler.js";
import {
  address,
  both,
  esp,
  ethernet,
  extended,
  extendedPackets,
  ipv4,
  ipv6,
  LOCAL4,
  LOCAL6,
  MAC,
  marked,
  udp,
} from "./test-packets.js";
import { choosingProgram, type ProgramMaps, type Role, workerOfSpi, xdpProgram } from "./xdp-program.js";

const TAKEN = 1; // XDP_DROP
const PASS = 2;

const skip = process.getuid?.() === 0 ? false : "needs root";
const closers: (() => void)[] = [];
after(() => {
  for (const close of closers) close();
});

function load(
  role: Role,
  assemble: (maps: ProgramMaps) => Uint8Array = (maps) => xdpProgram(role, maps),
): (packet: Uint8Array) => number {
  const sockets = new BpfMap("sockets", createMap("sockets", MAP_TYPE_XSKMAP, 4, 4, 64));
  const local = new BpfMap("local", createMap("local", MAP_TYPE_HASH, 16, 4, 16));
  const mac = new BpfMap("mac", createMap("mac", MAP_TYPE_ARRAY, 4, 8, 1));
  mac.set(new Uint8Array(4), Uint8Array.from([...MAC, 0, 0]));
  local.set(Uint8Array.from([...new Array(10).fill(0), 255, 255, ...address(LOCAL4)]), new Uint8Array(4));
  local.set(address(LOCAL6), new Uint8Array(4));
  const program = loadXdpProgram("test", assemble({ sockets: sockets.fd, local: local.fd, mac: mac.fd }));
  closers.push(() => {
    close(program);
    for (const map of [sockets, local, mac]) map.close();
  });
  return (packet) => runXdp(program, packet);
}

const WORKER = 100;

/** A program whose verdict is the worker that it chooses, plus 100. */
function loadChoice(role: Role, workers: number): (packet: Uint8Array) => number {
  const run = load(role, (maps) =>
    choosingProgram(role, maps, workers, (a) => a.aluRegister("mov", r0, r9).alu("add", r0, WORKER)),
  );
  return (packet) => {
    const verdict = run(packet);
    assert.ok(verdict >= WORKER && verdict < WORKER + workers, `verdict ${verdict}`);
    return verdict - WORKER;
  };
}

test("public: takes ESP and ESP in UDP to its own addresses, with IPv4 options too", { skip }, () => {
  const run = load("public");
  for (const packet of both(50, esp)) assert.equal(run(packet), TAKEN);
  for (const packet of both(17, udp(esp))) assert.equal(run(packet), TAKEN);
  for (const packet of both(17, udp([0xff]))) assert.equal(run(packet), TAKEN, "keepalive");
  for (const packet of both(17, udp([0, 0, 0, 1]))) assert.equal(run(packet), TAKEN, "SPI alone");
});

test("public: passes IKE, short and foreign payloads, and other protocols and ports", { skip }, () => {
  const run = load("public");
  for (const packet of both(17, udp(marked))) assert.equal(run(packet), PASS, "IKE behind the marker");
  for (const packet of both(17, udp([0, 0, 0, 0]))) assert.equal(run(packet), PASS, "marker alone");
  for (const payload of [[], [0xfe], [1, 2], [0xff, 0xff], [1, 2, 3]])
    for (const packet of both(17, udp(payload))) assert.equal(run(packet), PASS, `payload ${payload}`);
  for (const port of [500, 4501, 4499, 0x9411])
    for (const packet of both(17, udp(esp, { port }))) assert.equal(run(packet), PASS, `port ${port}`);
  for (const protocol of [1, 6, 51, 58, 0, 44, 60])
    for (const packet of both(protocol, esp)) assert.equal(run(packet), PASS, `protocol ${protocol}`);
  assert.equal(run(ethernet(0x0806, new Array(28).fill(1))), PASS, "ARP");
  assert.equal(run(ethernet(0x8100, new Array(64).fill(1))), PASS, "VLAN");
});

test("public: looks through IPv6 extension headers in front of ESP", { skip }, () => {
  const run = load("public");
  for (const { packet, isOurs, what } of extendedPackets())
    assert.equal(run(packet), isOurs ? TAKEN : PASS, what);
  assert.equal(run(extended([[43, 2048]], 50, esp)), TAKEN, "as long as one can be");
  const beyond = extended([[0, 8]], 50, esp);
  beyond[14 + 40 + 1] = 200;
  assert.equal(run(beyond), PASS, "a header beyond the packet");
});

test("public: passes what is for other hosts", { skip }, () => {
  const run = load("public");
  assert.equal(run(ipv4(esp, { destination: "192.0.2.2" })), PASS);
  assert.equal(run(ipv6(esp, { destination: "2001:db8::2" })), PASS);
  assert.equal(run(ipv6(esp, { destination: "::ffff:192.0.2.2" })), PASS);
});

test("public: passes fragments and headers that cannot be right", { skip }, () => {
  const run = load("public");
  assert.equal(run(ipv4(esp, { fragment: 0x2000 })), PASS, "more fragments");
  assert.equal(run(ipv4(esp, { fragment: 0x0001 })), PASS, "offset 8");
  assert.equal(run(ipv4(esp, { fragment: 0x1fff })), PASS, "last offset");
  assert.equal(run(ipv4(esp, { fragment: 0x0000 })), TAKEN, "may be fragmented, but was not");
  for (const ihl of [0, 1, 4]) assert.equal(run(ipv4(esp, { ihl, length: 44 })), PASS, `IHL ${ihl}`);
  for (const version of [0, 5, 6, 15]) assert.equal(run(ipv4(esp, { version })), PASS);
  for (const version of [0, 4, 7, 15]) assert.equal(run(ipv6(esp, { version })), PASS);
  assert.equal(run(ipv4(esp, { length: 20 + esp.length + 1 })), PASS, "longer than the packet");
  assert.equal(run(ipv4(esp, { length: 19 })), PASS, "shorter than its header");
  assert.equal(run(ipv4(esp, { ihl: 15, length: 59 })), PASS, "shorter than its options");
  assert.equal(run(ipv6(esp, { length: esp.length + 1 })), PASS);
  for (const length of [0, 7, 8, 8 + esp.length + 1, 0xffff])
    for (const packet of both(17, udp(esp, { length }))) assert.equal(run(packet), PASS, `UDP ${length}`);
});

test("public: Ethernet padding behind a short packet does not count", { skip }, () => {
  const run = load("public");
  const pad = (packet: Uint8Array) => Uint8Array.from([...packet, ...new Array<number>(40).fill(0xff)]);
  for (const packet of both(17, udp([0xff]))) assert.equal(run(pad(packet)), TAKEN);
  for (const packet of both(17, udp([1, 2, 3]))) assert.equal(run(pad(packet)), PASS);
  assert.equal(run(pad(ipv4(udp([]), { protocol: 17, length: 28 }))), PASS);
  assert.equal(run(pad(ipv4(udp(esp), { protocol: 17, length: 31 }))), PASS, "UDP longer than IP says");
});

test("both: packets cut off at any length pass", { skip }, () => {
  const roles = [load("public"), load("private")] as const;
  const packets = [
    ...[...both(50, esp), ...both(17, udp(esp)), ...both(17, udp([0xff]))],
    ...[ipv4(esp, { destination: "10.1.2.3" }), ipv6(esp, { destination: "2001:db8::2" })],
  ];
  for (const packet of packets)
    for (let length = 14; length < packet.length; length++)
      for (const run of roles)
        assert.equal(run(packet.subarray(0, length)), PASS, `${length} of ${packet.length} bytes`);
});

test("private: takes unicast to others, fragments and extension headers included", { skip }, () => {
  const run = load("private");
  for (const destination of ["10.1.2.3", "192.0.2.2", "239.255.255.255".replace("239", "223"), "240.0.0.1"])
    assert.equal(run(ipv4(esp, { destination, protocol: 6 })), TAKEN, destination);
  for (const destination of ["2001:db8::2", "fc00::1", "fec0::1", "fe00::1", "::ffff:1.2.3.4"])
    assert.equal(run(ipv6(esp, { destination, next: 0 })), TAKEN, destination);
  assert.equal(run(ipv4(esp, { destination: "10.1.2.3", fragment: 0x2001 })), TAKEN);
  assert.equal(run(ipv4([], { destination: "10.1.2.3", ihl: 15 })), TAKEN);
  assert.equal(run(ipv6([], { destination: "2001:db8::2", next: 59 })), TAKEN);
});

test("private: passes what is for this host, for many, or for another Ethernet address", { skip }, () => {
  const run = load("private");
  for (const destination of [LOCAL4, "224.0.0.1", "239.255.255.250", "255.255.255.255"])
    assert.equal(run(ipv4(esp, { destination })), PASS, destination);
  for (const destination of [LOCAL6, "ff02::1", "ff0e::1", "fe80::1", "febf::1"])
    assert.equal(run(ipv6(esp, { destination })), PASS, destination);
  for (const mac of [
    [255, 255, 255, 255, 255, 255],
    [1, 0, 0x5e, 0, 0, 1],
    [2, 0, 0, 0, 0, 9],
    [2, 9, 0, 0, 0, 1],
  ]) {
    assert.equal(run(ipv4(esp, { destination: "10.1.2.3", mac })), PASS, `${mac}`);
    assert.equal(run(ipv6(esp, { destination: "2001:db8::2", mac })), PASS, `${mac}`);
  }
  assert.equal(run(ethernet(0x0806, new Array(28).fill(1))), PASS, "ARP");
  assert.equal(run(ipv4(esp, { destination: "10.1.2.3", ihl: 4 })), PASS);
  assert.equal(run(ipv4(esp, { destination: "10.1.2.3", length: 200 })), PASS);
});

test("owned: takes IP and ARP to its own Ethernet address and to groups, whatever it is", { skip }, () => {
  const run = load("owned");
  const groups = [
    [255, 255, 255, 255, 255, 255],
    [0x33, 0x33, 0xff, 0, 0, 1],
    [1, 0, 0x5e, 0, 0, 1],
  ];
  for (const mac of [MAC, ...groups])
    for (const type of [0x0800, 0x0806, 0x86dd]) assert.equal(run(ethernet(type, [1], mac)), TAKEN);
  for (const packet of [...both(17, udp(marked)), ...both(6, esp)]) assert.equal(run(packet), TAKEN);
  assert.equal(
    run(ipv4(esp, { destination: "10.1.2.3", ihl: 4 })),
    TAKEN,
    "the rest is for classify to judge",
  );
});

test("owned: passes frames for other stations, VLANs, and what is not IP", { skip }, () => {
  const run = load("owned");
  for (const mac of [
    [2, 0, 0, 0, 0, 9],
    [2, 9, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0],
  ])
    for (const type of [0x0800, 0x0806, 0x86dd]) assert.equal(run(ethernet(type, [1], mac)), PASS);
  for (const type of [0x8100, 0x88a8, 0x88cc, 0x0600, 40])
    for (const mac of [MAC, [255, 255, 255, 255, 255, 255]])
      assert.equal(run(ethernet(type, [1], mac)), PASS, `type ${type}`);
  assert.equal(run(new Uint8Array(14)), PASS);
});

test("a program that the kernel refuses comes with the verifier's words", { skip }, () => {
  const bad = new BpfAssembler().load("u64", r0, r1, 4000).exit().assemble();
  assert.throws(
    () => loadXdpProgram("bad", bad),
    /loading the XDP program bad: EACCES.*verifier says:\n.*invalid/s,
  );
});

/** Asserts that each of so many got its share, within a third. */
function assertEven(counts: readonly number[]): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  for (const count of counts)
    assert.ok(Math.abs(count - total / counts.length) < total / counts.length / 3, `${counts}`);
}

test("public, several workers: the SPI says which, in whatever ESP comes", { skip }, () => {
  for (const workers of [2, 3, 16]) {
    const choose = loadChoice("public", workers);
    const counts = new Array<number>(workers).fill(0);
    for (let i = 0; i < 100 * workers; i++) {
      // As strongSwan draws them, and one behind the other.
      const spi = i % 2 === 0 ? 0xc0000000 + Math.floor(Math.random() * 0x10000000) : 0xc0000000 + i;
      const bytes = [spi >>> 24, (spi >>> 16) & 255, (spi >>> 8) & 255, spi & 255, ...esp.slice(4)];
      const expected = workerOfSpi(spi, workers);
      for (const packet of [...both(50, bytes), ...both(17, udp(bytes)), extended([[60, 8]], 50, bytes)])
        assert.equal(choose(packet), expected, spi.toString(16));
      counts[expected]++;
    }
    assertEven(counts);
    for (const packet of both(17, udp([0xff]))) assert.equal(choose(packet), 0, "keepalive");
  }
});

test("private, several workers: flows are spread, each stays with one, and so do fragments", { skip }, () => {
  const workers = 3;
  const choose = loadChoice("private", workers);
  const ports = (from: number, to: number) => [from >>> 8, from & 255, to >>> 8, to & 255];
  const forms: ((host: number, port: number) => Uint8Array)[] = [
    (host) => ipv4([], { destination: `10.1.${host >> 8}.${host & 255}`, protocol: 1 }),
    (_, port) => ipv4([...ports(port, 443), 0, 0], { destination: "10.1.2.3", protocol: 6 }),
    (_, port) => ipv4([...ports(53, port), 0, 0], { destination: "10.1.2.3", protocol: 17, ihl: 7 }),
    (host) => ipv6([], { destination: `2001:db8::5:${host.toString(16)}`, next: 58 }),
    (_, port) => ipv6([...ports(port, 443), 0, 0], { destination: "2001:db8::2", next: 6 }),
  ];
  for (const [i, form] of forms.entries()) {
    const counts = new Array<number>(workers).fill(0);
    for (let n = 1; n <= 600; n++) {
      const worker = choose(form(n, n));
      assert.equal(choose(form(n, n)), worker);
      counts[worker]++;
    }
    assertEven(counts);
    // The rest of the packet does not matter.
    assert.equal(choose(form(7, 7)), choose(Uint8Array.from([...form(7, 7), 1, 2, 3])), `form ${i}`);
  }
  const fragment = (bits: number, port: number) =>
    choose(ipv4([...ports(port, 443), 0, 0], { destination: "10.1.2.3", protocol: 17, fragment: bits }));
  const first = fragment(0x2000, 1);
  for (let port = 0; port < 50; port++)
    for (const bits of [0x2000, 0x2001, 0x0007]) assert.equal(fragment(bits, port), first);
});
