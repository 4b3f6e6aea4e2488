// A lab leaves nothing behind: neither when it is closed nor, once the next one has begun, when its owner was killed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { run } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { createLink, listNamespaces } from "../src/lab/netns.js";
import { ping } from "../src/lab/traffic.js";

const module = (name: string) => JSON.stringify(new URL(`../src/lab/${name}.js`, import.meta.url).href);

async function twoNamespaces(lab: Lab): Promise<[string, string]> {
  const left = await lab.namespace("left");
  const right = await lab.namespace("right");
  await createLink(
    { namespace: left, device: "x0", addresses: ["192.0.2.1/24"] },
    { namespace: right, device: "x0", addresses: ["192.0.2.2/24"] },
  );
  return [left, right];
}

test("a link carries packets, and a capture counts them", async () => {
  const { prefix, directory } = await withLab("labtest", async (lab) => {
    const [left] = await twoNamespaces(lab);
    const capture = await Capture.start(lab, { name: "echo", namespace: left, device: "x0", filter: "icmp" });
    assert.deepEqual(await ping(left, "192.0.2.2", 3, 0.05), { sent: 3, received: 3 });
    assert.equal(await capture.stop(), 0);
    assert.equal(capture.count, 6);
    return lab;
  });
  assert.deepEqual(
    (await listNamespaces()).filter((name) => name.startsWith(`${prefix}-`)),
    [],
  );
  assert.equal(existsSync(directory), false);
});

test("what a killed run left, processes included, is gone once the next lab has begun", async () => {
  const script = `
    import { Lab } from ${module("lab")};
    const lab = await Lab.open("labkilled");
    const namespace = await lab.namespace("left");
    const child = lab.start("sleep", ["300"], { name: "sleeper", namespace });
    console.log(JSON.stringify({ pid: child.pid, namespace, directory: lab.directory }));
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve) =>
    owner.stdout.once("data", (data) => resolve(String(data))),
  );
  const { pid, namespace, directory } = JSON.parse(line) as {
    pid: number;
    namespace: string;
    directory: string;
  };
  assert.ok((await listNamespaces()).includes(namespace));

  // While its owner lives, another lab of the same name takes another place and leaves it alone.
  await withLab("labkilled", async (lab) => {
    assert.notEqual(lab.directory, directory);
    assert.ok((await listNamespaces()).includes(namespace));
  });
  assert.ok(existsSync(`/proc/${pid}`));

  const ended = new Promise((resolve) => owner.once("exit", resolve));
  owner.kill("SIGKILL");
  await ended;
  assert.ok(existsSync(`/proc/${pid}`), "the process outlives its owner");
  await withLab("labkilled", async (lab) => {
    assert.equal(lab.directory, directory);
    assert.deepEqual(
      (await listNamespaces()).filter((name) => name.startsWith(`${lab.prefix}-`)),
      [],
    );
  });
  const { stdout } = await run("ps", ["-o", "stat=", "-p", String(pid)], { tolerate: true });
  assert.ok(stdout.trim() === "" || stdout.startsWith("Z"), `the process is gone, not "${stdout}"`);
});

test("a process that ignores SIGTERM is stopped all the same", async () => {
  await withLab("labtest", async (lab) => {
    const namespace = await lab.namespace("left");
    const child = lab.start("sh", ["-c", "trap '' TERM; while :; do sleep 0.1; done"], {
      name: "deaf",
      namespace,
    });
    await child.stop("SIGTERM", 300);
    assert.equal(child.running, false);
  });
});
