// Two nodes on the same interfaces: the second one is refused, and nothing of it stays; nobody is kept from starting again.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";
import { hasEnded } from "../src/native/libc.js";

test("an interface of one node is no other node's, whoever of it is alive", async () => {
  await withLab("twice", async (lab) => {
    const namespace = await lab.namespace("gw");
    const far = await lab.namespace("far");
    for (const device of ["wan0", "wan1", "lan0", "lan1"])
      await createLink({ namespace, device }, { namespace: far, device: `x-${device}` });
    const node = (name: string, wan: string, lan: string): VitaConfiguration => ({
      node: name,
      "public-interface": [{ name: wan, driver: "packet" }],
      "private-interface": [{ name: lan, driver: "packet" }],
    });
    let runs = 0;
    const start = (configuration: VitaConfiguration) =>
      Vita.start(lab, namespace, configuration, `vita-${runs++}`);
    const refuses = async (configuration: VitaConfiguration, reason: RegExp) => {
      await assert.rejects(start(configuration), reason);
      const directory = join(Vita.runDirectory(lab), configuration.node);
      assert.ok(!existsSync(directory), "something of a node that was refused has stayed");
    };

    const a = await start(node("a", "wan0", "lan0"));
    await refuses(
      node("b", "wan1", "lan0"),
      new RegExp(
        `/private-interface\\[name="lan0"\\]: is in use by node a \\(process ${a.process.pid}\\): an interface is for one node at a time`,
      ),
    );

    // While it runs, another one is refused it too, and goes on with what it has.
    const b = await start(node("b", "wan1", "lan1"));
    await assert.rejects(
      b.change(node("b", "wan0", "lan1")),
      /\/public-interface\[name="wan0"\]: is in use by node a/,
    );
    assert.deepEqual(b.drops(), {});
    assert.ok(b.state().workers[0].alive);
    await b.process.stop();
    assert.equal(b.process.ended, "exit code 0");

    // Workers that have lost their supervisor still have it. The next supervisor begins at once.
    const { pid } = a.state().workers[0];
    await a.process.stop("SIGKILL");
    await refuses(
      node("b", "wan1", "lan0"),
      new RegExp(`is in use by node a, whose workers go on without it \\(process ${pid}\\)`),
    );
    const next = await start(node("a", "wan0", "lan0"));
    assert.equal(next.state().workers[0].pid, pid);

    // What has changed its interfaces has left those of before to others.
    await next.change(node("a", "wan1", "lan0"));
    const c = await start(node("c", "wan0", "lan1"));
    await c.process.stop();

    // All of it is killed: nothing is left of its claims.
    const worker = next.state().workers[0].pid;
    await next.process.stop("SIGKILL");
    process.kill(worker, "SIGKILL");
    await until("the worker's end", () => hasEnded(worker), 5000);
    const d = await start(node("d", "wan1", "lan0"));
    await d.process.stop();
    assert.equal(d.process.ended, "exit code 0");
  });
});
