// Counters outlive the worker that counts: each test opens the file as the next worker or as an onlooker would.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { makeScratch } from "../memory/testing/scratch.js";
import { CounterFile, countersFile } from "./counters.js";

function makePath(context: TestContext): string {
  const scratch = makeScratch("counters");
  context.after(scratch.remove);
  return scratch.file("counters-0");
}

const texts = { packets: "all", "drop.bad": "bad ones" };

test("the next worker goes on counting where the last one stopped, and onlookers see it", (context) => {
  const path = makePath(context);
  const first = CounterFile.create(path);
  first.allocate("protect", texts)[0] = 5;
  first.close();
  const second = CounterFile.open(path, "write");
  const onlooker = CounterFile.open(path, "read");
  second.allocate("route", { packets: "all" })[0] = 7;
  const counters = second.allocate("protect", texts);
  counters[0]++;
  counters[1] = 2 ** 53;
  assert.deepEqual(Object.fromEntries(onlooker.read()), {
    "protect.packets": 6,
    "protect.drop.bad": 2 ** 53,
    "route.packets": 7,
  });
  second.close();
  onlooker.close();
});

test("an app whose counters have changed has new ones, and spoils nobody's", (context) => {
  const file = CounterFile.create(makePath(context));
  file.allocate("protect", texts).set([3, 4]);
  const route = file.allocate("route", texts);
  const longer = file.allocate("protect", { ...texts, "drop.worse": "worse ones" });
  assert.deepEqual([...longer], [0, 0, 0]);
  longer[2] = 9;
  assert.deepEqual([...route], [0, 0]);
  assert.equal(file.read().get("protect.drop.worse"), 9);
  assert.equal(file.allocate("nothing", {}).length, 0);
  file.close();
});

test("no room, a long name, and files that are something else are refused", (context) => {
  const path = makePath(context);
  const file = CounterFile.create(path);
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`number-${i}`, ""]));
  file.allocate("many", many);
  assert.throws(() => file.allocate("more", many), /no room for the counters of more: 1024 are in use/);
  assert.throws(() => file.allocate("x", { ["y".repeat(63)]: "" }), /longer than 64 bytes/);
  assert.throws(() => CounterFile.create(path), { code: "EEXIST" });
  file.close();
  writeFileSync(path, new Uint8Array(countersFile.size));
  assert.throws(() => CounterFile.open(path, "read"), /not a counters file of layout version 1/);
});
