// Records of workers: what is written is what is read, and what is none is not taken for one.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeWorkerEvent,
  EventWriter,
  WORKER_EVENT_MARK,
  WorkerEventType,
  workerEvent,
} from "./worker-events.js";

const IPV4 = Uint8Array.from([0x45, ...new Array(11).fill(0), 10, 1, 0, 5, 10, 2, 0, 7]);
const IPV6 = Uint8Array.from([0x60, ...new Array(7).fill(0), ...Array.from({ length: 32 }, (_, i) => i + 1)]);

function written(use: (writer: EventWriter, packet: DataView) => void, packet: Uint8Array): Uint8Array {
  const records: Uint8Array[] = [];
  const writer = new EventWriter({ seconds: 77 }, (record) => records.push(record.slice()));
  use(writer, new DataView(packet.buffer));
  assert.equal(records.length, 1);
  return records[0];
}

test("a record fills its place: 64 bytes, a divisor of what a pipe holds and hands out at once", () => {
  assert.equal(workerEvent.size, 64);
});

test("acquire: IPv4 with ports, IPv6 without", () => {
  const four = written((writer, packet) => writer.acquire(5, packet, 0, 17, 1000, 53), IPV4);
  assert.deepEqual(decodeWorkerEvent(four), {
    type: WorkerEventType.acquire,
    subject: 5,
    spi: 0,
    seconds: 77,
    protocol: 17,
    srcPort: 1000,
    dstPort: 53,
    src: Uint8Array.of(10, 1, 0, 5),
    dst: Uint8Array.of(10, 2, 0, 7),
  });
  assert.deepEqual(four.subarray(0, 4), WORKER_EVENT_MARK);
  const six = decodeWorkerEvent(written((writer, packet) => writer.acquire(5, packet, 0, 50, -1, -1), IPV6));
  assert.deepEqual(six?.src, IPV6.slice(8, 24));
  assert.deepEqual(six?.dst, IPV6.slice(24, 40));
  assert.deepEqual([six?.srcPort, six?.dstPort], [0, 0]);
});

test("mapping", () => {
  const event = decodeWorkerEvent(
    written((writer, packet) => writer.mapping(3, 0xc0000001, packet, 0, 40_000), IPV4),
  );
  assert.equal(event?.type, WorkerEventType.mapping);
  assert.equal(event?.subject, 3);
  assert.equal(event?.spi, 0xc0000001);
  assert.equal(event?.srcPort, 40_000);
  assert.deepEqual(event?.src, Uint8Array.of(10, 1, 0, 5));
});

test("noise is no record", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (noise) => {
      const event = decodeWorkerEvent(noise);
      if (event) assert.deepEqual(noise.subarray(0, 4), WORKER_EVENT_MARK);
    }),
  );
  const record = written((writer, packet) => writer.acquire(5, packet, 0, 17, 1000, 53), IPV4);
  for (const [at, value] of [
    [0, 0],
    [workerEvent.at.type, 3],
    [workerEvent.at.family, 5],
  ]) {
    const changed = record.slice();
    changed[at] = value;
    assert.equal(decodeWorkerEvent(changed), undefined);
  }
});
