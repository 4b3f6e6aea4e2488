// The plugin's client with many threads at once, built with the address sanitizer, against a service that is killed and
// comes back while they call. charon alone would rarely get that far.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const plugin = join(root, "plugin/kernel-vita");
const libstrongswan = "/usr/lib/ipsec/libstrongswan.so.0";

/** The header tree that build.mjs has fetched last, which is that of the strongSwan that is installed. */
function headers(): string | undefined {
  const build = join(root, "build");
  const trees = existsSync(build) ? readdirSync(build).filter((name) => name.startsWith("strongswan-")) : [];
  const age = (name: string) => -statSync(join(build, name)).mtimeMs;
  const newest = trees.sort((a, b) => age(a) - age(b)).at(0);
  return newest === undefined ? undefined : join(build, newest, "src");
}

const tree = headers();
const missing = tree === undefined ? "no headers: run plugin/kernel-vita/build.mjs" : false;

describe("many threads on one connection", { skip: missing }, () => {
  let directory: string;
  let program: string;
  let socket: string;
  let service: ChildProcess;

  async function serve(): Promise<ChildProcess> {
    const main = fileURLToPath(new URL("charon-service-main.js", import.meta.url));
    const child = spawn(process.execPath, [main, socket], { stdio: ["pipe", "pipe", "inherit"] });
    await once(child.stdout!, "data");
    return child;
  }

  async function run(threads: number, calls: number): Promise<Record<string, number>> {
    const env = {
      ...process.env,
      ASAN_OPTIONS: "detect_leaks=0",
      STRONGSWAN_CONF: join(directory, "strongswan.conf"),
    };
    const child = spawn(program, [socket, String(threads), String(calls)], { env });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    await once(child, "close");
    const found = /^(\d+) succeeded, (\d+) failed, (\d+) mixed$/m.exec(output);
    assert.ok(child.exitCode === 0 && found, output.slice(0, 4000));
    return { succeeded: Number(found[1]), failed: Number(found[2]), mixed: Number(found[3]) };
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "vita-threads-"));
    program = join(directory, "threads");
    socket = join(directory, "charon.sock");
    writeFileSync(join(directory, "strongswan.conf"), "");
    const sources = [
      "test/threads.c",
      ...["client", "debts", "message", "socket"].map((name) => `kernel_vita_${name}.c`),
    ];
    // As in build.mjs, as far as libstrongswan's headers want it.
    const defines = ["_GNU_SOURCE", "CONFIG_H_INCLUDED", "HAVE_SIGWAITINFO", "HAVE_CLOSEFROM"];
    defines.push("HAVE_EXPLICIT_BZERO", 'VERSION="test"');
    const built = spawnSync(
      "gcc",
      [
        ...["-g", "-O1", "-Wall", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        ...defines.map((define) => `-D${define}`),
        ...["libstrongswan", "libcharon"].flatMap((name) => ["-isystem", join(tree ?? "", name)]),
        ...sources.map((name) => join(plugin, name)),
        ...[libstrongswan, "-Wl,-rpath,/usr/lib/ipsec", "-o", program],
      ],
      { encoding: "utf8" },
    );
    assert.equal(built.status, 0, built.stderr);
    service = await serve();
  });

  after(() => {
    service?.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });

  test("each gets its own answers", async () => {
    assert.deepEqual(await run(16, 1000), { succeeded: 16_000, failed: 0, mixed: 0 });
  });

  test("the service dies and comes back: calls fail meanwhile, none gets another's answer", async () => {
    const running = run(16, 10_000);
    await sleep(300);
    service.kill("SIGKILL");
    await once(service, "exit");
    service = await serve();
    const { succeeded, failed, mixed } = await running;
    assert.equal(mixed, 0);
    assert.equal(succeeded + failed, 160_000);
    assert.ok(succeeded > 0 && failed > 0, `${succeeded} succeeded, ${failed} failed`);
  });
});
