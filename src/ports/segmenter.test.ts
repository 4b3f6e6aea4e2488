// Large packets are cut as the kernel would cut them. Whether a segment is right is told by code that knows nothing of
// the segmenter (testing/flow-packets.ts); test/tun-offload.test.ts asks the kernel.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Frames, NONE } from "../memory/frames.js";
import { MALFORMED, OVERSIZE, SEGMENTABLE, Segmenter } from "./segmenter.js";
import {
  ACK,
  CWR,
  ECE,
  FIN,
  type FlowPacket,
  faultOf,
  flowPacket,
  PSH,
  RST,
  SYN,
} from "./testing/flow-packets.js";
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP, NEEDS_CHECKSUM } from "./virtio-header.js";

const LARGEST = 1758;
const frames = new Frames(256);
const place = frames.reserve(70_000);
const segmenters = [0, 14].map((link) => ({ link, segmenter: new Segmenter(frames, link, LARGEST) }));

interface Virtio {
  flags?: number;
  type?: number;
  size: number;
  start?: number;
  link?: number;
}

const typeOf = ({ version, protocol }: FlowPacket) =>
  protocol === "udp" ? GSO_UDP : version === 4 ? GSO_TCPV4 : GSO_TCPV6;

/** Puts a packet where the kernel would, behind a link header, and begins to cut it. */
function begin(packet: Uint8Array, { flags = NEEDS_CHECKSUM, type = 0, size, start = 0, link = 0 }: Virtio) {
  const found = segmenters.find((one) => one.link === link);
  assert.ok(found);
  const { segmenter } = found;
  frames.bytes.fill(0xee, place, place + 70_000);
  for (let i = 0; i < link; i++) frames.bytes[place + i] = 0xa0 + i;
  frames.bytes.set(packet, place + link);
  const verdict = segmenter.begin(place, link + packet.length, flags, type, size, link + start);
  return { verdict, segmenter };
}

/** All segments of what has been begun, without their link headers. */
function cutAll(segmenter: Segmenter, link = 0): Uint8Array[] {
  const segments: Uint8Array[] = [];
  while (segmenter.remaining > 0) {
    const frame = frames.allocate();
    assert.notEqual(frame, NONE);
    frames.bytes.fill(0xdd, frame * 2048, (frame + 1) * 2048);
    const offset = frames.offset[frame];
    const length = segmenter.cut(frame);
    const segment = frames.bytes.slice(offset, offset + length);
    for (let i = 0; i < link; i++) assert.equal(segment[i], 0xa0 + i);
    segments.push(segment.subarray(link));
    const end = (frame + 1) * 2048;
    assert.ok(frames.bytes.subarray(offset + length, end).every((byte) => byte === 0xdd));
    frames.free(frame);
  }
  return segments;
}

function transportOf(packet: Uint8Array, extension = 0): number {
  return packet[0] >>> 4 === 4 ? (packet[0] & 15) * 4 : 40 + extension;
}

const payloads = fc
  .tuple(fc.integer({ min: 1, max: 9000 }), fc.nat(255))
  .map(([length, first]) => Uint8Array.from({ length }, (_, i) => first + i * 7 + (i >>> 8)));

const flowPackets: fc.Arbitrary<FlowPacket> = fc.record({
  version: fc.constantFrom<4 | 6>(4, 6),
  protocol: fc.constantFrom<"tcp" | "udp">("tcp", "udp"),
  payload: payloads,
  tos: fc.nat(255),
  ttl: fc.integer({ min: 1, max: 255 }),
  id: fc.constantFrom(0, 1, 0xfffe, 0xffff),
  fragment: fc.constantFrom(0, 0x4000),
  ipOptions: fc.constantFrom(new Uint8Array(), new Uint8Array(8).fill(1)),
  sequence: fc.constantFrom(0, 1, 0x7fff_ff00, 0xffff_ff00),
  flags: fc
    .nat(15)
    .map((bits) => ACK | (bits & 1 ? FIN : 0) | (bits & 2 ? PSH : 0) | (bits & 4 ? CWR | ECE : 0)),
  options: fc.constantFrom(new Uint8Array(), Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2)),
});

test("each segment is a packet of its own, right in every field, and together they are what came", () => {
  fc.assert(
    fc.property(
      flowPackets,
      fc.integer({ min: 40, max: 1500 }),
      fc.constantFrom(0, 14),
      fc.boolean(),
      (whole, size, link, isPartial) => {
        const packet = flowPacket(whole);
        const start = transportOf(packet);
        const flags = isPartial ? NEEDS_CHECKSUM : 0;
        const { verdict, segmenter } = begin(packet, { flags, type: typeOf(whole), size, start, link });
        assert.equal(verdict, SEGMENTABLE);
        const segments = cutAll(segmenter, link);
        const { payload } = whole;
        assert.equal(segments.length, Math.ceil(payload.length / size));
        for (const [i, segment] of segments.entries()) {
          assert.equal(faultOf(segment), undefined);
          const isLast = i === segments.length - 1;
          const part = payload.subarray(i * size, (i + 1) * size);
          let { flags = 0 } = whole;
          if (!isLast) flags &= ~(FIN | PSH);
          if (i > 0) flags &= ~CWR;
          const id = ((whole.id ?? 0) + i) & 0xffff;
          const sequence = ((whole.sequence ?? 0) + i * size) >>> 0;
          assert.deepEqual(segment, flowPacket({ ...whole, payload: part, id, sequence, flags }));
        }
      },
    ),
    { numRuns: 150 },
  );
});

