import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigurationError } from "./problem.js";
import { minimal, NodeFiles, workers } from "./testing/node-files.js";

/** For assert.rejects: one problem with this rule. */
const refused = (rule: string, message = /./) => {
  return (error: unknown) => {
    assert.ok(error instanceof ConfigurationError, String(error));
    assert.deepEqual(
      error.problems.map((problem) => problem.rule),
      [rule],
    );
    assert.match(error.message, message);
    return true;
  };
};

test("a commit is carried out, then stored, then in force and told", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  const { etag, lastModified } = datastore;
  node.whileCarried = () => {
    assert.equal(node.stored, undefined);
    assert.equal(datastore.configuration.workers, 1);
  };
  const told = once(datastore, "changed");
  const result = await datastore.commit(workers(2), { user: "eve", comment: "more" });
  assert.deepEqual(node.carried, [[1, 2]]);
  assert.equal(node.stored, 2);
  assert.equal(datastore.configuration.workers, 2);
  assert.deepEqual(result, { number: 2, etag: datastore.etag, changed: result.changed });
  assert.match(result.changed.join(), /^[^,]*workers$/);
  assert.deepEqual(await told, [{ number: 2, user: "eve", changed: result.changed }]);
  assert.notEqual(datastore.etag, etag);
  assert.ok(datastore.lastModified >= lastModified);
  const [entry] = datastore.history();
  assert.deepEqual(entry, { number: 2, time: datastore.lastModified, user: "eve", comment: "more" });
  assert.deepEqual(node.warnings, []);
});

test("a commit that changes nothing does nothing", async (t) => {
  const node = new NodeFiles(t, { ...minimal, workers: 3 });
  const datastore = node.open();
  const { etag, number } = datastore;
  const text = readFileSync(node.startupFile, "utf8");
  assert.deepEqual(await datastore.commit(workers(3), { user: "eve" }), { number, etag, changed: [] });
  assert.equal(readFileSync(node.startupFile, "utf8"), text);
  assert.deepEqual([node.carried, datastore.history().length, datastore.etag], [[], 1, etag]);
});

test("edits are checked without being carried out", (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  assert.equal(datastore.check(workers(2)).length, 1);
  assert.throws(() => datastore.check(workers(17)), ConfigurationError);
  assert.deepEqual([datastore.configuration.workers, node.carried], [1, []]);
});

test("what is not valid, or meant for another configuration, is refused before anything happens", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  const { etag } = datastore;
  await assert.rejects(datastore.commit(workers(17), { user: "eve" }), ConfigurationError);
  await datastore.commit(workers(2), { user: "eve", expect: etag });
  await assert.rejects(
    datastore.commit(workers(3), { user: "eve", expect: etag }),
    refused("precondition-failed"),
  );
  assert.deepEqual([node.carried, node.stored, datastore.number], [[[1, 2]], 2, 2]);
});

test("the name of a running node cannot be changed", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  const text = JSON.stringify({ node: "b" });
  await assert.rejects(
    datastore.commit([{ operation: "replace", target: "/node", value: { text, format: "json" } }], {
      user: "eve",
    }),
    refused("invalid-value", /^\/node: "b" cannot be changed while the node runs/),
  );
  assert.deepEqual([node.carried, datastore.configuration.node], [[], "a"]);
});

test("when it cannot be carried out the old configuration stays", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  node.whileCarried = () => {
    throw new Error("charon says no");
  };
  await assert.rejects(
    datastore.commit(workers(2), { user: "eve" }),
    refused("operation-failed", /charon says no/),
  );
  const problem = { path: "/workers", rule: "operation-failed" as const, message: "no core is left" };
  node.whileCarried = async () => {
    throw new ConfigurationError("", [problem]);
  };
  await assert.rejects(
    datastore.commit(workers(2), { user: "eve" }),
    refused("operation-failed", /^\/workers: no/),
  );
  assert.deepEqual(
    [node.stored, datastore.configuration.workers, datastore.history().length],
    [undefined, 1, 1],
  );
  node.whileCarried = () => {};
  await datastore.commit(workers(2), { user: "eve" });
  assert.deepEqual([node.stored, datastore.number], [2, 2]);
});

