// Every command in docs/restconf.md, run in its order against a node, and compared with the output that stands behind it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { issue, makeAuthority } from "./testing/certificates.js";
import { type Rig, startRig } from "./testing/rig.js";

const document = readFileSync(fileURLToPath(new URL("../../../docs/restconf.md", import.meta.url)), "utf8");

interface Example {
  commands: string;
  language: string | undefined;
  output: string | undefined;
}

const examples: Example[] = [
  ...document.matchAll(/^```sh\n(.*?)^```\n(?:\n```(json|xml|text)\n(.*?)^```\n)?/gms),
].map(([, commands = "", language, output]) => ({ commands, language, output }));

function run(commands: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const shell = spawn("bash", ["-euc", commands], { stdio: ["ignore", "pipe", "pipe"], timeout: 20_000 });
    let output = "";
    let errors = "";
    shell.stdout.on("data", (part: Buffer) => {
      output += part;
    });
    shell.stderr.on("data", (part: Buffer) => {
      errors += part;
    });
    shell.on("error", reject);
    shell.on("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`exit ${code}: ${errors}`)),
    );
  });
}

/** JSON values that follow each other, each from a line that begins with a bracket. */
function jsonValues(text: string): unknown[] {
  return text
    .trim()
    .split(/\n(?=\{)/)
    .map((part) => JSON.parse(part) as unknown);
}

describe("docs/restconf.md", () => {
  let rig: Rig;
  let folder = "";
  let port = 0;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "vita-restconf-examples-"));
    const authority = makeAuthority(folder, "ca");
    copyFileSync(authority.certificate, join(folder, "clients.pem"));
    issue(folder, authority, "alpha", "/CN=alpha", "DNS:alpha");
    issue(folder, authority, "alice", "/CN=alice", "email:alice@example.org");
    writeFileSync(join(folder, "tokens"), "");
    const probe = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    ({ port } = probe.address() as AddressInfo);
    await new Promise((resolve) => probe.close(resolve));
    rig = await startRig({ streams: { keepAlive: 100 } });
    rig.datastore.carryOut = async (_from, to) => {
      const { tcp } = to.restconf;
      await rig.restconf.listenTcp(tcp && { ...tcp, address: "127.0.0.1", port });
    };
  });
  after(async () => {
    await rig.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("has examples", () => assert.ok(examples.length >= 14, `only ${examples.length} were found`));

  for (const { commands, language, output } of examples) {
    const title = commands.trim().split("\n")[0]?.replace("--unix-socket /run/vita/alpha/api.sock ", "");
    it(`${title}`, async () => {
      const there = commands
        .replaceAll("/run/vita/alpha/api.sock", rig.socket)
        .replaceAll("/etc/vita", folder)
        .replaceAll("https://alpha:8443", `--connect-to alpha:8443:127.0.0.1:${port} https://alpha:8443`)
        // A stream has no end of its own: it is left when the first comment has come.
        .replace(/^(curl .*\/streams\/.*)$/m, "( $1 || true ) | head -n 1");
      const told = await run(there);
      if (commands.includes("/streams/")) assert.equal(told, ":\n");
      else if (output === undefined) assert.equal(told, "");
      else if (language === "json") assert.deepEqual(jsonValues(told), jsonValues(output));
      else assert.equal(told, output);
    });
  }
});
