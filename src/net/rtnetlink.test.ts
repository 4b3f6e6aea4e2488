import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatAddress, formatPrefix, parseAddress } from "./address.js";
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  dumpRequest,
  neighbourRequest,
  parseNetlink,
  setNeighbour,
} from "./rtnetlink.js";

const u16 = (n: number) => [n & 0xff, (n >>> 8) & 0xff];
const u32 = (n: number) => [...u16(n & 0xffff), ...u16(n >>> 16)];
const address = (text: string) => [...(parseAddress(text) as Uint8Array)];
const padded = (bytes: number[]) => [...bytes, ...new Array<number>(-bytes.length & 3).fill(0)];
const attribute = (type: number, value: number[]) =>
  padded([...u16(4 + value.length), ...u16(type), ...value]);
const message = (type: number, body: number[], flags = 0, sequence = 0) =>
  padded([...u32(16 + body.length), ...u16(type), ...u16(flags), ...u32(sequence), ...u32(0), ...body]);
const parse = (...messages: number[][]) => parseNetlink(Uint8Array.from(messages.flat()));

const routeHeader = (family: number, length: number, { table = 254, type = 1, tos = 0, flags = 0 } = {}) => [
  ...[family, length, 0, tos, table, 3, 0, type],
  ...u32(flags),
];

test("a link: up means switched on and with a carrier", () => {
  const link = (flags: number, hardware = 1, family = 0) =>
    message(16, [
      ...[family, 0, ...u16(hardware), ...u32(7), ...u32(flags), ...u32(0)],
      ...attribute(3, [...Buffer.from("wan0\0")]),
      ...attribute(4, u32(1500)),
      ...attribute(1, [2, 0, 0, 0, 0, 1]),
    ]);
  const [up] = parse(link(0x11043));
  assert.deepEqual(up, {
    kind: "link",
    change: { index: 7, name: "wan0", mac: Uint8Array.of(2, 0, 0, 0, 0, 1), mtu: 1500, up: true },
    present: true,
  });
  const [noCarrier] = parse(link(0x1003));
  assert.equal(noCarrier.kind === "link" && noCarrier.change.up, false);
  const [loopback] = parse(link(0x49, 772));
  assert.equal(loopback.kind === "link" && loopback.change.mac, undefined);
  assert.deepEqual(parse(link(0x11043, 1, 7)), [], "a bridge's word about its port");
});

test("an address of a point-to-point link is the local one", () => {
  const [told] = parse(
    message(21, [
      ...[AF_INET, 32, 0, 0, ...u32(3)],
      ...attribute(1, address("10.0.0.2")),
      ...attribute(2, address("10.0.0.1")),
    ]),
  );
  assert.ok(told.kind === "address");
  assert.equal(formatAddress(told.address), "10.0.0.1");
  assert.deepEqual([told.index, told.prefixLength, told.present], [3, 32, false]);
});

test("routes: default, multipath, IPv6 gateway of an IPv4 route, and those without interface", () => {
  const [plain, multipath, via, blackhole] = parse(
    message(24, [...routeHeader(AF_INET6, 0), ...attribute(5, address("fe80::1")), ...attribute(4, u32(2))]),
    message(24, [
      ...routeHeader(AF_INET, 16),
      ...attribute(1, address("10.2.0.0")),
      ...attribute(6, u32(50)),
      ...attribute(9, [
        ...[...u16(16), 0, 0, ...u32(4), ...attribute(5, address("192.0.2.2"))],
        ...[...u16(16), 0, 0, ...u32(5), ...attribute(5, address("192.0.2.3"))],
      ]),
    ]),
    message(24, [
      ...routeHeader(AF_INET, 8),
      ...attribute(1, address("10.0.0.0")),
      ...attribute(18, [...u16(AF_INET6), ...address("fe80::2")]),
      ...attribute(4, u32(6)),
    ]),
    message(25, [
      ...routeHeader(AF_INET, 24, { type: 6 }),
      ...attribute(1, address("10.9.9.0")),
      ...attribute(4, u32(1)),
    ]),
  ).map((told) => {
    assert.ok(told.kind === "route");
    const { prefix, gateway, index, metric, type } = told.change;
    return [
      formatPrefix(prefix),
      gateway && formatAddress(gateway),
      index,
      metric,
      type,
      told.several,
      told.present,
    ];
  });
  assert.deepEqual(plain, ["::/0", "fe80::1", 2, 0, "unicast", false, true]);
  assert.deepEqual(multipath, ["10.2.0.0/16", "192.0.2.2", 4, 50, "unicast", true, true]);
  assert.deepEqual(via, ["10.0.0.0/8", "fe80::2", 6, 0, "unicast", false, true]);
  assert.deepEqual(blackhole, ["10.9.9.0/24", undefined, 0, 0, "unreachable", false, false]);
});

