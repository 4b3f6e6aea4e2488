// A worker without traffic: it sleeps and costs nothing, or, with --busy-poll, never sleeps at all.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, sleep, until } from "../src/lab/command.js";
import { cpuShares, nodeProcesses, sleeps } from "../src/lab/cpu.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { ping } from "../src/lab/traffic.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";

const configuration: VitaConfiguration = {
  node: "rest",
  "public-interface": [{ name: "wan0", mode: "owned", address: ["192.0.2.1/24"] }],
  "private-interface": [{ name: "vita0", driver: "tun" }],
};

test("a worker at rest sleeps; with --busy-poll it never does; both answer", async (t) => {
  await withLab("rest", async (lab) => {
    const gateway = await lab.namespace("gateway");
    const host = await lab.namespace("host");
    await createLink({ namespace: gateway, device: "wan0" }, { namespace: host, device: "to-gateway" });
    await run("ip", ["-n", host, "address", "add", "192.0.2.2/24", "dev", "to-gateway"]);

    const measured = async (name: string, options: string[]) => {
      const vita = await Vita.start(lab, gateway, configuration, name, options);
      await until("the spare", async () => (await nodeProcesses(gateway)).has("spare"), 10_000);
      // It gets ready first, which takes a while on a busy machine.
      await until("a spare that sleeps", async () => (await cpuShares(gateway, 300)).spare < 1, 10_000);
      const { sent, received } = await ping(host, "192.0.2.1", 3, 0.02);
      assert.equal(received, sent, name);
      await sleep(200);
      const worker = (await nodeProcesses(gateway)).get("worker") as number;
      const before = sleeps(worker);
      const share = await cpuShares(gateway, 1000);
      const slept = sleeps(worker) - before;
      t.diagnostic(`${name}: ${slept} times asleep in a second, ${JSON.stringify(share)} % of a core`);
      await vita.process.stop();
      return { share, slept };
    };

    const asleep = await measured("asleep", []);
    assert.ok(asleep.slept >= 1 && asleep.slept < 20, `${asleep.slept} times asleep in a second`);
    assert.ok(asleep.share.worker + asleep.share.spare < 1, JSON.stringify(asleep.share));
    const busy = await measured("busy", ["--busy-poll"]);
    // Now and then V8 waits for a lock of its own, which is over at once.
    assert.ok(busy.slept <= 2, `${busy.slept} times asleep in a second`);
    // Others may want the cores as well.
    assert.ok(busy.share.worker > 10 && busy.share.spare < 1, JSON.stringify(busy.share));
  });
});
