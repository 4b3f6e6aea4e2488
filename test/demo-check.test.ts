// The demo's check, as a user runs it: one JSON object on stdout, exit code 0, nothing lost, nothing in the clear.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Report } from "../src/demo/check.js";
import { run } from "../src/lab/command.js";
import { vitaProgram } from "../src/lab/vita.js";

const demo = fileURLToPath(new URL("../src/demo/main.js", import.meta.url));

const cases: { name: string; args: string[]; vita: boolean }[] = [
  { name: "Vita and Vita", args: [], vita: true },
  { name: "Vita and Vita over IPv6", args: ["--ipv6"], vita: true },
  { name: "Vita and Vita, both owning their public interfaces", args: ["--mode", "owned"], vita: true },
  {
    name: "Vita and Vita over IPv6, one of them owning its public interface",
    args: ["--ipv6", "--mode", "owned", "--peer-mode", "shared"],
    vita: true,
  },
  { name: "Vita and libipsec", args: ["--peer", "libipsec"], vita: true },
  { name: "Vita and libipsec over IPv6", args: ["--peer", "libipsec", "--ipv6"], vita: true },
  {
    name: "libipsec on both sides, which tries out the check itself",
    args: ["--near", "libipsec", "--peer", "libipsec"],
    vita: false,
  },
];

for (const { name, args, vita } of cases) {
  const skip = vita && !existsSync(vitaProgram) ? "vita is not built" : false;
  test(`check: ${name}`, { skip }, async () => {
    const { status, stdout, stderr } = await run(
      process.execPath,
      ["--enable-source-maps", demo, "--check", "--json", "--seconds", "1", ...args],
      { tolerate: true, timeout: 120_000 },
    );
    assert.ok(stdout !== "", stderr);
    const report = JSON.parse(stdout) as Report;
    assert.equal(report.problems.length, 0, `${report.problems.join("; ")}\n${stderr}`);
    assert.equal(status, 0, stderr);
    assert.equal(report.established, true);
    assert.deepEqual(report.ping, { sent: 20, received: 20 });
    assert.deepEqual(report.publicPing, { sent: 20, received: 20 });
    assert.equal(report.rekey.count, 3);
    assert.equal(report.rekey.received, report.rekey.sent);
    assert.equal(report.cleartextOnWan, 0);
  });
}