test("routes of other tables, families, types of service, and clones are left out", () => {
  for (const header of [
    routeHeader(AF_INET, 0, { table: 220 }),
    routeHeader(AF_INET, 0, { tos: 8 }),
    routeHeader(AF_INET6, 0, { flags: 0x200 }),
    routeHeader(AF_INET, 0, { type: 9 }),
    routeHeader(28, 0),
  ])
    assert.deepEqual(parse(message(24, header)), []);
  const outside = [...routeHeader(AF_INET, 0, { table: 252 }), ...attribute(15, u32(1000))];
  assert.deepEqual(parse(message(24, outside)), [], "a table number beyond one byte");
  const [all] = parseNetlink(Uint8Array.from(message(24, outside)), true);
  assert.equal(all.kind === "route" ? all.table : undefined, 1000, "unless all tables are wanted");
});

test("neighbours have an Ethernet address while the kernel would use it", () => {
  const neighbour = (state: number, { flags = 0, type = 28, mac = [2, 0, 0, 0, 0, 9] } = {}) =>
    parse(
      message(type, [
        ...[AF_INET, 0, 0, 0, ...u32(3), ...u16(state), flags, 1],
        ...attribute(1, address("192.0.2.9")),
        ...(mac.length > 0 ? attribute(2, mac) : []),
      ]),
    ).map((told) => told.kind === "neighbour" && told.mac?.length);
  for (const state of [0x02, 0x04, 0x08, 0x10, 0x80]) assert.deepEqual(neighbour(state), [6]);
  assert.deepEqual(neighbour(0x01, { mac: [] }), [undefined], "incomplete");
  assert.deepEqual(neighbour(0x20), [undefined], "failed");
  assert.deepEqual(neighbour(0x02, { type: 29 }), [undefined], "deleted");
  assert.deepEqual(neighbour(0x40), [], "multicast needs no resolution");
  assert.deepEqual(neighbour(0x80, { flags: 8 }), [], "proxy");
});

test("ends, errors and lost messages", () => {
  assert.deepEqual(parse(message(3, u32(0), 2, 9), message(3, u32(0), 0x12, 10)), [
    { kind: "done", sequence: 9, interrupted: false },
    { kind: "done", sequence: 10, interrupted: true },
  ]);
  assert.deepEqual(parse(message(2, [...u32(-16), ...new Array(16).fill(0)], 0, 4)), [
    { kind: "error", sequence: 4, errno: 16 },
  ]);
  assert.deepEqual(parse(message(4, [])), [{ kind: "overrun" }]);
});

test("requests are what the kernel wants", () => {
  assert.deepEqual(
    dumpRequest("neighbour", AF_INET6, 5),
    Uint8Array.from([
      ...u32(28),
      ...u16(30),
      ...u16(0x301),
      ...u32(5),
      ...u32(0),
      10,
      ...new Array(11).fill(0),
    ]),
  );
  assert.equal(dumpRequest("link", AF_UNSPEC, 1).length, 32);
  const request = neighbourRequest(AF_INET);
  setNeighbour(request, 0x01020304, parseAddress("192.0.2.9") as Uint8Array);
  assert.deepEqual(
    request,
    Uint8Array.from([
      ...[...u32(36), ...u16(28), ...u16(0x401), ...u32(0), ...u32(0)],
      ...[AF_INET, 0, 0, 0, ...u32(0x01020304), ...u16(0), 1, 0],
      ...attribute(1, address("192.0.2.9")),
    ]),
  );
});

test("no bytes make the parser fail", () => {
  const types = [2, 3, 4, 16, 17, 20, 21, 24, 25, 28, 29, 99];
  fc.assert(
    fc.property(
      fc.constantFrom(...types),
      fc.uint8Array({ maxLength: 120 }),
      fc.nat(3),
      (type, body, family) => {
        const bytes = [...body];
        if (bytes.length > 0) bytes[0] = [0, AF_INET, AF_INET6, 7][family];
        parse(message(type, bytes));
        parseNetlink(body);
      },
    ),
    { numRuns: 2000 },
  );
});
