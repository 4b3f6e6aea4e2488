// The XDP port over veth pairs in namespaces of the test's own.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addRoute, createLink } from "../src/lab/netns.js";
import { runInside } from "./ports/child.js";

interface LoopResult {
  sent: number;
  got: number;
  wrong: number;
  nsPerPacket: number;
  mode: string;
  zeroCopy: boolean;
  capacity: number;
  available: number;
  inFlight: number;
  counters: Record<string, number>;
}

for (const [mode, packets, size] of [
  ["native", 1_000_000, 60],
  ["generic", 100_000, 1514],
] as const) {
  test(`${mode} mode: ${packets} packets of ${size} bytes arrive in order, and no frame is lost`, async (t) => {
    await withLab("xdp", async (lab) => {
      const namespace = await lab.namespace("loop");
      await createLink({ namespace, device: "x0" }, { namespace, device: "x1" });
      const result = await runInside<LoopResult>(namespace, "xdp-loop", [`${packets}`, mode, `${size}`]);
      t.diagnostic(`${result.nsPerPacket} ns a packet, sent and received`);
      assert.equal(result.mode, mode);
      assert.equal(result.zeroCopy, false);
      assert.equal(result.got, packets, JSON.stringify(result.counters));
      assert.equal(result.wrong, 0);
      assert.equal(result.available + result.inFlight, result.capacity);
      assert.equal(result.counters["x0.tx.packets"], packets);
      assert.equal(result.counters["x1.rx.packets"], packets);
      assert.equal(result.counters["x1.rx.bytes"], packets * size);
    });
  });
}

test("several receive queues: what comes by any of them arrives", async () => {
  await withLab("xdp", async (lab) => {
    const [gateway, host] = [await lab.namespace("gateway"), await lab.namespace("host")];
    const queues = ["numtxqueues", "2", "numrxqueues", "2"];
    const veth = ["link", "add", "p0", ...queues, "type", "veth", "peer", "name", "p1", ...queues];
    await run("ip", [...veth, "netns", host], { namespace: gateway });
    for (const [namespace, device, address] of [
      [gateway, "p0", "192.0.2.1/24"],
      [host, "p1", "192.0.2.2/24"],
    ] as const) {
      await run("ethtool", ["-K", device, "tx", "off"], { namespace });
      await run("ethtool", ["-L", device, "rx", "2", "tx", "2"], { namespace });
      await run("ip", ["address", "add", address, "dev", device], { namespace });
      await run("ip", ["link", "set", device, "up"], { namespace });
    }
    await addRoute(host, "10.30.0.0/16", "192.0.2.1");
    await run("ping", ["-c", "1", "-W", "5", "192.0.2.1"], { namespace: host });
    const receive = async (name: string, ...chosen: string[]) => {
      const ready = lab.path(name);
      const receiving = runInside<QueueResult>(gateway, "xdp-queues", [ready, ...chosen]);
      while (!existsSync(ready)) await sleep(10);
      // A socket each: the sender's kernel chooses the queue by flow.
      const send =
        'const s = dgram.createSocket("udp4"); s.send(String(i), 9, "10.30.0.9", () => s.close());';
      const script = `for (let i = 0; i < 100; i++) { ${send} }`;
      await run(process.execPath, ["-e", script], { namespace: host });
      return receiving;
    };
    const all = await receive("all");
    assert.equal(all.queues, 2);
    assert.deepEqual(
      all.payloads.map(Number).sort((a, b) => a - b),
      [...Array(100).keys()],
    );
    const second = await receive("second", "1");
    assert.ok(
      second.payloads.length > 0 && second.payloads.length < 100,
      `${second.payloads.length} by one queue`,
    );
  });
});

interface QueueResult {
  payloads: string[];
  queues: number;
}

interface OverloadResult {
  share: number;
  capacity: number;
  empty: number;
  overload: number;
  down: number;
  waitsForRoom: boolean;
  afterwards: number;
  inFlight: number;
  counters: Record<string, number>;
}

test("overload and a device that is down cost packets, never frames", async () => {
  await withLab("xdp", async (lab) => {
    const namespace = await lab.namespace("loop");
    await createLink({ namespace, device: "x0" }, { namespace, device: "x1" });
    const result = await runInside<OverloadResult>(namespace, "xdp-overload");
    assert.equal(result.share, 128);
    for (const account of [result.empty, result.overload, result.down, result.afterwards])
      assert.equal(account, result.capacity);
    assert.equal(result.counters["x0.drop.tx_invalid"], 10);
    assert.ok(result.counters["x0.drop.tx_full"] > 0);
    assert.ok(result.counters["x0.tx.errors"] > 0);
    assert.equal(result.waitsForRoom, false, "a device that is down keeps nobody awake");
    assert.equal(result.inFlight, 128, "nothing is left to send");
  });
});

test("says who has the device; takes over from a killed predecessor; says which privilege is missing", async () => {
  await withLab("xdp", async (lab) => {
    const namespace = await lab.namespace("loop");
    await createLink({ namespace, device: "x0" }, { namespace, device: "x1" });
    const hold = (name: string, ...args: string[]) => {
      const file = join(import.meta.dirname, "ports/xdp-hold.js");
      const child = lab.start(process.execPath, [file, ...args], { name, namespace });
      const log = lab.path(`${name}.log`);
      return { child, line: () => waitFor(log) };
    };
    const first = hold("first");
    assert.match(await first.line(), /^open after/);
    const second = hold("second");
    assert.match(
      await second.line(),
      /another XDP program is attached to x0: vita_public \(id \d+\); .*ip link set dev x0 xdp off/,
    );
    const successor = hold("successor");
    process.kill(first.child.pid as number, "SIGKILL");
    assert.match(await successor.line(), /^open after \d+ ms in native mode/);
    const nobody = hold("nobody", "65534");
    assert.match(await nobody.line(), /EPERM.*needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN/);
  });
});

async function waitFor(path: string): Promise<string> {
  for (let i = 0; i < 500; i++) {
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    if (text.includes("\n")) return text;
    await sleep(10);
  }
  throw new Error(`${path} stays empty`);
}
