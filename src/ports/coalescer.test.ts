// Trains, against what the kernel's GRO joins (net/ipv4/tcp_offload.c, udp_offload.c): which packets may be in one, that
// cutting a train again gives the same packets, and that nothing is lost or overtaken. The kernel itself is asked in
// test/tun-offload.test.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Frames, HEADROOM } from "../memory/frames.js";
import { Coalescer } from "./coalescer.js";
import { SEGMENTABLE, Segmenter } from "./segmenter.js";
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
  URG,
} from "./testing/flow-packets.js";
import { TRAIN_HEADER } from "./train-header.js";
import {
  GSO_ECN,
  GSO_TCPV4,
  GSO_UDP,
  VIRTIO_BYTES,
  VIRTIO_CHECKSUM_START,
  VIRTIO_FLAGS,
  VIRTIO_GSO_SIZE,
  VIRTIO_GSO_TYPE,
} from "./virtio-header.js";

const frames = new Frames(256);
const place = frames.reserve(70_000);
const header = frames.reserve(TRAIN_HEADER);

interface Train {
  /** The packets as they were handed over. */
  packets: Uint8Array[];
  /** Of several: the virtio header, and all of it in one piece. */
  virtio?: DataView;
  whole?: Uint8Array;
}

/** Hands packets over to a coalescer, in frames that begin at odd places too, and returns its trains. */
function coalesce(
  packets: readonly Uint8Array[],
  { joinsUdp = true, link = 0, macs = [] as number[] } = {},
): Train[] {
  const coalescer = new Coalescer(frames, link, joinsUdp);
  const taken = packets.map((packet, i) => {
    const frame = frames.allocate();
    frames.offset[frame] += i % 5;
    frames.bytes.fill(macs[i] ?? 1, frames.offset[frame], frames.offset[frame] + link);
    frames.bytes.set(packet, frames.offset[frame] + link);
    frames.length[frame] = link + packet.length;
    return frame;
  });
  coalescer.clear();
  for (const frame of taken) coalescer.add(frame);
  const trains: Train[] = [];
  for (let train = 0; train < coalescer.trains; train++) {
    const members: number[] = [];
    for (let frame = coalescer.first[train], n = coalescer.count[train]; n > 0; n--) {
      members.push(frame);
      frame = coalescer.following[frame];
    }
    const inside = members.map((frame) => frames.copy(frame).subarray(link));
    if (members.length === 1) {
      trains.push({ packets: inside });
      continue;
    }
    const length = coalescer.writeHeader(train, header);
    assert.equal(length, VIRTIO_BYTES + coalescer.header[train]);
    const headers = frames.bytes.slice(header, header + length);
    const skip = coalescer.header[train] - link;
    const parts = [headers.subarray(VIRTIO_BYTES + link), ...inside.map((packet) => packet.subarray(skip))];
    trains.push({ packets: inside, virtio: new DataView(headers.buffer), whole: Buffer.concat(parts) });
    assert.deepEqual(
      inside,
      members.map((frame) => packets[taken.indexOf(frame)]),
    );
  }
  for (const frame of taken) frames.free(frame);
  return trains;
}

/** Cuts a train again. */
function cut({ virtio, whole, packets }: Train, link = 0): Uint8Array[] {
  if (!virtio || !whole) return packets;
  assert.equal(virtio.getUint8(VIRTIO_FLAGS), 1);
  const segmenter = new Segmenter(frames, 0, 1758);
  frames.bytes.set(whole, place);
  const verdict = segmenter.begin(
    place,
    whole.length,
    virtio.getUint8(VIRTIO_FLAGS),
    virtio.getUint8(VIRTIO_GSO_TYPE),
    virtio.getUint16(VIRTIO_GSO_SIZE, true),
    virtio.getUint16(VIRTIO_CHECKSUM_START, true) - link,
  );
  assert.equal(verdict, SEGMENTABLE);
  const segments: Uint8Array[] = [];
  while (segmenter.remaining > 0) {
    const frame = frames.allocate();
    frames.length[frame] = segmenter.cut(frame);
    segments.push(frames.copy(frame));
    frames.free(frame);
  }
  return segments;
}

/** Lengths of the trains. */
const sizes = (trains: Train[]) => trains.map(({ packets }) => packets.length);