test("the longest packet there is, in segments of all sizes that a tunnel has", () => {
  for (const size of [536, 1220, 1348, 1448]) {
    const whole: FlowPacket = { version: 4, protocol: "tcp", payload: new Uint8Array(65_495).fill(3) };
    const { verdict, segmenter } = begin(flowPacket(whole), { type: GSO_TCPV4, size, start: 20 });
    assert.equal(verdict, SEGMENTABLE);
    const segments = cutAll(segmenter);
    assert.equal(segments.length, Math.ceil(65_495 / size));
    assert.ok(segments.every((segment) => faultOf(segment) === undefined));
  }
});

test("headers that stand in every packet of an IPv6 flow are carried along", () => {
  const chain = Uint8Array.from([60, 0, 1, 4, 0, 0, 0, 0, 6, 1, 1, 12, ...new Array<number>(12).fill(0)]);
  const whole: FlowPacket = {
    version: 6,
    protocol: "tcp",
    payload: new Uint8Array(3000).fill(9),
    extension: [0, chain],
  };
  const packet = flowPacket(whole);
  const { verdict, segmenter } = begin(packet, { type: GSO_TCPV6, size: 1000, start: 64 });
  assert.equal(verdict, SEGMENTABLE);
  const segments = cutAll(segmenter);
  assert.equal(segments.length, 3);
  for (const segment of segments) {
    assert.equal(faultOf(segment), undefined);
    assert.deepEqual(segment.subarray(40, 64), chain);
  }
});

test("what contradicts itself is refused, and cuts nothing", () => {
  const tcp: FlowPacket = { version: 4, protocol: "tcp", payload: new Uint8Array(3000) };
  const udp: FlowPacket = { version: 6, protocol: "udp", payload: new Uint8Array(3000) };
  const good = { type: GSO_TCPV4, size: 1000, start: 20 };
  const changed = (whole: FlowPacket, at: number, byte: number) => {
    const packet = flowPacket(whole);
    packet[at] = byte;
    return packet;
  };
  const cases: [string, Uint8Array, Virtio, number?][] = [
    ["no size", flowPacket(tcp), { ...good, size: 0 }],
    ["an unknown type", flowPacket(tcp), { ...good, type: 3 }],
    ["IPv6 in an IPv4 packet", flowPacket(tcp), { ...good, type: GSO_TCPV6 }],
    ["UDP in a TCP packet", flowPacket(tcp), { ...good, type: GSO_UDP }],
    ["a checksum that begins elsewhere", flowPacket(tcp), { ...good, start: 24 }],
    ["version 5", changed(tcp, 0, 0x55), good],
    ["a header length of 16", changed(tcp, 0, 0x44), good],
    ["a header length beyond TCP", changed(tcp, 0, 0x4f), good],
    ["a fragment", flowPacket({ ...tcp, fragment: 0x2000 }), good],
    ["a later fragment", flowPacket({ ...tcp, fragment: 0x0001 }), good],
    ["a data offset of 4", changed(tcp, 32, 0x40), good],
    ["a length beyond the packet", changed(tcp, 2, 0xff), good],
    ["no payload", flowPacket({ ...tcp, payload: new Uint8Array() }), good],
    ["SYN", flowPacket({ ...tcp, flags: SYN }), good],
    ["RST", flowPacket({ ...tcp, flags: RST | ACK }), good],
    ["another length in UDP", changed(udp, 44, 0), { type: GSO_UDP, size: 1000, start: 40 }],
    ["a fragment header", changed(udp, 6, 44), { type: GSO_UDP, size: 1000, start: 40 }],
    ["headers without end", changed(udp, 6, 0), { type: GSO_UDP, size: 1000, start: 40 }],
    ["segments too long for a frame", flowPacket(tcp), { ...good, size: 1719 }, OVERSIZE],
    ["twenty bytes", flowPacket(tcp).subarray(0, 20), good],
    ["nothing", new Uint8Array(), good],
  ];
  for (const [what, packet, virtio, expected = MALFORMED] of cases) {
    const { verdict, segmenter } = begin(packet, virtio);
    assert.equal(verdict, expected, what);
    assert.equal(segmenter.remaining, 0, what);
  }
  assert.equal(begin(flowPacket(tcp), { ...good, size: 1718 }).verdict, SEGMENTABLE);
  assert.equal(begin(flowPacket(tcp), { ...good, type: GSO_TCPV4 | GSO_ECN }).verdict, SEGMENTABLE);
});

test("no bytes make it write beyond a frame, or go on without end", () => {
  const changes = fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(
      flowPackets,
      changes,
      fc.nat(65_535),
      fc.nat(255),
      fc.boolean(),
      (whole, edits, size, type, isPlausible) => {
        const packet = flowPacket(whole);
        for (const [at, byte] of edits) if (at < packet.length) packet[at] = byte;
        const virtio = isPlausible
          ? { type: typeOf(whole), size: 1 + (size % 1500), flags: 0 }
          : { type, size, flags: 0 };
        const { verdict, segmenter } = begin(packet, virtio);
        if (verdict !== SEGMENTABLE) return;
        assert.ok(cutAll(segmenter).length <= packet.length);
      },
    ),
    { numRuns: 300 },
  );
  assert.equal(frames.available, frames.capacity);
});
