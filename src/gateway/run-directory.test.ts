import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { RunDirectory } from "./run-directory.js";

for (const base of ["/dev/shm", tmpdir()])
  test(`below ${base}: made, made again after somebody removed it by hand, and gone without a trace`, () => {
    const directory = mkdtempSync(join(base, "vita-run-"));
    try {
      const first = new RunDirectory("node", directory);
      first.make();
      assert.equal(statSync(first.path).mode & 0o777, 0o700);
      const path = first.fresh("sad");
      writeFileSync(path, "1", { flag: "wx" });
      assert.equal(first.shared("sad"), path);

      rmSync(directory, { recursive: true });
      const second = new RunDirectory("node", directory);
      second.make();
      const again = second.fresh("sad");
      writeFileSync(again, "2", { flag: "wx" });
      second.remove();
      assert.ok(!existsSync(again));
      assert.ok(!existsSync(second.path));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