/** A number of consecutive segments; what is in `changes` differs in one. */
function flow(
  count: number,
  base: Partial<FlowPacket>,
  changes: Record<number, Partial<FlowPacket>> = {},
): FlowPacket[] {
  const bytes = base.payload ?? new Uint8Array(100).fill(5);
  return Array.from({ length: count }, (_, i) => ({
    version: 4,
    protocol: "tcp",
    ...base,
    payload: bytes,
    id: ((base.id ?? 7) + i) & 0xffff,
    sequence: ((base.sequence ?? 1) + i * bytes.length) >>> 0,
    ...changes[i],
  }));
}
const made = (packets: FlowPacket[]) => packets.map(flowPacket);

test("consecutive segments become one train, which cut again gives the same packets", () => {
  for (const version of [4, 6] as const)
    for (const protocol of ["tcp", "udp"] as const)
      for (const length of [1, 99, 1348]) {
        const payload = Uint8Array.from({ length }, (_, i) => i * 3);
        const packets = made(
          flow(
            40,
            { version, protocol, payload, sequence: 0xffff_f000, id: 0xfff0, fragment: 0 },
            {
              39: { payload: payload.subarray(0, (length + 1) >> 1), flags: ACK | PSH },
            },
          ),
        );
        const trains = coalesce(packets);
        assert.deepEqual(sizes(trains), [40], `${version} ${protocol} ${length}`);
        assert.deepEqual(cut(trains[0]), packets);
      }
});

test("the header of a train is what the kernel wants", () => {
  const options = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
  const [tcp] = coalesce(
    made(flow(3, { options, flags: ACK | CWR }, { 1: { flags: ACK }, 2: { flags: ACK | FIN } })),
  );
  assert.ok(tcp.virtio && tcp.whole);
  assert.equal(tcp.virtio.getUint8(VIRTIO_GSO_TYPE), GSO_TCPV4 | GSO_ECN);
  assert.deepEqual(
    [2, 4, 6, 8].map((at) => tcp.virtio?.getUint16(at, true)),
    [52, 100, 20, 16],
  );
  assert.equal(tcp.whole[33], ACK | CWR | FIN);
  const [udp] = coalesce(made(flow(3, { version: 6, protocol: "udp" })), { link: 14 });
  assert.equal(udp.virtio?.getUint8(VIRTIO_GSO_TYPE), GSO_UDP);
  assert.deepEqual(
    [2, 4, 6, 8].map((at) => udp.virtio?.getUint16(at, true)),
    [62, 100, 54, 6],
  );
  assert.equal(cut(udp, 14).length, 3);
});

