import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PidWatch } from "./pid-watch.js";

function start(seconds: number): ChildProcess {
  return spawn("sleep", [String(seconds)], { stdio: "ignore" });
}

test("the end of each process is told once, and at once", async () => {
  const watch = new PidWatch();
  const children = [start(60), start(60), start(60)];
  const told: number[] = [];
  const stops = children.map(({ pid }, i) => watch.add(pid ?? 0, () => told.push(i)));
  children[1].kill("SIGKILL");
  await sleep(200);
  assert.deepEqual(told, [1]);
  // One that nobody waits for any more is not told.
  stops[0]();
  children[0].kill("SIGKILL");
  children[2].kill("SIGKILL");
  await sleep(200);
  assert.deepEqual(told, [1, 2]);
  watch.close();
});

test("a process that is gone already is told as well", async () => {
  const watch = new PidWatch();
  const child = start(0);
  await new Promise((resolve) => child.once("exit", resolve));
  const told = await new Promise((resolve) => watch.add(child.pid ?? 0, () => resolve(true)));
  assert.equal(told, true);
  watch.close();
});

test("closing ends the wait, so that the program can end", async () => {
  const watch = new PidWatch();
  const child = start(60);
  watch.add(child.pid ?? 0, () => assert.fail("it lives"));
  watch.close();
  child.kill();
  await sleep(100);
});
