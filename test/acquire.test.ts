// Traps: the first packet of a connection makes charon negotiate and arrives all the same, also when the peer agrees to
// less than the trap covers; what lies outside is dropped and does not keep charon busy; a peer that does not answer
// costs a bounded number of packets a bounded time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { swanctlConf } from "../src/lab/charon.js";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { connectionOf, createNetwork, startGateways } from "../src/lab/sites.js";
import { Flow, ping, pingOnce } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

/** A trap of gateway A towards a peer that is not there. */
const nobody = `connections {
  nobody {
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 192.0.2.77
    proposals = aes128gcm16-prfsha256-x25519
    local {
      auth = psk
      id = gw-a
    }
    remote {
      auth = psk
      id = nobody
    }
    children {
      nowhere {
        local_ts = 10.1.0.0/24
        remote_ts = 10.9.0.0/24
        esp_proposals = aes128gcm16
        start_action = trap
      }
    }
  }
}
`;

test("traps: the first packet arrives, however the SA went; narrowed ones; a peer that is not there", async (context) => {
  await withLab("acquire", async (lab) => {
    const network = await createNetwork(lab, 4);
    const base = {
      family: 4 as const,
      systems: { a: "vita", b: "vita" } as const,
      preSharedKey: "open sesame",
      childExtra: ["rekey_time = 0", "life_time = 0", "start_action = trap"],
    };
    const wide = { ...connectionOf(network, "a", base), remoteSelectors: ["10.2.0.0/16"] };
    const options = { ...base, swanctl: { a: swanctlConf(wide) + nobody } };
    const { a, b } = await startGateways(lab, network, options);
    const { hosts, sides } = network;
    const counters = (gateway: typeof a) => gateway.vita!.state().counters;
    const trapsOf = (gateway: typeof a) =>
      gateway.vita!.state().policies.filter((policy) => policy.class === "trap" && policy.direction === "out")
        .length;
    await until("the traps", () => trapsOf(a) === 2 && trapsOf(b) === 1, 5000);

    // One that nobody answers: looked at again at the end.
    const unanswered = ping(hosts.a, "10.9.0.1", 40, 0.01);

    const first = await pingOnce(hosts.a, sides.b.host);
    context.diagnostic(`first ping, IKE and ESP to negotiate: ${first} ms`);
    assert.ok(first !== undefined, "the first ping was lost");
    assert.ok(await a.charon.installed());

    const terminate = async () => {
      await a.charon.swanctl("--terminate", ["--child", "net"]);
      await until("the SAs to go", async () => (await b.charon.childSas()).length === 0, 5000, 10);
    };
    for (const side of ["a", "b", "a"] as const) {
      await terminate();
      const other = side === "a" ? "b" : "a";
      const again = await pingOnce(hosts[side], sides[other].host);
      context.diagnostic(`first ping from ${side} after terminate: ${again} ms`);
      assert.ok(again !== undefined, `the first ping from ${side} after terminate was lost`);
    }

    await terminate();
    const flow = await Flow.start(lab, {
      name: "flow",
      from: hosts.a,
      to: hosts.b,
      address: sides.b.host,
      port: 7000,
      rate: 100,
    });
    await sleep(1000);
    const totals = await flow.stop();
    assert.equal(totals.received, totals.sent);
    assert.equal(totals.late, 0, "they did not leave in their order");

    // Outside of what the peer agreed to. The trap learns that two seconds after the SA came.
    await sleep(2000);
    const logged = () =>
      a.charon.process
        .tail(1 << 20)
        .split("\n")
        .filter((line) => /creating acquire job.*10\.2\.9\.9/.test(line)).length;
    const acquires = logged();
    const before = counters(a);
    assert.equal((await ping(hosts.a, "10.2.9.9", 50, 0.05)).received, 0);
    const after = counters(a);
    assert.equal(after["protect.drop.narrowed"] - before["protect.drop.narrowed"], 50);
    assert.equal(
      after["encapsulate.packets"],
      before["encapsulate.packets"],
      "it went into an SA that does not cover it",
    );
    assert.equal(logged() - acquires, 1, "acquires in 2.5 s for what charon refuses");
    assert.equal((await ping(hosts.a, sides.b.host, 3, 0.05)).received, 3);

    // A packet that comes while nobody supervises waits for somebody who does.
    await terminate();
    await a.vita!.process.stop("SIGKILL");
    const late = run("ping", ["-n", "-c", "1", "-W", "9", sides.b.host], {
      namespace: hosts.a,
      tolerate: true,
    });
    await sleep(500);
    a.vita = await Vita.start(lab, network.gateways.a, a.vita!.configuration, "again");
    const time = /time=([\d.]+) ms/.exec((await late).stdout);
    assert.ok(time, "the ping was lost with the supervisor");
    context.diagnostic(`first ping while the supervisor was away: ${time[1]} ms`);

    assert.equal((await unanswered).received, 0);
    await until(
      "those that nobody answered for to be given up",
      () => counters(a)["hold.drop.timeout"] === 32,
      15_000,
    );
    const drops = a.vita!.drops();
    assert.equal(drops["hold.drop.full"], 8);
    const names = ["hold.drop.full", "hold.drop.timeout", "protect.drop.narrowed"];
    assert.deepEqual(Object.keys(drops).sort(), names);
    assert.deepEqual(b.vita!.drops(), {});
  });
});
