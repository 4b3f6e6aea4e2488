import assert from "node:assert/strict";
import { test } from "node:test";
import type { AppTimesResult } from "./app-times.js";
import {
  type GuardResult,
  guard,
  judge,
  known,
  type LimitRecord,
  readLimits,
  timeForGuard,
} from "./guard.js";
import { moduleUrl } from "./line-profile.js";

function told({ findings, known: isKnown, attempts }: GuardResult): string {
  const apps = findings.map(({ app, ns, expectedNs }) => `${app} ${ns} of ${expectedNs}`);
  return `${attempts} attempts${isKnown ? "" : ", limits of another machine"}: ${apps.join(", ")} ns`;
}

let normal: GuardResult | undefined;

test("no app has become slower than bench/guard-limits.json says", async (t) => {
  normal = await guard(readLimits());
  t.diagnostic(told(normal));
  assert.ok(normal.holds, told(normal));
});

// The two are given work to do for five packets of eight by a change of their text when it is loaded: an atomic addition, which
// the processor does not do beside other things as it would do arithmetic. Where the limits are another machine's, more is let
// pass; there it is several for each packet.
test("two apps that are 30 % slower trip the guard", async (t) => {
  const limits = readLimits();
  const slow = ["encapsulate", "decapsulate"];
  const add = "Atomics.add(SLOW, 0, 1);";
  const text = known(limits) ? `if ((frame & 7) < 5) ${add}` : add.repeat(4);
  const insertions = slow.flatMap((app) => {
    const url = moduleUrl(`src/ipsec/${app}`);
    return [
      { url, behind: "^", text: "const SLOW = new Int32Array(1); " },
      { url, behind: "\\n    take\\(frame[^)]*\\) \\{", text },
    ];
  });
  const result = await guard(limits, () => timeForGuard(insertions));
  t.diagnostic(told(result));
  const tripped = result.findings.filter((finding) => finding.tripped).map(({ app }) => app);
  for (const app of slow) assert.ok(tripped.includes(app), told(result));
  // With them, the whole may trip as well, and what they have in common with others; and on a busy machine one by chance.
  const innocent = ["ip-input", "protect", "classify", "route", "transmit", "crypto"];
  const others = tripped.filter((app) => innocent.includes(app));
  assert.ok(others.length <= 1, told(result));
});

test("limits of other apps are refused, those of a machine that is most like this one are taken", () => {
  const own = { cpu: "here", vaes: true, node: 20 };
  const record = (factor: number, from: Partial<LimitRecord>): LimitRecord => ({
    ...own,
    apps: { route: factor, crypto: factor, whole: 10 },
    ...from,
  });
  const result = {
    parts: [
      { name: "the bench's", kind: "bench", ns: 99, samples: 900 },
      { name: "route", kind: "app", ns: 10, samples: 900 },
      { name: "crypto", kind: "app", ns: 70, samples: 900 },
    ],
    cryptoNs: 60,
    referenceNs: 10,
    wholeNs: 160,
  } as AppTimesResult;
  const judged = (records: LimitRecord[], ...results: AppTimesResult[]) =>
    judge([result, ...results], records, own);
  const [route, crypto] = judged([record(7, { vaes: false }), record(1, {}), record(5, { node: 24 })]);
  assert.deepEqual(route, { app: "route", ns: 10, expectedNs: 10, tripped: false, outdated: false });
  assert.equal(crypto.expectedNs, 70);
  assert.ok(judged([record(0.7, {})])[0].tripped);
  assert.ok(!judged([record(0.7, { cpu: "elsewhere" })])[0].tripped);
  const few = { ...result, parts: result.parts.map((part) => ({ ...part, samples: 60 })) };
  assert.ok(!judge([few], [record(0.7, {})], own)[0].tripped);
  const quick = { ...result, parts: result.parts.map((part) => ({ ...part, ns: 7 })) };
  assert.ok(!judged([record(0.7, {})], quick, quick)[0].tripped);
  assert.ok(judged([record(1, { apps: { route: 1, crypto: 1, whole: 15 } })]).at(-1)?.outdated);
  assert.throws(() => judged([record(1, { apps: { route: 1 } })]), /other apps.*guard --write/);
  assert.throws(() => judged([]), /no record.*guard --write/);
});