test("a train ends where the kernel's would", () => {
  const tcp: Partial<FlowPacket> = { protocol: "tcp" };
  const udp: Partial<FlowPacket> = { protocol: "udp" };
  const six: Partial<FlowPacket> = { version: 6 };
  const shift = { sequence: 202 };
  const cases: [string, number[], Partial<FlowPacket>, Record<number, Partial<FlowPacket>>?][] = [
    ["nothing differs", [4], tcp],
    ["PSH", [2, 2], tcp, { 1: { flags: ACK | PSH } }],
    ["PSH on the first", [1, 3], tcp, { 0: { flags: ACK | PSH } }],
    ["FIN", [3, 1], tcp, { 2: { flags: ACK | FIN } }],
    ["CWR begins a train", [2, 2], tcp, { 2: { flags: ACK | CWR } }],
    ["ECE", [2, 1, 1], tcp, { 2: { flags: ACK | ECE } }],
    ["SYN", [1, 3], tcp, { 0: { flags: ACK | SYN } }],
    ["RST", [3, 1], tcp, { 3: { flags: ACK | RST } }],
    ["URG", [2, 1, 1], tcp, { 2: { flags: ACK | URG } }],
    ["no ACK", [3, 1], tcp, { 3: { flags: 0 } }],
    ["a hole", [2, 2], tcp, { 2: shift, 3: { sequence: 302 } }],
    ["another acknowledgement", [3, 1], tcp, { 3: { acknowledgement: 2 } }],
    ["another window", [3, 1], tcp, { 3: { window: 2 } }],
    ["an option more", [3, 1], tcp, { 3: { options: Uint8Array.of(1, 1, 1, 1) } }],
    [
      "other options",
      [1, 3],
      { options: Uint8Array.of(1, 1, 1, 1) },
      { 0: { options: Uint8Array.of(1, 1, 1, 0) } },
    ],
    ["a shorter one", [3, 1], tcp, { 2: { payload: new Uint8Array(99) }, 3: { sequence: 300 } }],
    ["a longer one", [2, 1, 1], tcp, { 2: { payload: new Uint8Array(101) } }],
    ["no payload", [2, 1, 1], tcp, { 2: { payload: new Uint8Array() } }],
    ["another TTL", [3, 1], tcp, { 3: { ttl: 63 } }],
    ["another type of service", [3, 1], tcp, { 3: { tos: 4 } }],
    ["another ECN", [3, 1], tcp, { 3: { tos: 3 } }],
    ["may be fragmented, unlike the others", [3, 1], tcp, { 3: { fragment: 0 } }],
    ["a jump of the identification", [3, 1], tcp, { 3: { id: 9 } }],
    ["the same identification, all of them", [4], tcp, { 1: { id: 7 }, 2: { id: 7 }, 3: { id: 7 } }],
    ["the same, and then not", [2, 2], tcp, { 1: { id: 7 }, 2: { id: 9 }, 3: { id: 10 } }],
    [
      "the same, where fragments need it",
      [1, 1, 1, 1],
      { fragment: 0 },
      { 1: { id: 7 }, 2: { id: 7 }, 3: { id: 7 } },
    ],
    ["a fragment", [2, 1, 1], udp, { 2: { fragment: 0x2000 } }],
    ["IPv4 options", [2, 1, 1], udp, { 2: { ipOptions: new Uint8Array(4).fill(1) } }],
    ["a shorter datagram", [3, 1], udp, { 2: { payload: new Uint8Array(1) } }],
    ["an empty datagram", [3, 1], udp, { 3: { payload: new Uint8Array() } }],
    ["another TTL, IPv6", [3, 1], six, { 3: { ttl: 1 } }],
    ["another traffic class, IPv6", [3, 1], six, { 3: { tos: 4 } }],
    ["another source, IPv6", [3, 1], six, { 3: { source: "fd00::9" } }],
    ["an extension header", [3, 1], six, { 3: { extension: [60, Uint8Array.of(6, 0, 1, 4, 0, 0, 0, 0)] } }],
    [
      "another flow in between",
      [3, 1],
      tcp,
      { 1: { ports: [1, 2] }, 2: { sequence: 101, id: 8 }, 3: { sequence: 201, id: 9 } },
    ],
  ];
  for (const [what, expected, base, changes] of cases) {
    const packets = made(flow(4, base, changes));
    const trains = coalesce(packets);
    assert.deepEqual(sizes(trains), expected, what);
    for (const train of trains)
      assert.ok(cut(train).every((packet) => faultOf(packet) === undefined || !train.virtio));
  }
});

test("what is wrong is not made right: such packets stay alone, as they are", () => {
  const wrong = (at: number) => (packet: Uint8Array, i: number) => {
    if (i === at) packet[packet.length - 1] ^= 1;
    return packet;
  };
  for (const protocol of ["tcp", "udp"] as const) {
    assert.deepEqual(sizes(coalesce(made(flow(4, { protocol })).map(wrong(0)))), [1, 3]);
    assert.deepEqual(sizes(coalesce(made(flow(4, { protocol })).map(wrong(2)))), [2, 1, 1]);
  }
  const header = made(flow(3, {}));
  header[1][10] ^= 1;
  assert.deepEqual(sizes(coalesce(header)), [1, 1, 1]);
  const without = made(flow(3, { protocol: "udp" }));
  for (const packet of without) packet.fill(0, 26, 28);
  assert.deepEqual(sizes(coalesce(without)), [1, 1, 1]);
  const lying = made(flow(3, { protocol: "udp" }));
  for (const packet of lying) packet[25]--;
  assert.deepEqual(sizes(coalesce(lying)), [1, 1, 1]);
  const padded = made(flow(3, {})).map((packet) => Uint8Array.from([...packet, 0]));
  assert.deepEqual(sizes(coalesce(padded)), [1, 1, 1]);
});

