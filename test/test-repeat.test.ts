// What fails of the tests that live in real time is run once more: `npm test` must not pass for that when it fails again, and must
// name it when it does not.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

const scripts = fileURLToPath(new URL("../../scripts", import.meta.url));

const passes = `import { test } from "node:test"; test("well", () => {});`;
const fails = `import { test } from "node:test"; test("always", () => { throw new Error("as ever"); });`;
const failsOnce = `
  import { existsSync, writeFileSync } from "node:fs";
  import { test } from "node:test";
  import { fileURLToPath } from "node:url";
  const mark = fileURLToPath(import.meta.url) + ".ran";
  test("outer", (t) => t.test("inner", (t) => {
    const isFirst = !existsSync(mark);
    writeFileSync(mark, "");
    if (isFirst) throw new Error("for once");
  }));`;
const skipsThen = failsOnce.replace(
  `if (isFirst) throw new Error("for once")`,
  `if (!isFirst) return t.skip(); throw new Error("once")`,
);
const helper = `
  import { test } from "node:test";
  export const make = () => test("always", () => { throw new Error("as ever"); });`;
const killsRunner = `process.kill(process.ppid, "SIGKILL");`;

/** What the compiler adds: each line is the same line of the source. */
function sourceMap(source: string, lines: number): string {
  const map = { version: 3, sources: [source], names: [], mappings: `AAAA${";AACA".repeat(lines)}` };
  return `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString("base64")}`;
}

/** Runs the real script over test files of our own, in a tree that has nothing else. */
function npmTest(t: TestContext, files: Readonly<Record<string, string>>) {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "vita-repeat-")));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const script of ["test.mjs", "test-report.mjs"])
    cpSync(join(scripts, script), join(root, "scripts", script));
  writeFileSync(join(root, "package.json"), JSON.stringify({ type: "module" }));
  for (const folder of ["test", "src"]) mkdirSync(join(root, "dist", folder), { recursive: true });
  // It wants the files that it names to be there.
  for (const [, name] of readFileSync(join(scripts, "test.mjs"), "utf8").matchAll(/^ {2}"([a-z0-9-]+)",$/gm))
    writeFileSync(join(root, "dist/test", `${name}.test.js`), "");
  for (const [path, text] of Object.entries(files))
    writeFileSync(
      join(root, "dist", `${path}.test.js`),
      text + sourceMap(`../../${path}.test.ts`, text.split("\n").length),
    );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, [join(root, "scripts/test.mjs"), "invented-"], {
    env,
    encoding: "utf8",
  });
  return { status, end: stdout.slice(stdout.lastIndexOf("the slowest of")) };
}

test("what fails once is named, and does not fail the run", (t) => {
  const { status, end } = npmTest(t, { "test/invented-once": failsOnce, "test/invented-well": passes });
  assert.match(end, /^1 passed, 0 failed, 0 skipped, 2 unsteady/m);
  assert.match(end, /^unsteady: test\/invented-once\.test\.ts: outer: inner\n {2}for once$/m);
  assert.equal(status, 0);
});

test("what fails again fails the run, whatever else passed when repeated", (t) => {
  const { status, end } = npmTest(t, { "test/invented-once": failsOnce, "test/invented-bad": fails });
  assert.match(end, /^0 passed, 3 failed, 0 skipped$/m);
  assert.match(end, /^failed again: test\/invented-bad\.test\.ts: always\n {2}as ever$/m);
  assert.equal(status, 1);
});

test("unit tests are not repeated, nor are more than a few files", (t) => {
  const unit = npmTest(t, { "src/invented-once": failsOnce });
  assert.match(unit.end, /^0 passed, 2 failed, 0 skipped$/m);
  assert.equal(unit.status, 1);
  const many = npmTest(
    t,
    Object.fromEntries(["a", "b", "c", "d"].map((name) => [`test/invented-${name}`, failsOnce])),
  );
  assert.match(many.end, /^0 passed, 8 failed, 0 skipped$/m);
  assert.equal(many.status, 1);
});

test("a test that a helper makes is not taken for the helper's, which has none and passes", (t) => {
  const { status, end } = npmTest(t, {
    "test/invented-made": `import { make } from "./helper.test.js"; make();`,
    "test/helper": helper,
  });
  assert.match(end, /^0 passed, 1 failed, 0 skipped$/m);
  assert.equal(status, 1);
});

test("a test that is skipped the second time has not passed", (t) => {
  const { status, end } = npmTest(t, { "test/invented-skips": skipsThen, "test/invented-once": failsOnce });
  assert.match(end, /^0 passed, 4 failed, 0 skipped$/m);
  assert.equal(status, 1);
});

test("a runner that is killed has not tested what it did not come to", (t) => {
  const { status, end } = npmTest(t, {
    "src/invented-well": passes,
    "test/invented-a": failsOnce,
    "test/invented-b": killsRunner,
    "test/invented-c": fails,
  });
  assert.match(end, /^1 passed, /m);
  assert.match(end, /^a run of node's test runner failed, see above: tests with namespaces and peers$/m);
  assert.equal(status, 1);
});
