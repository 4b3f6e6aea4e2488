// Which node may have an interface, with the sockets of real processes. Interfaces need not be there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import type { Configuration } from "../config/configuration.js";
import { InterfaceClaims } from "./interface-claims.js";
import { RunDirectory } from "./run-directory.js";

const name = (i: number) => `c${process.pid}.${i}`;
const claims = (node: string, base = "/run/vita") => new InterfaceClaims(new RunDirectory(node, base));

function configuration(...names: number[]): Configuration {
  const [first, ...others] = names.map((i) => ({ name: name(i) }));
  const parts = { "public-interface": [first], "private-interface": others };
  return parts as unknown as Configuration;
}

const refused = (message: RegExp) => ({ name: "ConfigurationError", message });

test("an interface is one node's, until that gives it up", () => {
  const [a, b] = [claims("a"), claims("b")];
  a.claim(configuration(1, 2));
  assert.throws(
    () => b.claim(configuration(3, 2)),
    refused(
      new RegExp(
        `^/private-interface\\[name="${name(2)}"\\]: is in use by node a \\(process ${process.pid}\\): an interface is for one node at a time$`,
      ),
    ),
  );
  // What was refused has claimed nothing.
  const c = claims("c");
  c.claim(configuration(3));
  a.keep(configuration(1));
  b.claim(configuration(2));
  assert.throws(() => a.claim(configuration(1, 2)), refused(/is in use by node b/));
  assert.throws(() => b.claim(configuration(2, 1)), refused(/is in use by node a/));
  for (const each of [a, b, c]) each.close();
  b.claim(configuration(1, 2, 3));
  b.close();
});

test("names of 15 bytes, and of nodes with 63, are told in full", () => {
  const node = "n".repeat(63);
  const [a, b] = [claims(node), claims("b")];
  const long = {
    "public-interface": [{ name: `ü-${process.pid}`.padEnd(14, "x") }],
    "private-interface": [],
  };
  a.claim(long as unknown as Configuration);
  assert.throws(() => b.claim(long as unknown as Configuration), refused(new RegExp(`node ${node} `)));
  a.close();
});

test("a node's next supervisor is not kept out by the former, nor by another run directory's node of its name", () => {
  const [former, next, other] = [claims("a"), claims("a"), claims("a", "/tmp/run")];
  former.claim(configuration(4));
  next.claim(configuration(4));
  assert.throws(() => other.claim(configuration(4)), refused(/is in use by node a/));
  former.close();
  next.close();
  other.claim(configuration(4));
  other.close();
});

/** Binds an abstract name in a process of another user's, which says when it has. */
async function squatter(address: string) {
  const words = `import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("\\0${address}"); print(flush=True); input()`;
  const child = spawn("/usr/bin/python3", ["-c", words], {
    uid: 65_534,
    cwd: "/",
    stdio: ["pipe", "pipe", "ignore"],
  });
  await once(child.stdout, "data");
  return () => {
    child.stdin.end("\n");
    return once(child, "exit");
  };
}

test("another user can keep no node out", async () => {
  const first = await squatter(`vita/${name(5)}`);
  const second = await squatter(`vita/${name(5)}/x/00000000/work/1`);
  const [a, b] = [claims("a"), claims("b")];
  a.claim(configuration(5));
  assert.throws(() => b.claim(configuration(5)), refused(/is in use by node a/));
  a.close();
  await first();
  await second();
});
