// kill -9 while a configuration is being written, before each call that changes a file and at any moment: what is found
// afterwards is the last one that was told to be committed, or the one that was about to be; it loads, and so does the history.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { History } from "./history.js";
import { minimal } from "./testing/node-files.js";

const program = fileURLToPath(new URL("./testing/committer.js", import.meta.url));
/** More calls than two commits make, of which one is confirmed: five for a file, and its removal. */
const CALLS = 24;
/** At any moment. */
const KILLS = 180;
/** How many run at a time, each with files of its own. */
const LANES = 2;

/** So long that it takes a while to write the file, and few, so that it is read fast. */
const identity = Array.from({ length: 100 }, (_, i) => `${i}-${String(i % 10).repeat(500)}`);

function makeFiles(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "vita-killed-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const etc = join(folder, "etc");
  mkdirSync(etc);
  const startupFile = join(etc, "a.json");
  writeFileSync(
    startupFile,
    JSON.stringify({
      ...minimal,
      secret: [{ id: "all", identity, data: "secret" }],
      limits: { "orphan-seconds": 1 },
    }),
  );
  return { etc, startupFile, stateDirectory: join(folder, "state") };
}

/** The number in a configuration's text. */
function numberIn(text: string): number {
  const document = JSON.parse(text);
  return (document["vita-gateway:limits"] ?? document.limits)["orphan-seconds"];
}

/** Lets the program run, kills it at a random moment, if it does not do so itself, and returns what it has told. */
async function runAndKill(args: string[], killsItself: boolean): Promise<[string, string][]> {
  const child: ChildProcess = spawn(process.execPath, [program, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  const told: [string, string][] = [];
  const committed = new Promise<void>((resolve) => {
    createInterface(child.stdout!).on("line", (line) => {
      const [, what, about] = /^(\S+) (.*)$/.exec(line) ?? [];
      told.push([what, about]);
      if (what === "done") resolve();
    });
  });
  // Most are killed while they commit, some before.
  if (!killsItself)
    await Promise.race([
      ended,
      Math.random() < 0.1 ? sleep(Math.random() * 300) : committed.then(() => sleep(Math.random() * 30)),
    ]);
  else await ended;
  assert.equal(child.exitCode, null, "it has ended by itself");
  child.kill("SIGKILL");
  await ended;
  assert.equal(child.signalCode, "SIGKILL");
  return told;
}

test(`${CALLS} times before a call, ${KILLS} times at any moment`, { timeout: 300_000 }, async (t) => {
  let commits = 0;
  /** How each run ends: at a call, or by a kill. */
  const ends = Array.from({ length: CALLS + KILLS }, (_, i) => (i < CALLS ? [String(i + 1)] : []));
  const lane = async () => {
    const files = makeFiles(t);
    const numbers = () => numberIn(readFileSync(files.startupFile, "utf8"));
    let last = 1;
    for (let end = ends.shift(); end; end = ends.shift()) {
      const args = [files.startupFile, files.stateDirectory, ...end];
      for (const [what, about] of await runAndKill(args, end.length > 0)) {
        if (what === "open") {
          assert.ok(
            [last, last + 1].includes(Number(about)),
            `${last} was committed last, ${about} was found`,
          );
          last = Number(about);
        } else if (what === "done") {
          assert.equal(Number(about), last + 1);
          last++;
          commits++;
        } else assert.fail(`${what} ${about}`);
      }
      assert.ok([last, last + 1].includes(numbers()), `${last} was committed last, ${numbers()} was found`);
    }
    const history = new History(files.stateDirectory, (text) => assert.fail(text));
    const found = history.entries.map(({ number }) => numberIn(history.text(number)!));
    assert.equal(found.length, 20);
    assert.ok(
      found[0] === last || found[0] === last + 1,
      `${found[0]} is the newest, ${last} was committed last`,
    );
    // One more each time, or one less: what was not confirmed when it was killed.
    for (const [i, number] of found.slice(1).entries())
      assert.equal(Math.abs(found[i] - number), 1, found.join());
    assert.ok(readdirSync(files.etc).length <= 2);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  t.diagnostic(`${commits} commits between the kills`);
  assert.ok(commits > KILLS / 2, `only ${commits} commits: it was killed too early`);
});