test("trains are as long as the kernel takes them", () => {
  const long = made(flow(60, { payload: new Uint8Array(1400) }));
  assert.deepEqual(sizes(coalesce(long)), [46, 14]);
  const six = made(flow(60, { version: 6, payload: new Uint8Array(1400) }));
  assert.deepEqual(sizes(coalesce(six)), [46, 14]);
  assert.deepEqual(sizes(coalesce(made(flow(100, { protocol: "udp" })))), [64, 36]);
  assert.deepEqual(sizes(coalesce(made(flow(5, { protocol: "udp" })), { joinsUdp: false })), [1, 1, 1, 1, 1]);
});

test("flows that take turns are joined; what belongs to no flow is not overtaken", () => {
  const flows = [1, 2, 3].map((port) => made(flow(10, { ports: [port, 80] })));
  const mixed = flows[0].flatMap((packet, i) => [packet, flows[1][i], flows[2][i]]);
  assert.deepEqual(sizes(coalesce(mixed)), [10, 10, 10]);
  const icmp = flowPacket({ version: 4, protocol: "udp", payload: new Uint8Array(10) });
  icmp[9] = 1;
  const [some] = flows;
  assert.deepEqual(sizes(coalesce([...some.slice(0, 4), icmp, ...some.slice(4)])), [4, 1, 6]);
  const macs = some.map((_, i) => (i < 5 ? 1 : 2));
  assert.deepEqual(sizes(coalesce(some, { link: 14, macs })), [5, 5]);
});

test("any mixture comes out as it went in: each packet once, each flow in order", () => {
  const packet: fc.Arbitrary<Partial<FlowPacket>> = fc.record(
    {
      flags: fc.constantFrom(ACK, ACK | PSH, ACK | CWR, ACK | FIN, ACK | SYN),
      tos: fc.constantFrom(0, 2, 3),
      skip: fc.constantFrom(0, 0, 1),
      payload: fc.constantFrom(0, 1, 100, 200).map((length) => new Uint8Array(length).fill(length)),
    },
    { requiredKeys: [] },
  );
  const step = fc.record({ flow: fc.nat(5), change: fc.option(packet, { freq: 4 }), damage: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 128 }), (steps) => {
      const next = [0, 1, 2, 3, 4, 5].map(() => ({ sequence: 0xffff_f800, id: 0xfffa }));
      const packets = steps.map(({ flow: number, change, damage }) => {
        const state = next[number];
        const whole: FlowPacket = {
          version: number % 2 === 0 ? 4 : 6,
          protocol: number < 4 ? "tcp" : "udp",
          ports: [number, 9],
          payload: new Uint8Array(200).fill(number),
          ...state,
          ...change,
        };
        state.sequence = (state.sequence + whole.payload.length) >>> 0;
        state.id = (state.id + 1) & 0xffff;
        const bytes = flowPacket(whole);
        if (damage === 0) bytes[bytes.length - 1] ^= 0xff;
        return bytes;
      });
      const trains = coalesce(packets);
      const out = trains.flatMap((train) => cut(train));
      const ofFlow = (all: Uint8Array[], port: number) =>
        all.filter((bytes) => bytes[bytes[0] >>> 4 === 4 ? 21 : 41] === port);
      for (let port = 0; port < 6; port++) assert.deepEqual(ofFlow(out, port), ofFlow(packets, port));
      assert.equal(out.length, packets.length);
    }),
    { numRuns: 150 },
  );
  assert.equal(frames.available, frames.capacity);
  assert.equal(frames.offset[frames.allocate()] % 2048, HEADROOM);
});

test("no bytes are joined but to packets of the same flow", () => {
  const edit = fc.tuple(fc.nat(3), fc.nat(60), fc.nat(255));
  fc.assert(
    fc.property(
      fc.constantFrom<4 | 6>(4, 6),
      fc.array(edit, { maxLength: 3 }),
      fc.nat(60),
      (version, edits, end) => {
        const packets = made(flow(4, { version, payload: new Uint8Array(30) }));
        for (const [i, at, byte] of edits) packets[i][at] = byte;
        packets[3] = packets[3].subarray(0, end);
        const trains = coalesce(packets);
        assert.deepEqual(trains.flatMap((train) => cut(train)).length, 4);
        for (const train of trains)
          if (train.virtio) assert.ok(cut(train).every((p) => faultOf(p) === undefined));
      },
    ),
    { numRuns: 500 },
  );
});
