#!/usr/bin/env node
// `npm test`: the linter, then every compiled test with node's test runner. Unit tests stand beside the code in dist/src
// (and dist/bench) and run concurrently; those in dist/test make namespaces and start daemons, and run one file after
// the other. Ends with one line of totals.
//
//   npm test                      everything
//   npm test -- replay esp        only test files whose path contains one of the words; no linter
//
// Tests in dist/test live in real time, with kernels and daemons that the machine may keep waiting. When a few files of them fail,
// these are run again, alone, at the end. If every test that failed passes then, they are told of as unsteady; otherwise all of
// them have failed. Nothing else is repeated.
//
// The exit code is 0 only if the linter is content, at least one test ran, node's test runner came to its end, and none failed
// but unsteady ones.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const words = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), "vita-test-"));
process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));

/** Longest time (ms) that one test file may take; a hanging peer must not hang the whole run. */
const fileTimeout = 10 * 60 * 1000;

/** How many of the slowest files are told of. */
const SLOWEST = 10;

/** Files that may be run again. When there are more, something is wrong with what is tested, or with the machine. */
const MOST_REPEATED = 3;

/**
 * Tests of dist/test that run beside each other. They wait most of the time, for charon, for processes that start, for what is
 * to time out; their flows are slow, and no limit of theirs is so short that a neighbour who takes a processor for a while
 * would matter. All others of dist/test are alone: that is where a new one belongs which counts packets of a fast flow, or
 * milliseconds.
 */
const beside = [
  "acquire",
  "apt-sources",
  "breaths",
  "changed-configuration",
  "charon-plugin",
  "charon-threads",
  "config-command",
  "configuration-examples",
  "copied-esp",
  "customers",
  "device-ports",
  "eavesdropper",
  "esp-scapy",
  "full-disk",
  "full-memory",
  "hard-limits",
  "hub",
  "idle",
  "ike-connections",
  "import-vita",
  "lab",
  "libipsec",
  "made-devices",
  "mobike",
  "nat",
  "nat-customers",
  "network-monitor",
  "node-api",
  "options",
  "punt-device",
  "removed-files",
  "renewed-files",
  "selectors",
  "sequence-ceiling",
  "slow-path",
  "static-sas",
  "test-repeat",
  "test-report",
  "transport-breaths",
  "tun-routes",
  "virtual-ip",
];

function testFiles(folder) {
  if (!existsSync(join(root, "dist", folder))) return [];
  return readdirSync(join(root, "dist", folder), { recursive: true })
    .filter((name) => name.endsWith(".test.js"))
    .map((name) => join("dist", folder, name))
    .sort();
}

const chosen = (files) =>
  files.filter((path) => words.length === 0 || words.some((word) => path.includes(word)));

function lint() {
  const biome = join(root, "node_modules/.bin/biome");
  return spawnSync(biome, ["check", "."], { cwd: root, stdio: "inherit" }).status === 0;
}

/** Adds what several runs told: node's totals, the tests that failed, and how long files took. */
class Outcome {
  totals = { tests: 0, pass: 0, fail: 0, cancelled: 0, skipped: 0 };
  failures = [];
  files = [];
  /** What was run, and what of it passed; keys of `keyOf`. */
  paths = new Set();
  passed = new Set();
  /** False when node's test runner did not come to its end: then nobody knows what else would have failed. */
  isWhole = true;
  /** False when not all is well, for whatever reason. */
  isWell = true;

  /**
   * @returns the files in which a test failed; undefined if that is not known of each, because a test that a helper makes is
   * told to be the helper's
   */
  get failedFiles() {
    const paths = [...new Set(this.failures.map(({ file }) => compiled(file ?? "")))];
    return paths.every((one) => this.paths.has(one)) ? paths : undefined;
  }

  get failed() {
    return this.totals.fail + this.totals.cancelled;
  }
}

const path = (file) => relative(root, file);
// Failures are told of where the source map says that they are.
const compiled = (file) => path(file).replace(/^(?!dist\/)(.*)\.ts$/, "dist/$1.js");
const keyOf = ({ file, names }) => JSON.stringify([compiled(file ?? ""), names]);

