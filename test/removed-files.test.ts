// Somebody removes files of a node that runs.

import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita } from "../src/lab/vita.js";

interface Node {
  /** Starts the node (again). */
  start(): Promise<Vita>;
  directory: string;
}

async function withNode(use: (node: Node) => Promise<void>): Promise<void> {
  await withLab("removed", async (lab: Lab) => {
    const namespace = await lab.namespace("gw");
    const far = await lab.namespace("far");
    await createLink({ namespace, device: "wan0" }, { namespace: far, device: "x0" });
    await createLink({ namespace, device: "lan0" }, { namespace: far, device: "y0" });
    const configuration = {
      node: "n",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
    };
    let runs = 0;
    await use({
      start: () => Vita.start(lab, namespace, configuration, `vita-${runs++}`),
      directory: join(Vita.runDirectory(lab), "n"),
    });
  });
}

test("a node whose directory is removed ends, says why, and is in nobody's way", async () => {
  await withNode(async ({ start, directory }) => {
    const first = await start();
    rmSync(directory, { recursive: true });
    assert.ok(await first.process.wait(10_000), "it goes on, and another one can begin beside it");
    assert.equal(first.process.ended, "exit code 1");
    assert.match(first.process.tail(), /was removed while node n runs/);
    const second = await start();
    assert.ok(second.state().workers[0].alive);
    await second.process.stop();
    assert.equal(second.process.ended, "exit code 0");
    assert.ok(!existsSync(directory));
  });
});

test("a node that has lost its directory to another run leaves that alone", async () => {
  await withNode(async ({ start, directory }) => {
    const first = await start();
    // It cannot notice before the other one is there.
    first.process.signal("SIGSTOP");
    rmSync(directory, { recursive: true });
    const second = await start();
    first.process.signal("SIGCONT");
    assert.ok(await first.process.wait(10_000));
    assert.ok(second.process.running);
    assert.ok(existsSync(join(directory, "charon.sock")), "the other run's files are gone");
    await until("the worker", () => second.state().workers[0].alive, 10_000);
  });
});

test("a node that loses a file that the next worker needs tells of it, and goes on", async () => {
  await withNode(async ({ start, directory }) => {
    const vita = await start();
    rmSync(join(directory, "events"));
    await until("a line in the log", () => /events was removed or replaced/.test(vita.process.tail()), 5000);
    assert.ok(vita.process.running);
  });
});
