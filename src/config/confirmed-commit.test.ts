// Confirmed commits (RFC 6241, section 8.4).

import assert from "node:assert/strict";
import { once } from "node:events";
import { renameSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigurationError } from "./problem.js";
import { refusal } from "./refusal.js";
import { NodeFiles, workers } from "./testing/node-files.js";

const user = "eve";
const long = 60;
const short = 0.03;

test("not confirmed in time: what was before comes back, and was never overwritten", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user });
  const { etag } = datastore;
  const events: object[] = [];
  datastore.on("changed", ({ number, user, confirmBy }) => events.push({ number, user, due: !!confirmBy }));
  const before = Date.now();
  await datastore.commit(workers(3), { user, confirmSeconds: short });
  const due = datastore.confirmBy!.getTime() - short * 1000;
  assert.ok(due >= before && due <= Date.now());
  assert.deepEqual([datastore.configuration.workers, node.stored], [3, 2]);
  await once(datastore, "changed");
  assert.deepEqual([datastore.configuration.workers, node.stored, datastore.etag], [2, 2, etag]);
  assert.equal(datastore.confirmBy, undefined);
  assert.deepEqual(node.carried.slice(1), [
    [2, 3],
    [3, 2],
  ]);
  assert.deepEqual(events, [
    { number: 3, user, due: true },
    { number: 4, user: "vita", due: false },
  ]);
  assert.equal(datastore.history()[0].comment, "commit 3 was not confirmed in time");
  assert.deepEqual(node.warnings, []);
});

test("confirmed: it is stored, and stays", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  assert.throws(() => datastore.confirm(user), /no commit is waiting to be confirmed/);
  await datastore.commit(workers(2), { user, confirmSeconds: short });
  const told = once(datastore, "confirmed");
  datastore.confirm("adam");
  assert.equal(node.stored, 2);
  assert.deepEqual(await told, [{ number: 2, user: "adam" }]);
  await sleep(short * 2000);
  assert.deepEqual(
    [datastore.configuration.workers, datastore.confirmBy, datastore.number],
    [2, undefined, 2],
  );
  assert.throws(() => datastore.confirm(user), /no commit is waiting to be confirmed/);
});

for (const [what, edits] of [
  ["changes something", workers(3)],
  ["changes nothing", []],
] as const)
  test(`a plain commit that ${what} confirms`, async (t) => {
    const node = new NodeFiles(t);
    const datastore = node.open();
    await datastore.commit(workers(2), { user, confirmSeconds: long });
    await datastore.commit(edits, { user: "adam" });
    const count = datastore.configuration.workers;
    assert.deepEqual([node.stored, datastore.confirmBy], [count, undefined]);
    assert.equal(count, edits.length ? 3 : 2);
  });

test("a commit that is refused, or fails, confirms nothing", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open({ retry: 10 });
  await datastore.commit(workers(2), { user, confirmSeconds: short });
  const over = once(datastore, "changed");
  await assert.rejects(datastore.commit(workers(17), { user }), ConfigurationError);
  node.whileCarried = () => {
    throw new Error("no");
  };
  await assert.rejects(datastore.commit(workers(3), { user }), ConfigurationError);
  node.whileCarried = () => {};
  await over;
  assert.deepEqual([datastore.configuration.workers, node.stored], [1, undefined]);
});

test("a follow-up begins the time-out anew, and what comes back is older than the first", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user, confirmSeconds: 0.3 });
  await datastore.commit(workers(3), { user, confirmSeconds: long });
  await sleep(400);
  assert.equal(datastore.configuration.workers, 3);
  await datastore.commit([], { user, confirmSeconds: short });
  assert.ok(datastore.confirmBy!.getTime() < Date.now() + 1000);
  await once(datastore, "changed");
  assert.deepEqual([datastore.configuration.workers, node.stored], [1, undefined]);
  // With nothing to confirm, a commit that changes nothing waits for nothing.
  await datastore.commit([], { user, confirmSeconds: short });
  assert.equal(datastore.confirmBy, undefined);
});

test("cancelled: what was before comes back at once", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await assert.rejects(datastore.cancel(user), /no commit is waiting to be confirmed/);
  await datastore.commit(workers(2), { user, confirmSeconds: long });
  await datastore.commit(workers(3), { user, confirmSeconds: long });
  await datastore.cancel("adam");
  assert.deepEqual([datastore.configuration.workers, datastore.confirmBy], [1, undefined]);
  const [entry] = datastore.history();
  assert.deepEqual([entry.number, entry.user, entry.comment], [4, "adam", "commit 3 was cancelled"]);
  await datastore.commit(workers(5), { user });
  assert.equal(node.stored, 5);
});

test("an earlier configuration can be confirmed or cancelled as well", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user });
  await datastore.rollback(1, { user, confirmSeconds: long });
  assert.deepEqual([datastore.configuration.workers, node.stored], [1, 2]);
  await datastore.cancel(user);
  assert.deepEqual([datastore.configuration.workers, node.stored], [2, 2]);
});

