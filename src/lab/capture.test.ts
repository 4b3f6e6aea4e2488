import assert from "node:assert/strict";
import { test } from "node:test";
import { readPcap } from "./capture.js";

function record(bytes: number[]): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(bytes.length, 8);
  header.writeUInt32LE(bytes.length, 12);
  return Buffer.concat([header, Buffer.from(bytes)]);
}

test("whole records are read; one that tcpdump is still writing is left out", () => {
  const file = Buffer.concat([
    Buffer.alloc(24),
    record([1, 2, 3]),
    record([4]),
    record([5, 6]).subarray(0, 17),
  ]);
  assert.deepEqual(
    readPcap(file).map((packet) => [...packet]),
    [[1, 2, 3], [4]],
  );
  assert.deepEqual(readPcap(Buffer.alloc(0)), []);
});
