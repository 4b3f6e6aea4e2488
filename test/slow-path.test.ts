// The slow path in namespaces: the first packet to a neighbour waits for ARP or neighbour discovery, and arrives.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { addAddress, addRoute, createLink } from "../src/lab/netns.js";
import { runInside } from "./ports/child.js";

interface SendResult {
  neighbours: string;
  taken: boolean[];
  large: boolean;
  large6: boolean;
  noIp: boolean;
  noRoute: boolean;
  nsPerPacket: number;
}

test("packets from foreign addresses arrive, the very first one too", async (t) => {
  await withLab("slow", async (lab) => {
    const [a, b] = [await lab.namespace("a"), await lab.namespace("b")];
    await createLink(
      { namespace: a, device: "p0", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
      { namespace: b, device: "p1", addresses: ["192.0.2.2/24", "2001:db8::2/64"] },
    );
    await addAddress(b, "lo", "10.20.0.9/32");
    await addAddress(b, "lo", "2001:db8:20::9/128");
    await addRoute(a, "10.20.0.0/16", "192.0.2.2");
    await addRoute(a, "2001:db8:20::/48", "2001:db8::2");
    const ready = lab.path("ready");
    const receiving = runInside<string[]>(b, "udp-receive", ["7000", ready]);
    while (!existsSync(ready)) await new Promise((resolve) => setTimeout(resolve, 10));

    const sent = await runInside<SendResult>(a, "slow-send");
    t.diagnostic(`${sent.nsPerPacket} ns a packet`);
    assert.ok(!/192\.0\.2\.2|2001:db8::2/.test(sent.neighbours), "nobody was resolved before");
    assert.ok(sent.taken.every(Boolean));
    assert.deepEqual([sent.large, sent.large6, sent.noIp, sent.noRoute], [false, false, false, false]);

    const expected: string[] = [];
    for (const from of ["203.0.113.7", "2001:db8:f::7"])
      for (const way of ["direct", "routed"])
        for (let i = 0; i < 20; i++) expected.push(`${from} ${way} ${i}`);
    assert.deepEqual((await receiving).sort(), expected.sort());
  });
});