test("followed up by what was before: there is nothing to carry out when it is cancelled", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user, confirmSeconds: long });
  const back = [{ operation: "remove", target: "/workers" }] as const;
  await datastore.commit(back, { user, confirmSeconds: long });
  const { length } = node.carried;
  await datastore.cancel(user);
  assert.deepEqual([node.carried.length, datastore.confirmBy], [length, undefined]);
  await datastore.commit(workers(3), { user });
  assert.equal(node.stored, 3);
});

test("a restart brings what was before back", async (t) => {
  const node = new NodeFiles(t);
  const first = node.open();
  await first.commit(workers(2), { user });
  await first.commit(workers(3), { user, confirmSeconds: long });
  first.close();
  const second = node.open();
  assert.deepEqual([second.configuration.workers, second.number, second.confirmBy], [2, 4, undefined]);
  // Number 3 can still be had.
  await second.rollback(3, { user });
  assert.equal(node.stored, 3);
});

test("going back fails: it is tried again, and can be confirmed until then", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open({ retry: 20 });
  node.whileCarried = (from) => {
    if (from.workers === 2 && node.carried.length < 4)
      throw refusal("in-use", "not now", '/public-interface[name="wan0"]');
  };
  await datastore.commit(workers(2), { user, confirmSeconds: short });
  await once(datastore, "changed");
  assert.deepEqual(node.carried, [
    [1, 2],
    [2, 1],
    [2, 1],
    [2, 1],
  ]);
  assert.deepEqual([datastore.configuration.workers, node.warnings.length], [1, 2]);
  assert.match(node.warnings[0], /cannot be rolled back yet: \/public-interface\[name="wan0"\]: not now/);

  node.whileCarried = (from) => {
    if (from.workers === 3) throw new Error("never");
  };
  await datastore.commit(workers(3), { user, confirmSeconds: short });
  await assert.rejects(datastore.cancel(user), /never/);
  while (node.warnings.length < 3) await sleep(5);
  datastore.confirm(user);
  assert.equal(node.stored, 3);
});

test("what is being rolled back cannot be confirmed any more; what hangs then is awaited", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open({ carryOutLimit: 20, retry: 10 });
  await datastore.commit(workers(2), { user, confirmSeconds: short });
  let end = () => {};
  await new Promise<void>((begun) => {
    node.whileCarried = () => {
      begun();
      return new Promise((resolve) => {
        end = resolve;
      });
    };
  });
  assert.throws(() => datastore.confirm(user), /it is being rolled back already/);
  while (node.warnings.length === 0) await sleep(5);
  assert.match(node.warnings[0], /has not ended within 0.02 s/);
  assert.throws(() => datastore.confirm(user), /it is being rolled back already/);
  await assert.rejects(datastore.commit(workers(3), { user }), /a former change .* has not ended/);
  await sleep(30);
  node.whileCarried = () => {};
  const over = once(datastore, "changed");
  end();
  await over;
  assert.deepEqual(
    [datastore.configuration.workers, datastore.confirmBy, node.carried.length],
    [1, undefined, 2],
  );
  await sleep(20);
  await datastore.commit(workers(3), { user });
  assert.deepEqual([node.stored, node.carried.length], [3, 3]);
});

test("what was to be confirmed is confirmed while the follow-up is carried out", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user, confirmSeconds: long });
  node.whileCarried = async () => {
    await sleep(1);
    datastore.confirm(user);
    await sleep(1);
  };
  await datastore.commit(workers(3), { user, confirmSeconds: long });
  assert.equal(node.stored, 2);
  node.whileCarried = () => {};
  await datastore.cancel(user);
  assert.equal(datastore.configuration.workers, 2);
});

test("the time is over while another commit is carried out: the commit confirms, or it is rolled back", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  node.whileCarried = () => sleep(50);
  await datastore.commit(workers(2), { user, confirmSeconds: short });
  await datastore.commit(workers(3), { user });
  await sleep(20);
  assert.deepEqual([datastore.configuration.workers, node.stored, node.carried.length], [3, 3, 2]);
  await datastore.commit(workers(4), { user, confirmSeconds: short });
  node.whileCarried = async () => {
    node.whileCarried = () => {};
    await sleep(50);
    throw new Error("no");
  };
  const over = once(datastore, "changed");
  await assert.rejects(datastore.commit(workers(5), { user }), /no/);
  await over;
  assert.deepEqual([datastore.configuration.workers, node.stored], [3, 3]);
});

test("it cannot be confirmed when it cannot be stored; the time-out goes on", async (t) => {
  const node = new NodeFiles(t);
  const datastore = node.open();
  await datastore.commit(workers(2), { user, confirmSeconds: short });
  renameSync(node.etc, `${node.etc}-away`);
  assert.throws(() => datastore.confirm(user), /ENOENT/);
  assert.notEqual(datastore.confirmBy, undefined);
  renameSync(`${node.etc}-away`, node.etc);
  node.write({ node: "a", edited: true });
  assert.throws(() => datastore.confirm(user), /was edited since/);
  await once(datastore, "changed");
  assert.equal(datastore.configuration.workers, 1);
});