test("when the startup file cannot be written the old configuration comes back", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  node.whileCarried = () => {
    renameSync(node.etc, `${node.etc}-away`);
    node.whileCarried = () => {};
  };
  await assert.rejects(
    datastore.commit(workers(2), { user: "eve" }),
    refused("operation-failed", /startup file cannot be written: ENOENT/),
  );
  assert.deepEqual(node.carried, [
    [1, 2],
    [2, 1],
  ]);
  assert.deepEqual([datastore.configuration.workers, datastore.history().length], [1, 1]);
  // As long as it is like this, nothing more is carried out.
  await assert.rejects(datastore.commit(workers(2), { user: "eve" }), refused("operation-failed", /ENOENT/));
  assert.equal(node.carried.length, 2);
  renameSync(`${node.etc}-away`, node.etc);
  await datastore.commit(workers(2), { user: "eve" });
  assert.equal(node.stored, 2);
});

test("when the old configuration cannot come back either, the new one is in force and says so", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  node.whileCarried = () => {
    renameSync(node.etc, `${node.etc}-away`);
    node.whileCarried = () => {
      throw new Error("no way back");
    };
  };
  await assert.rejects(
    datastore.commit(workers(2), { user: "eve" }),
    refused("rollback-failed", /ENOENT.*; going back: .*no way back/),
  );
  assert.deepEqual([datastore.configuration.workers, datastore.number], [2, 2]);
  renameSync(`${node.etc}-away`, node.etc);
  assert.equal(node.stored, undefined);
  // There is nothing to carry out, but to store.
  await datastore.commit([], { user: "eve" });
  assert.deepEqual([node.stored, node.carried.length, datastore.number], [2, 2, 2]);
});

test("commits are carried out one after the other, each upon what the former has left", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  let busy = 0;
  node.whileCarried = async () => {
    assert.equal(++busy, 1);
    await sleep(5);
    busy--;
    if (node.carried.length === 2) throw new Error("the second one fails");
  };
  const outcomes = await Promise.allSettled(
    [2, 3, 4].map((count) => datastore.commit(workers(count), { user: "eve" })),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(node.carried, [
    [1, 2],
    [2, 3],
    [2, 4],
  ]);
  const flood = Array.from({ length: 70 }, (_, i) => datastore.commit(workers(1 + (i % 2)), { user: "eve" }));
  const refusals = (await Promise.allSettled(flood)).filter(({ status }) => status === "rejected");
  assert.equal(refusals.length, 5);
  assert.match(String((refusals[0] as PromiseRejectedResult).reason), /64 are waiting/);
});

for (const end of ["resolve", "reject"] as const)
  test(`a change that hangs: nothing else is let in until it has ended (${end})`, async (t) => {
    const node = new NodeFiles(t);
    const datastore = node.open({ carryOutLimit: 30 });
    let settle = () => {};
    node.whileCarried = () =>
      new Promise((resolve, reject) => {
        settle = () => (end === "resolve" ? resolve() : reject(new Error("too bad")));
      });
    const first = assert.rejects(
      datastore.commit(workers(2), { user: "eve" }),
      refused("operation-failed", /has not ended within 0.03 s/),
    );
    const waiting = assert.rejects(datastore.commit(workers(3), { user: "eve" }), refused("in-use"));
    await first;
    await waiting;
    await assert.rejects(datastore.commit(workers(4), { user: "eve" }), refused("in-use"));
    assert.deepEqual([datastore.configuration.workers, node.carried], [1, [[1, 2]]]);
    node.whileCarried = () => {};
    settle();
    await sleep(5);
    await datastore.commit(workers(5), { user: "eve" });
    const undone = end === "resolve" ? [[2, 1]] : [];
    assert.deepEqual(node.carried, [[1, 2], ...undone, [1, 5]]);
    assert.deepEqual([node.stored, datastore.number], [5, 2]);
    assert.equal(node.warnings.length, 2);
  });

