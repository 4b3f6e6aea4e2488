import assert from "node:assert/strict";
import { test } from "node:test";
import type { AppTimesResult } from "./app-times.js";
import { Contender } from "./contender.js";
import { type GuardResult, guard, judge, known, type LimitRecord, readLimits, SLOWDOWN } from "./guard.js";

function text({ findings, known: isKnown, attempts }: GuardResult): string {
  const apps = findings.map(({ app, ns, expectedNs }) => `${app} ${ns} of ${expectedNs}`);
  return `${attempts} attempts${isKnown ? "" : ", limits of another machine"}: ${apps.join(", ")} ns`;
}

test("no app has become slower than bench/guard-limits.json says", async (t) => {
  const result = await guard(readLimits());
  t.diagnostic(text(result));
  assert.ok(result.holds, text(result));
  const outdated = result.findings.filter((finding) => finding.outdated).map(({ app }) => app);
  assert.deepEqual(outdated, [], "faster than the limits say; run `npm run bench -- guard --write`");
});

// Where the limits are another machine's, more is let pass; there the slow apps are slower.
test("two apps that are 30 % slower trip the guard, and no other does", async (t) => {
  const limits = readLimits();
  const slow = ["classify", "encapsulate"];
  const factor = known(limits) ? SLOWDOWN : 3;
  const result = await guard(limits, async () => {
    const contender = await Contender.start<AppTimesResult>("testing/slow-apps", [String(factor), ...slow]);
    try {
      await contender.round(20);
      return contender.answers[0];
    } finally {
      contender.stop();
    }
  });
  t.diagnostic(text(result));
  assert.deepEqual(
    result.findings.filter(({ tripped }) => tripped).map(({ app }) => app),
    slow,
    text(result),
  );
});

test("limits of other apps are refused, those of a machine that is most like this one are taken", () => {
  const own = { cpu: "here", vaes: true, node: 20 };
  const record = (factor: number, from: Partial<LimitRecord>): LimitRecord => ({
    ...own,
    apps: { route: factor, encapsulate: factor },
    ...from,
  });
  const result = {
    stages: [
      { name: "private rx", kind: "port", ns: 99 },
      { name: "route", kind: "app", ns: 10 },
      { name: "encapsulate", kind: "app", ns: 40 },
    ],
    cryptoNs: 60,
    referenceNs: 10,
  } as AppTimesResult;
  const judged = (records: LimitRecord[]) => judge(result, records, own);
  const [route, encapsulate] = judged([record(7, { vaes: false }), record(1, {}), record(5, { node: 24 })]);
  assert.deepEqual(route, { app: "route", ns: 10, expectedNs: 10, tripped: false, outdated: false });
  assert.equal(encapsulate.expectedNs, 40);
  assert.ok(judged([record(0.8, {})])[0].tripped);
  assert.ok(!judged([record(0.8, { cpu: "elsewhere" })])[0].tripped);
  assert.ok(judged([record(1.2, {})])[0].outdated);
  assert.throws(() => judged([record(1, { apps: { route: 1 } })]), /other apps.*guard --write/);
  assert.throws(() => judged([]), /no record.*guard --write/);
});
