// Parts of a change that are carried out at the same time: when one fails, what the others did is taken back, once they are
// done with it. (A whole node that changes: test/reconfiguration.test.ts.)

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { configuration } from "../../test/ike/model.js";
import { InterfaceClaims } from "./interface-claims.js";
import { Reconfiguration } from "./reconfiguration.js";
import { RunDirectory } from "./run-directory.js";
import type { ConfigurationPart, RunningNode } from "./running-node.js";

const from = configuration("unix:///nobody", {});
const to = configuration("unix:///nobody", { secret: [{ id: "s", type: "ike", data: "x", identity: [] }] });

/** What all parts have come to, in order. */
const journal: string[] = [];

/** A part that takes its time, and notes what it has come to. */
class Part implements ConfigurationPart {
  readonly done: string[] = [];

  constructor(
    readonly milliseconds: number,
    readonly refusal?: string,
  ) {}

  async apply(_: unknown, wanted: unknown): Promise<void> {
    this.#note("begun");
    await sleep(this.milliseconds);
    if (this.refusal !== undefined) throw new Error(this.refusal);
    this.#note(wanted === to ? "to" : "from");
  }

  #note(what: string): void {
    this.done.push(what);
    journal.push(what);
  }
}

async function carryOut(security: Part, connections: Part): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "vita-"));
  const claims = new InterfaceClaims(new RunDirectory("test", folder));
  const node = {
    configuration: from,
    log: { info: () => {}, warn: (text: string) => assert.fail(text) },
    run: { file: (name: string) => join(folder, name) },
    claims,
    databases: {},
    security,
    connections,
    watchFiles: () => {},
  } as unknown as RunningNode;
  try {
    await new Reconfiguration(node, to).carryOut();
    assert.equal(node.configuration, to);
    return "";
  } catch (error) {
    assert.equal(node.configuration, from);
    return (error as Error).message;
  } finally {
    claims.close();
    rmSync(folder, { recursive: true });
  }
}

test("static security goes on while charon works", async () => {
  const [security, connections] = [new Part(20), new Part(20)];
  journal.length = 0;
  assert.equal(await carryOut(security, connections), "");
  assert.deepEqual(journal, ["begun", "begun", "to", "to"]);
  assert.deepEqual(
    [security.done, connections.done],
    [
      ["begun", "to"],
      ["begun", "to"],
    ],
  );
});

for (const [what, slow, quick] of [
  ["the first that ends", 20, 1],
  ["the last that ends", 1, 20],
] as const)
  test(`the other one's share is taken back when charon refuses, ${what}`, async () => {
    const [security, connections] = [new Part(slow), new Part(quick, "charon refuses")];
    assert.equal(await carryOut(security, connections), "charon refuses");
    assert.deepEqual(security.done, ["begun", "to", "begun", "from"]);
    assert.deepEqual(connections.done, ["begun"]);
  });

test("charon's share is taken back when a static SA is refused", async () => {
  const [security, connections] = [new Part(1, "the SAD is full"), new Part(20)];
  assert.equal(await carryOut(security, connections), "the SAD is full");
  assert.deepEqual(connections.done, ["begun", "to", "begun", "from"]);
  assert.deepEqual(security.done, ["begun"]);
});
