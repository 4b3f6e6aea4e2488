// The disk is full. A commit that cannot be stored is refused, and the old configuration stays in force and in the file;
// one of which only the history has no room goes through.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./config/full-disk.js", import.meta.url));

/** Runs the program with two file systems, of which one is small, in a mount namespace of its own. */
function withSmall(which: "etc" | "state") {
  const script = `mount -t tmpfs none /mnt && mkdir /mnt/etc /mnt/state && \
    mount -t tmpfs -o size=64k none /mnt/${which} && exec "$0" "$1" /mnt/etc /mnt/state /mnt/${which}`;
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--mount", "sh", "-c", script, process.execPath, program],
    { encoding: "utf8", timeout: 60_000 },
  );
  assert.deepEqual([status, stderr], [0, ""]);
  return JSON.parse(stdout);
}

test("no room for the startup file: the commit is refused, and the old configuration is in force", () => {
  const { refusal, files, same, running, afterRestart, again, carried, warnings } = withSmall("etc");
  assert.match(refusal, /the startup file cannot be written: ENOSPC/);
  assert.deepEqual([same, running, afterRestart], [true, 2, 2]);
  assert.deepEqual(files, ["a.json", "filler"]);
  assert.deepEqual([again, carried], ["", [2, 3, 2, 4]]);
  assert.deepEqual(warnings, []);
});

test("no room for the history: the commit goes through, and it is told", () => {
  const { refusal, running, afterRestart, again, numbers, warnings } = withSmall("state");
  assert.deepEqual([refusal, running, afterRestart, again], ["", 3, 3, ""]);
  assert.match(warnings[0], /history\/3: ENOSPC.*it is kept in memory only/);
  assert.equal(numbers[0], 4);
});
