import assert from "node:assert/strict";
import { test } from "node:test";
import { SCHED_BATCH, SCHED_OTHER, sched_getscheduler, sched_setscheduler } from "../native/scheduling.js";
import { Pacing } from "./pacing.js";

const TCP = 6;
const UDP = 17;

function counting(): { pacing: Pacing; pauses: () => number } {
  let pauses = 0;
  const pacing = new Pacing(() => {
    pauses++;
  });
  return { pacing, pauses: () => pauses };
}

test("there is a pause behind each 64 datagrams in a row", () => {
  const { pacing, pauses } = counting();
  for (let i = 0; i < 63; i++) pacing.handed(1, UDP);
  assert.equal(pauses(), 0);
  pacing.handed(1, UDP);
  assert.equal(pauses(), 1);
  pacing.handed(64, UDP);
  pacing.handed(64, UDP);
  assert.equal(pauses(), 3);
  pacing.handed(63, UDP);
  assert.equal(pauses(), 3);
});

test("a breath or two without datagrams do not end the row, three do", () => {
  const { pacing, pauses } = counting();
  pacing.handed(40, UDP);
  pacing.rest();
  pacing.rest();
  pacing.handed(30, UDP);
  assert.equal(pauses(), 1);
  pacing.handed(40, UDP);
  for (let i = 0; i < 3; i++) pacing.rest();
  pacing.handed(30, UDP);
  assert.equal(pauses(), 1);
});

test("TCP is not counted", () => {
  const { pacing, pauses } = counting();
  for (let i = 0; i < 100; i++) pacing.handed(40, TCP);
  assert.equal(pauses(), 0);
});

test("behind a pause the thread is scheduled as before", () => {
  const parameters = new Int32Array(1);
  for (const policy of [SCHED_OTHER, SCHED_BATCH]) {
    assert.equal(sched_setscheduler(0, policy, parameters), 0);
    const start = process.hrtime.bigint();
    new Pacing().handed(64, UDP);
    assert.ok(process.hrtime.bigint() - start >= 20_000n, "no pause");
    assert.equal(sched_getscheduler(0), policy);
  }
  sched_setscheduler(0, SCHED_OTHER, parameters);
});
