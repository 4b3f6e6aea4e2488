// The file system of the run directory is full: a small /dev/shm is what a container has. No process may be killed by it
// (SIGBUS); what does not fit is refused.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./ports/full-memory.js", import.meta.url));

/** Runs the program with a file system of so many KiB at /mnt, in a mount namespace of its own. */
function withRoom(kibibytes: number): { status: number | null; signal: string | null; report: unknown } {
  const script = `mount -t tmpfs -o size=${kibibytes}k none /mnt && exec "$0" "$1" /mnt`;
  const { status, signal, stdout, stderr } = spawnSync(
    "unshare",
    ["--mount", "sh", "-c", script, process.execPath, program],
    { encoding: "utf8" },
  );
  assert.equal(stderr, "");
  return { status, signal, report: JSON.parse(stdout || "null") };
}

test("files for which there is no room at all are refused in words", () => {
  const { status, report } = withRoom(16);
  assert.equal(status, 0);
  assert.match((report as { error: string }).error, /\/spd: its file system has no room for it/);
});

test("SAs and policies for which there is no room are refused, and the others go on", () => {
  const { status, signal, report } = withRoom(600);
  assert.deepEqual([status, signal], [0, null]);
  const { sas, policies, saReason, policyReason, again } = report as Record<string, string | number>;
  assert.ok(Number(sas) > 20, `only ${sas} SAs had room`);
  assert.ok(Number(policies) > 0);
  assert.match(String(saReason), /no memory for another SA/);
  assert.match(String(policyReason), /no memory for another policy/);
  assert.equal(again, 0, "what one SA has given up must do for the next");
});
