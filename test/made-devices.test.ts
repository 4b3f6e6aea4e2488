// Devices that Vita has made are set down and up, and deleted, by somebody who does not know what hangs on them: the kernel
// takes away the routes into the tunnels, and charon's way out.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createNetwork, type SitesOptions, startGateways } from "../src/lab/sites.js";
import { ping, pingOnce } from "../src/lab/traffic.js";

const options: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "vita" },
  modes: { a: "owned" },
  preSharedKey: "down and up again",
  vita: (usual, side) =>
    side === "a"
      ? { ...usual, "private-interface": [{ name: "lan0" }, { name: "vita0", driver: "tun" }] }
      : usual,
};

test("TUN devices that are set down and up, or deleted, get back what they lose", async () => {
  await withLab("made", async (lab) => {
    const network = await createNetwork(lab, 4);
    const { a } = await startGateways(lab, network, options);
    await a.charon.initiate();
    const { gateway } = network.sides.a;
    const host = network.sides.b.host;
    const fromGateway = () => pingOnce(a.namespace, host, gateway);
    const link = (...words: string[]) => run("ip", ["-n", a.namespace, "link", ...words]);
    assert.ok(await fromGateway(), "there is no way from the gateway itself");

    for (const device of ["vita0", "vita-ike0"]) {
      await link("set", device, "down");
      await link("set", device, "up");
      // Half a second is what an operator may wait for.
      await sleep(500);
      assert.ok(await fromGateway(), `${device} down and up: this host's own traffic has lost its way`);
      await a.charon.rekeyChild();
      await link("del", device);
      await until(`traffic of the gateway's own without ${device}`, fromGateway, 5000);
      await until("traffic", () => pingOnce(network.hosts.a, host), 5000);
      await a.charon.rekeyChild();
    }
    const { sent, received } = await ping(network.hosts.a, host, 5, 0.05);
    assert.equal(received, sent);
    const lines = a.vita?.process.tail(30).match(/made again/g) ?? [];
    assert.equal(lines.length, 4, "each loss is told once");
    await a.vita?.process.stop();
    assert.doesNotMatch((await link()).stdout, /vita0|vita-ike/);
  });
});
