// The demo's check says that nothing crosses the WAN in the clear. That is worth something only if it would notice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Eavesdropper } from "../src/demo/eavesdropper.js";
import { until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addRoute, setSysctls } from "../src/lab/netns.js";
import { createNetwork } from "../src/lab/sites.js";
import { ping } from "../src/lab/traffic.js";

for (const family of [4, 6] as const) {
  test(`IPv${family}: gateways that route without a tunnel are heard, and so is the lack of ESP`, async () => {
    await withLab("leak", async (lab) => {
      const network = await createNetwork(lab, family);
      const { sides, gateways, hosts } = network;
      const everything = { "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 };
      for (const gateway of Object.values(gateways)) await setSysctls(gateway, everything);
      await addRoute(gateways.a, sides.b.lan, sides.b.wan);
      await addRoute(gateways.b, sides.a.lan, sides.a.wan);
      // The kernels, that have just become routers, must know their neighbours: this counts packets.
      await until("a way", async () => (await ping(hosts.a, sides.b.host, 1, 0.05)).received === 1, 10_000);
      const eavesdropper = await Eavesdropper.start(lab, network);
      assert.deepEqual(await ping(hosts.a, sides.b.host, 5, 0.05), { sent: 5, received: 5 });
      const { clearText, esp, problems } = await eavesdropper.stop();
      assert.equal(clearText, 10);
      assert.equal(esp, 0);
      assert.match(problems.join(), /no ESP/);
    });
  });

  test(`IPv${family}: a quiet WAN is quiet`, async () => {
    await withLab("leak", async (lab) => {
      const eavesdropper = await Eavesdropper.start(lab, await createNetwork(lab, family));
      assert.equal((await eavesdropper.stop()).clearText, 0);
    });
  });
}
