import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NoTurn, Turns } from "./turns.js";

test("one after the other, whatever becomes of each", async () => {
  const turns = new Turns(10);
  const log: string[] = [];
  const work = (name: string, end: () => void) => async () => {
    log.push(`${name} begins`);
    await sleep(2);
    log.push(`${name} ends`);
    end();
    return name;
  };
  const fail = () => {
    throw new Error("no");
  };
  const outcomes = await Promise.allSettled([
    turns.take(work("a", () => {})),
    turns.take(work("b", fail)),
    turns.take(() => fail() as never),
    turns.take(work("c", () => {})),
  ]);
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : outcome.reason.message)),
    ["a", "no", "no", "c"],
  );
  assert.deepEqual(log, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
});

test("so many may wait, and no more", async () => {
  const turns = new Turns(2);
  const took = [1, 2, 3].map((n) => turns.take(async () => n));
  await assert.rejects(
    turns.take(async () => 4),
    NoTurn,
  );
  assert.deepEqual(await Promise.all(took), [1, 2, 3]);
  assert.equal(await turns.take(async () => 5), 5);
});

test("while something has not ended nobody has a turn", async () => {
  const turns = new Turns(10);
  const ends: (() => void)[] = [];
  const rest = () => new Promise<void>((resolve) => ends.push(resolve));
  const first = turns.take(async () => {
    turns.hold(rest(), "the same");
    turns.hold(
      rest().then(() => Promise.reject(new Error("no"))),
      "the same",
    );
    await sleep(1);
    return "first";
  });
  await assert.rejects(
    turns.take(async () => {}),
    /^Error: the same$/,
  );
  assert.equal(await first, "first");
  ends[0]();
  await sleep(1);
  await assert.rejects(
    turns.take(async () => {}),
    NoTurn,
  );
  ends[1]();
  await sleep(1);
  assert.equal(await turns.take(async () => "next"), "next");
});

test("those who wait are refused when something begins to last", async () => {
  const turns = new Turns(10);
  let hold = () => {};
  const first = turns.take(async () => {
    await new Promise<void>((resolve) => {
      hold = resolve;
    });
    turns.hold(sleep(5), "it lasts");
  });
  const second = assert.rejects(
    turns.take(async () => {}),
    /it lasts/,
  );
  hold();
  await first;
  await second;
});
