import assert from "node:assert/strict";
import { test } from "node:test";
import { Steps } from "./steps.js";

function record() {
  const done: string[] = [];
  const log = { info: () => {}, warn: (text: string) => void done.push(`warn ${text}`) };
  return { done, steps: new Steps(log) };
}

test("what waits for the end is done once all steps have been taken", async () => {
  const { done, steps } = record();
  await steps.run(async () => {
    steps.orElse(() => void done.push("back"));
    steps.atLast(() => void done.push("last"));
    done.push("step");
  });
  assert.deepEqual(done, ["step", "last"]);
});

test("when a step fails those before it are taken back, the last one first, whatever fails meanwhile", async () => {
  const { done, steps } = record();
  const failing = steps.run(async () => {
    steps.atLast(() => void done.push("last"));
    steps.orElse(() => void done.push("back 1"));
    steps.orElse(async () => {
      throw new Error("stuck");
    });
    steps.orElse(() => void done.push("back 3"));
    throw new Error("cannot be done");
  });
  await assert.rejects(failing, /^Error: cannot be done$/);
  assert.deepEqual(done, ["back 3", "warn taking the change back: stuck", "back 1"]);
});
