// ESP in UDP as trains: what is joined with what, and how it is cut. The kernel is asked in test/esp-trains.test.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames } from "../memory/frames.js";
import { Coalescer } from "./coalescer.js";
import { SEGMENTABLE, Segmenter } from "./segmenter.js";
import { type FlowPacket, faultOf, flowPacket } from "./testing/flow-packets.js";
import { GSO_UDP, NEEDS_CHECKSUM } from "./virtio-header.js";

const frames = new Frames(64);
const place = frames.reserve(70_000);

interface Options extends Partial<FlowPacket> {
  spi?: number;
  hasChecksum?: boolean;
}

/** ESP, or with SPI 0 what begins like IKE; without a UDP checksum unless told otherwise. */
function inUdp(sequence: number, { spi = 0x1001, hasChecksum = false, ...change }: Options = {}): Uint8Array {
  const payload = new Uint8Array(200);
  new DataView(payload.buffer).setUint32(0, spi);
  new DataView(payload.buffer).setUint32(4, sequence);
  const whole: FlowPacket = { version: 4, protocol: "udp", payload, ports: [4500, 4500], ...change };
  const packet = flowPacket(whole);
  const udp = whole.version === 4 ? 20 : 40;
  if (!hasChecksum) packet.fill(0, udp + 6, udp + 8);
  return packet;
}

/** Lengths of the trains that a batch leaves in. */
function trains(packets: readonly Uint8Array[], joinsEsp = true): number[] {
  const coalescer = new Coalescer(frames, 0, true, joinsEsp);
  coalescer.clear();
  for (const packet of packets) {
    const frame = frames.allocate();
    frames.bytes.set(packet, frames.offset[frame]);
    frames.length[frame] = packet.length;
    coalescer.add(frame);
    frames.free(frame);
  }
  return [...coalescer.count.subarray(0, coalescer.trains)];
}

test("ESP in UDP is joined where it goes out, for each peer by itself, and the last packet may be shorter", () => {
  const short = new Uint8Array(100).fill(9);
  for (const version of [4, 6] as const) {
    const packets = [1, 2, 3, 4].map((n) => inUdp(n, { version }));
    assert.deepEqual(trains(packets), [4]);
    assert.deepEqual(trains(packets, false), [1, 1, 1, 1], "user traffic keeps its missing checksum");
    packets.splice(2, 0, inUdp(9, { version, payload: short }));
    assert.deepEqual(trains(packets), [3, 2]);
  }
  const moved = { ports: [4500, 1024] as [number, number] };
  assert.deepEqual(trains([inUdp(1), inUdp(1, moved), inUdp(2), inUdp(2, moved)]), [2, 2]);
});

test("IKE, keepalives and UDP from other ports share no train with ESP", () => {
  const marked = { spi: 0, hasChecksum: true };
  assert.deepEqual(trains([inUdp(1), inUdp(2), inUdp(3, marked), inUdp(4)]), [2, 1, 1]);
  assert.deepEqual(trains([inUdp(1, marked), inUdp(2), inUdp(3)]), [1, 2]);
  assert.deepEqual(trains([inUdp(1, { spi: 0 }), inUdp(2, { spi: 0 })]), [1, 1]);
  const keepalive = { payload: Uint8Array.of(0xff) };
  assert.deepEqual(trains([inUdp(1, keepalive), inUdp(2, keepalive)]), [1, 1]);
  const elsewhere = { ports: [4501, 4500] as [number, number] };
  assert.deepEqual(trains([inUdp(1, elsewhere), inUdp(2, elsewhere)]), [1, 1]);
});

test("segments of ESP get no checksum where they are decrypted; IKE does, and ESP on its way elsewhere", () => {
  for (const [takesEsp, spi, isFinished] of [
    [true, 0x1001, false],
    [true, 0, true],
    [false, 0x1001, true],
  ] as const) {
    const segmenter = new Segmenter(frames, 0, 1758, takesEsp);
    const payload = new Uint8Array(900);
    new DataView(payload.buffer).setUint32(0, spi);
    const whole = flowPacket({ version: 6, protocol: "udp", payload, ports: [4500, 4500] });
    frames.bytes.set(whole, place);
    assert.equal(
      segmenter.begin(place, whole.length, NEEDS_CHECKSUM, GSO_UDP, 300, 40),
      SEGMENTABLE,
      `${spi}`,
    );
    for (let i = 0; i < 3; i++) {
      const frame = frames.allocate();
      frames.length[frame] = segmenter.cut(frame);
      const segment = frames.copy(frame);
      frames.free(frame);
      assert.equal(faultOf(segment) === undefined, isFinished);
      if (!isFinished) assert.deepEqual([...segment.subarray(46, 48)], [0, 0]);
      assert.equal(segment.length, 348);
    }
    assert.equal(segmenter.remaining, 0);
  }
});