test("a change that ends too late and cannot be undone is what is in force", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open({ carryOutLimit: 20 });
  node.whileCarried = async () => {
    await sleep(40);
    node.whileCarried = () => {
      throw new Error("no way back");
    };
  };
  const told = once(datastore, "changed");
  await assert.rejects(datastore.commit(workers(2), { user: "eve" }), refused("operation-failed"));
  await told;
  await sleep(1);
  assert.deepEqual([datastore.configuration.workers, node.stored], [2, undefined]);
  assert.match(node.warnings.at(-1) ?? "", /no way back/);
  await datastore.commit([], { user: "eve" });
  assert.equal(node.stored, 2);
});

for (const end of ["resolves", "rejects"] as const)
  test(`the way back hangs, and ${end} at last`, async (t) => {
    const node = new NodeFiles(t);
    const datastore = node.open({ carryOutLimit: 20 });
    node.whileCarried = () => {
      renameSync(node.etc, `${node.etc}-away`);
      node.whileCarried = async () => {
        await sleep(60);
        renameSync(`${node.etc}-away`, node.etc);
        if (end === "rejects") throw new Error("no way back");
      };
    };
    await assert.rejects(
      datastore.commit(workers(2), { user: "eve" }),
      refused("rollback-failed", /ENOENT.*; going back: .*has not ended within/),
    );
    await assert.rejects(datastore.commit(workers(3), { user: "eve" }), refused("in-use"));
    await sleep(80);
    assert.equal(datastore.configuration.workers, end === "resolves" ? 1 : 2);
    node.whileCarried = () => {};
    await datastore.commit(workers(3), { user: "eve" });
    assert.deepEqual(node.carried.at(-1), [end === "resolves" ? 1 : 2, 3]);
    assert.equal(node.stored, 3);
  });

test("a startup file that was edited by hand is not written over", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user: "eve" });
  node.write({ ...minimal, workers: 9 });
  await assert.rejects(
    datastore.commit(workers(3), { user: "eve" }),
    refused("in-use", /a\.json was edited since .*load it .*, undo the edit, or remove the file/),
  );
  writeFileSync(node.startupFile, "{ half a");
  await assert.rejects(datastore.commit(workers(3), { user: "eve" }), refused("in-use"));
  assert.deepEqual(node.carried, [[1, 2]]);
  rmSync(node.startupFile);
  await datastore.commit(workers(3), { user: "eve" });
  assert.equal(node.stored, 3);

  // Somebody is quick: the edit comes while the change is carried out.
  node.whileCarried = () => node.write({ ...minimal, workers: 9 });
  await assert.rejects(datastore.commit(workers(4), { user: "eve" }), refused("in-use"));
  assert.deepEqual([node.stored, datastore.configuration.workers], [9, 3]);
  assert.deepEqual(node.carried.slice(-2), [
    [3, 4],
    [4, 3],
  ]);
});

test("an edit by hand that says what is in force, or is about to be, hinders nothing", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user: "eve" });
  writeFileSync(node.startupFile, JSON.stringify({ ...minimal, workers: 2 }, null, 7));
  await datastore.commit(workers(3), { user: "eve" });
  assert.equal(node.stored, 3);
  node.write({ ...minimal, workers: 4 });
  await datastore.commit(workers(4), { user: "eve" });
  rmSync(node.startupFile);
  await datastore.commit(workers(5), { user: "eve" });
  assert.equal(node.stored, 5);
  assert.equal(statSync(node.startupFile).mode & 0o777, 0o600);
});

