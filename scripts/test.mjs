#!/usr/bin/env node
// `npm test`: the linter, then every compiled test with node's test runner. Unit tests stand beside the code in dist/src
// (and dist/bench) and run concurrently; those in dist/test make namespaces and start daemons, and run one file after
// the other. Ends with one line of totals over both runs.
//
//   npm test                      everything
//   npm test -- replay esp        only test files whose path contains one of the words; no linter
//
// The exit code is 0 only if the linter is content, at least one test ran, and none failed.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const words = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), "vita-test-"));
process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));

/** Longest time (ms) that one test file may take; a hanging peer must not hang the whole run. */
const fileTimeout = 10 * 60 * 1000;

function testFiles(...folders) {
  return folders
    .map((folder) => join("dist", folder))
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true })
        .filter((name) => name.endsWith(".test.js"))
        .map((name) => join(folder, name)),
    )
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
    .sort();
}

function lint() {
  const biome = join(root, "node_modules/.bin/biome");
  return spawnSync(biome, ["check", "."], { cwd: root, stdio: "inherit" }).status === 0;
}

const totals = { tests: 0, pass: 0, fail: 0, cancelled: 0, skipped: 0 };

/** Runs the files; the reader sees the spec report, the totals come from a TAP report beside it. */
function runTests(title, files, options) {
  if (files.length === 0) return true;
  console.log(`\n${title}: ${files.length} files`);
  const tap = join(scratch, "report.tap");
  const { status } = spawnSync(
    process.execPath,
    [
      "--enable-source-maps",
      "--test",
      ...options,
      `--test-timeout=${fileTimeout}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=tap",
      `--test-reporter-destination=${tap}`,
      ...files,
    ],
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  const closing = existsSync(tap) ? readFileSync(tap, "utf8").split("\n").slice(-20).join("\n") : "";
  for (const name of Object.keys(totals)) {
    totals[name] += Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(closing)?.[1] ?? 0);
  }
  return status === 0;
}

const linted = words.length > 0 || lint();
const unit = runTests("unit tests", testFiles("src", "bench"), []);
const system = runTests("tests with namespaces and peers", testFiles("test"), ["--test-concurrency=1"]);

const failed = totals.fail + totals.cancelled;
console.log("");
if (!linted) console.log("the linter complains, see above (npm run format mends most of it)");
if (!unit) console.log("unit tests failed");
if (!system) console.log("tests with namespaces and peers failed");
if (totals.tests === 0) console.log("no test ran");
console.log(`${totals.pass} passed, ${failed} failed, ${totals.skipped} skipped`);
process.exit(linted && unit && system && totals.tests > 0 && failed === 0 ? 0 : 1);
