import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openSharedRegion } from "./region.js";

test("an annex behind a shared file is each one's own, of whatever size file and annex are", () => {
  const directory = mkdtempSync("/dev/shm/vita-region-");
  try {
    for (const [size, annex] of [
      [4096, 4096],
      [4096, 1],
      [5000, 70_000],
      [3 << 20, 100],
    ]) {
      const path = join(directory, `${size}-${annex}`);
      openSharedRegion(path, "create", size).unmap();
      const [one, other] = [0, 1].map(() => openSharedRegion(path, "write", 0, annex));
      const behind = Math.ceil(size / 4096) * 4096;
      assert.ok(one.size >= behind + annex);
      one.bytes[size - 1] = 7;
      assert.equal(other.bytes[size - 1], 7);
      one.bytes[behind + annex - 1] = 9;
      assert.equal(other.bytes[behind + annex - 1], 0);
      one.unmap();
      other.unmap();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