test("after a restart: the same number, tag and time; another number if it was edited meanwhile", async (t) => {
  const node = new NodeFiles(t);
  const first = node.open();
  await first.commit(workers(2), { user: "eve" });
  const second = node.open();
  assert.deepEqual(
    [second.number, second.etag, second.lastModified, second.history()],
    [first.number, first.etag, first.lastModified, first.history()],
  );
  node.write({ ...minimal, workers: 3 });
  const third = node.open();
  assert.notEqual(third.etag, first.etag);
  const [{ number, user, comment }] = third.history();
  assert.deepEqual([third.number, number, user, comment], [3, 3, "startup", "found in the startup file"]);
  node.write({ ...minimal, workers: 2 });
  assert.equal(node.open().etag, first.etag);
});

test("an earlier configuration comes back as a commit of its own", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  const { etag } = datastore;
  await assert.rejects(datastore.rollback(undefined, { user: "eve" }), refused("data-missing"));
  await datastore.commit(workers(2), { user: "eve" });
  await datastore.commit(workers(3), { user: "eve" });
  assert.equal((await datastore.rollback(undefined, { user: "eve" })).number, 4);
  assert.deepEqual([datastore.configuration.workers, node.stored], [2, 2]);
  await datastore.rollback(1, { user: "eve" });
  assert.deepEqual([datastore.configuration.workers, datastore.etag, node.stored], [1, etag, undefined]);
  assert.deepEqual(
    datastore.history().map(({ number }) => number),
    [5, 4, 3, 2, 1],
  );
  assert.equal(JSON.parse(datastore.configurationOf(3))["vita-gateway:workers"], 3);
  await assert.rejects(
    datastore.rollback(9, { user: "eve" }),
    refused("invalid-value", /^\/rollback\/number: "9" is not in the history, which has 5, 4, 3, 2, 1$/),
  );
});

test("what is in force can be saved to a file that nobody else may read", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  const file = join(node.folder, "saved.json");
  writeFileSync(file, "old", { mode: 0o644 });
  datastore.save(file);
  assert.equal(JSON.parse(readFileSync(file, "utf8"))["vita-gateway:node"], "a");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.throws(() => datastore.save("saved.json"), refused("invalid-value", /is not an absolute path/));
  assert.throws(() => datastore.save(node.startupFile), refused("invalid-value", /is the startup file/));
  assert.throws(() => datastore.save("/dev/null"), refused("invalid-value", /is not a regular file/));
  assert.throws(() => datastore.save(join(node.folder, "no/a.json")), refused("invalid-value", /ENOENT/));
});

test("a listener that throws does not make a commit fail; a closed datastore takes none", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  datastore.on("changed", () => {
    throw new Error("not me");
  });
  await datastore.commit(workers(2), { user: "eve" });
  assert.match(node.warnings.join(), /not me/);
  datastore.close();
  await assert.rejects(
    datastore.commit(workers(3), { user: "eve" }),
    refused("in-use", /the node is ending/),
  );
});

test("a startup file that is missing, broken or no file is refused in words", (t) => {
  const node = new NodeFiles(t);
  writeFileSync(node.startupFile, "{");
  assert.throws(() => node.open(), ConfigurationError);
  rmSync(node.startupFile);
  assert.throws(() => node.open(), refused("data-missing", /a\.json: .*ENOENT/));
  mkdirSync(node.startupFile);
  assert.throws(() => node.open(), refused("data-missing", /is not a regular file/));
});

test("before anybody can carry a change out there is none", async (t) => {
  const node = new NodeFiles(t);
  const { Datastore } = await import("./datastore.js");
  const { Schema } = await import("./schema.js");
  const { startupFile, stateDirectory } = node;
  const datastore = Datastore.open({
    schema: Schema.load(),
    startupFile,
    stateDirectory,
  });
  await assert.rejects(
    datastore.commit(workers(2), { user: "eve" }),
    refused("operation-failed", /the node is not up yet/),
  );
});