/** Runs the files, so many at a time; the reader sees the spec report, what is told at the end comes from one of our own. */
function runTests(outcome, title, paths, atATime) {
  if (paths.length === 0) return;
  console.log(`\n${title}: ${paths.length} files`);
  const report = join(scratch, "report.jsonl");
  rmSync(report, { force: true });
  for (const one of paths) outcome.paths.add(one);
  const { status, signal } = spawnSync(
    process.execPath,
    [
      "--enable-source-maps",
      "--test",
      `--test-concurrency=${atATime}`,
      `--test-timeout=${fileTimeout}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      `--test-reporter=${join(root, "scripts/test-report.mjs")}`,
      `--test-reporter-destination=${report}`,
      ...paths,
    ],
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  const lines = existsSync(report) ? readFileSync(report, "utf8").split("\n") : [];
  // A runner that is killed leaves half a line.
  lines.pop();
  const rest = new Set(paths);
  let isEnded = false;
  for (const told of lines.map((line) => JSON.parse(line))) {
    if (told.failed) outcome.failures.push(told);
    else if (told.passed) outcome.passed.add(keyOf({ file: told.file, names: told.passed }));
    else if (told.total in outcome.totals) outcome.totals[told.total] += told.count;
    else if (told.seconds !== undefined) {
      outcome.files.push(told);
      rest.delete(path(told.file));
    }
    isEnded ||= told.total === "skipped";
  }
  if (rest.size > 0 || !isEnded || (status !== 0 && status !== 1)) {
    outcome.isWhole = false;
    outcome.isWell = false;
    console.log(
      `\n${title}: node's test runner did not come to its end (${signal ?? `exit code ${status}`})`,
    );
  }
  if (status !== 0) outcome.isWell = false;
}

const begun = performance.now();
const cores = Math.max(2, availableParallelism());
const system = testFiles("test");
const together = beside.map((name) => join("dist/test", `${name}.test.js`));
const missing = together.filter((path) => !system.includes(path));
if (missing.length > 0) throw new Error(`scripts/test.mjs: there is no ${missing.join(", no ")}`);

const linted = words.length > 0 || lint();
const first = new Outcome();
runTests(first, "tests that measure", chosen(testFiles("bench")), 1);
runTests(first, "unit tests", chosen(testFiles("src")), cores);
const live = new Outcome();
runTests(live, "tests with namespaces and peers, beside each other", chosen(together), 2);
runTests(
  live,
  "tests with namespaces and peers, one by one",
  chosen(system.filter((path) => !together.includes(path))),
  1,
);

const again = new Outcome();
const unsteady = live.failedFiles ?? [];
const isRepeated = live.isWhole && unsteady.length > 0 && unsteady.length <= MOST_REPEATED;
if (isRepeated) runTests(again, "failed, and once again alone", unsteady, 1);
/** Each test must have passed by its name: one that is skipped the second time has not. */
const passesAgain = ({ file, failed }) =>
  failed.length === 0 || again.passed.has(keyOf({ file, names: failed }));
const isUnsteady = isRepeated && again.isWell && again.failed === 0 && live.failures.every(passesAgain);

const tests = first.totals.tests + live.totals.tests;
const failed = first.failed + (isUnsteady ? 0 : live.failed);
const passed = linted && first.isWell && (live.isWell || isUnsteady) && tests > 0 && failed === 0;
const files = [...first.files, ...live.files];
console.log(
  `\nthe slowest of ${files.length} files, of ${Math.round((performance.now() - begun) / 1000)} s:`,
);
for (const { file, seconds } of files.toSorted((a, b) => b.seconds - a.seconds).slice(0, SLOWEST))
  console.log(`${seconds.toFixed(1).padStart(7)} s  ${path(file)}`);
console.log("");
if (!linted) console.log("the linter complains, see above (npm run format mends most of it)");
if (tests === 0) console.log("no test ran");
console.log(
  `${first.totals.pass + live.totals.pass} passed, ${failed} failed, ${first.totals.skipped + live.totals.skipped} skipped` +
    (isUnsteady ? `, ${live.failed} unsteady: failed, and passed when repeated` : ""),
);
for (const [outcome, what] of [
  [first, "failed"],
  [live, isUnsteady ? "unsteady" : "failed"],
  [again, "failed again"],
]) {
  for (const { file, failed: names, message } of outcome.failures) {
    console.log(`\n${what}: ${[path(file), ...names].join(": ")}`);
    for (const text of message) console.log(`  ${text}`);
  }
}
for (const [outcome, what] of [
  [first, "tests that measure, or unit tests"],
  [live, "tests with namespaces and peers"],
  [again, "what was repeated"],
])
  if (!outcome.isWhole || (!outcome.isWell && outcome.failures.length === 0))
    console.log(`\na run of node's test runner failed, see above: ${what}`);
process.exit(passed ? 0 : 1);
