// The kernel runs the filters here too: on a socket that sends to itself. What arrives has been taken.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  AF_UNIX,
  bind,
  close,
  connect,
  recv,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  sendto,
  socket,
} from "../native/libc.js";
import { FilterAssembler } from "./cbpf-assembler.js";
import { attachFilter, deafFilter, packetFilter } from "./packet-filter.js";
import { both, esp, ethernet, extendedPackets, ipv4, ipv6, marked, udp } from "./test-packets.js";

const open: number[] = [];
after(() => open.forEach(close));

function load(filter: Uint8Array): (packet: Uint8Array) => boolean {
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  const name = Uint8Array.from([AF_UNIX, 0, 0, ...Buffer.from(`vita-filter-${process.pid}-${open.length}`)]);
  open.push(fd);
  bind(fd, name);
  connect(fd, name);
  attachFilter(fd, filter, "test");
  const buffer = new Uint8Array(2048);
  return (packet) => {
    assert.equal(sendto(fd, packet, packet.length, 0, null, 0), packet.length);
    const length = recv(fd, buffer, buffer.length, 0);
    assert.ok(length === packet.length || length < 0, "whole or not at all");
    return length > 0;
  };
}

test("public: ESP and ESP in UDP, no IKE, no fragments, nothing else", () => {
  const takes = load(packetFilter("public"));
  for (const packet of [
    ...both(50, esp),
    ...both(17, udp(esp)),
    ...both(17, udp([0xff])),
    ...both(17, udp([1, 2, 3, 4])),
  ])
    assert.equal(takes(packet), true);
  for (const payload of [marked, [0, 0, 0, 0], [], [0xfe], [1, 2], [0xff, 0xff], [1, 2, 3]])
    for (const packet of both(17, udp(payload))) assert.equal(takes(packet), false, `payload ${payload}`);
  for (const port of [500, 4501, 0x9411])
    for (const packet of both(17, udp(esp, { port }))) assert.equal(takes(packet), false);
  for (const protocol of [0, 1, 6, 44, 51, 58])
    for (const packet of both(protocol, esp)) assert.equal(takes(packet), false);
  for (const fragment of [0x2000, 0x0001, 0x1fff]) assert.equal(takes(ipv4(esp, { fragment })), false);
  for (const ihl of [0, 4]) assert.equal(takes(ipv4(esp, { ihl })), false);
  for (const version of [0, 5, 6, 15]) assert.equal(takes(ipv4(esp, { version })), false);
  for (const version of [0, 4, 7]) assert.equal(takes(ipv6(esp, { version })), false);
  for (const type of [0x0806, 0x8100]) assert.equal(takes(ethernet(type, new Array(64).fill(0x45))), false);
});

test("public: IPv6 extension headers in front of ESP", () => {
  const takes = load(packetFilter("public"));
  for (const { packet, isOurs, what } of extendedPackets()) assert.equal(takes(packet), isOurs, what);
});

test("public: packets that end before what the filter looks at are not taken", () => {
  const takes = load(packetFilter("public"));
  for (const packet of both(17, udp(esp))) {
    const needed = packet.length - esp.length + 4;
    for (let length = 1; length < needed; length++) assert.equal(takes(packet.subarray(0, length)), false);
    assert.equal(takes(packet.subarray(0, needed)), true);
  }
});

test("private: unicast of both families, fragments and extension headers included", () => {
  const takes = load(packetFilter("private"));
  for (const destination of ["10.1.2.3", "223.255.255.255", "240.0.0.1", "255.255.255.254"])
    assert.equal(takes(ipv4(esp, { destination, fragment: 0x2001 })), true, destination);
  for (const destination of ["2001:db8::2", "fc00::1", "fec0::1", "::ffff:1.2.3.4"])
    assert.equal(takes(ipv6(esp, { destination, next: 0 })), true, destination);
  for (const destination of ["224.0.0.1", "239.255.255.250", "255.255.255.255"])
    assert.equal(takes(ipv4(esp, { destination })), false, destination);
  for (const destination of ["ff02::1", "ff0e::1", "fe80::1", "febf::1"])
    assert.equal(takes(ipv6(esp, { destination })), false, destination);
  assert.equal(takes(ethernet(0x0806, new Array(28).fill(1))), false);
});

test("the deaf filter takes nothing", () => {
  const takes = load(deafFilter());
  assert.equal(takes(ipv4(esp)), false);
});

test("the assembler refuses labels that are not set or lie behind", () => {
  assert.throws(() => new FilterAssembler().jump("nowhere").assemble(), /label nowhere is not set/);
  assert.throws(() => new FilterAssembler().label("back").end(0).jump("back").assemble(), /jumps forward/);
  const far = new FilterAssembler().jumpIf("==", 1, "far");
  for (let i = 0; i < 256; i++) far.end(0);
  assert.throws(() => far.label("far").end(1).assemble(), /255 instructions/);
});

test("owned: all of IP and ARP", () => {
  const takes = load(packetFilter("owned"));
  for (const packet of [...both(17, udp(marked)), ...both(6, esp), ...both(50, esp)])
    assert.equal(takes(packet), true);
  assert.equal(takes(ethernet(0x0806, new Array(28).fill(1))), true);
  for (const type of [0x8100, 0x88cc, 40])
    assert.equal(takes(ethernet(type, new Array(64).fill(0x45))), false);
});
