// What `npm test` tells at its end comes from a reporter of its own: of files that fail in every way there is, each failure is
// told once, by its name and its cause.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const reporter = fileURLToPath(new URL("../../scripts/test-report.mjs", import.meta.url));

const files = {
  "assertions.test.mjs": `
    import assert from "node:assert";
    import { describe, it, test } from "node:test";
    test("outer", async (t) => {
      await t.test("inner", () => assert.equal(1, 2, "first line\\n\\nsecond line\\nthird line"));
      await t.test("well", () => {});
      t.diagnostic("pass 1000000");
    });
    test("differs", () => assert.deepEqual({ a: 1 }, { a: 2 }));
    describe("suite", () => it("throws text", () => { throw "just text"; }));
    test("never ends", { timeout: 50 }, () => new Promise(() => setTimeout(() => {}, 1000)));`,
  "crash.test.mjs": `
    import { test } from "node:test";
    test("well", () => {});
    setTimeout(() => process.kill(process.pid, "SIGKILL"), 50);`,
  "syntax.test.mjs": "no javascript",
  "well.test.mjs": `
    import { test } from "node:test";
    test("well", () => {});
    test("later", { skip: true }, () => {});`,
};

interface Told {
  file?: string;
  seconds?: number;
  failed?: string[];
  message?: string[];
  total?: string;
  count?: number;
}

test("the end of npm test: what failed and why, how long files took, and the totals", (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "vita-report-")));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = spawnSync(
    process.execPath,
    ["--test", `--test-reporter=${reporter}`, ...Object.keys(files)],
    { cwd: folder, env, encoding: "utf8" },
  );
  const told = stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Told);
  assert.deepEqual(
    told
      .filter(({ failed }) => failed)
      .map(({ file, failed, message }) => [basename(file ?? ""), failed, message])
      .sort(),
    [
      ["assertions.test.mjs", ["differs"], ["Expected values to be loosely deep-equal:", "{", "  a: 1", "}"]],
      ["assertions.test.mjs", ["never ends"], ["test timed out after 50ms"]],
      ["assertions.test.mjs", ["outer", "inner"], ["first line", "second line", "third line"]],
      ["assertions.test.mjs", ["suite", "throws text"], ["just text"]],
      ["crash.test.mjs", [], ["test failed", "killed by SIGKILL"]],
      ["syntax.test.mjs", [], ["test failed", "exit code 1"]],
    ],
  );
  const took = told.filter(({ seconds }) => seconds !== undefined);
  assert.deepEqual(took.map(({ file }) => basename(file ?? "")).sort(), Object.keys(files));
  assert.ok(took.every(({ seconds }) => seconds! > 0 && seconds! < 30));
  const totals = Object.fromEntries(told.map(({ total, count }) => [total, count]));
  assert.deepEqual([totals["pass"], totals["skipped"]], [3, 1]);
});
