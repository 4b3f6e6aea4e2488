import assert from "node:assert/strict";
import { test } from "node:test";
import {
  countForGuard,
  type GuardResult,
  guard,
  judge,
  known,
  type LimitRecord,
  readLimits,
} from "./guard.js";
import type { Instructions } from "./instructions.js";
import type { LineHooksData } from "./line-hooks.js";
import { moduleUrl } from "./line-profile.js";

function told({ findings, known: isKnown, attempts }: GuardResult): string {
  const apps = findings.map(({ app, instructions, expected }) => `${app} ${instructions} of ${expected}`);
  return `${attempts} attempts${isKnown ? "" : ", limits of another version of Node"}: ${apps.join(", ")} instructions`;
}

const limits = readLimits();
let normal: GuardResult | undefined;

test("no app has become slower than bench/guard-limits.json says", async (t) => {
  normal = await guard(limits);
  t.diagnostic(told(normal));
  assert.ok(normal.holds, told(normal));
});

/** What each of the two does for every packet, by a part of its text. */
const SLOWED: Readonly<Record<string, string>> = {
  encapsulate: "\\n    seal\\([^)]*\\) \\{",
  decapsulate: "\\n    finish\\([^)]*\\) \\{",
};
/** Three instructions, as V8 11 compiles it, four of later ones; and what goes before a run of them takes six. */
const ADD = "WASTE[0] = (WASTE[0] * 3 + 1) | 0; ";
const ADD_INSTRUCTIONS = Number(process.versions.v8.split(".")[0]) > 11 ? 4 : 3;
const FIRST_INSTRUCTIONS = 6;

function instructionsOf({ findings }: GuardResult, app: string): number {
  const finding = findings.find((one) => one.app === app);
  assert.ok(finding, `there is no app ${app}`);
  return finding.instructions;
}

/** Text that gives an app 30 % more instructions than it has. */
function slowdown(app: string, before: GuardResult): LineHooksData["insertions"] {
  const url = moduleUrl(`src/ipsec/${app}`);
  const times = Math.round((0.3 * instructionsOf(before, app) - FIRST_INSTRUCTIONS) / ADD_INSTRUCTIONS);
  return [
    { url, behind: "^", text: "const WASTE = new Int32Array(1); " },
    { url, behind: SLOWED[app], text: ADD.repeat(times) },
  ];
}

for (const slow of [["encapsulate"], ["decapsulate"]])
  test(`${slow.join(" and ")}, 30 % slower, trips the guard, and no other app does`, async (t) => {
    assert.ok(normal, "the test before it has not come to an end");
    const before = normal;
    // Where the limits are another version's, its own counts take their place: what trips is the matter here.
    const apps = Object.fromEntries(before.findings.map(({ app, instructions }) => [app, instructions]));
    const own = known(limits) ? limits : [{ node: before.node, apps }];
    const insertions = slow.flatMap((app) => slowdown(app, before));
    // One process's counts stand for all attempts of the guard's.
    const counts = await countForGuard(insertions);
    const result = await guard(own, async () => counts);
    t.diagnostic(told(result));
    for (const app of slow) {
      const more = instructionsOf(result, app) / instructionsOf(before, app) - 1;
      assert.ok(more > 0.2 && more < 0.4, `${app} has ${Math.round(100 * more)} % more instructions`);
    }
    const tripped = result.findings.filter((finding) => finding.tripped).map(({ app }) => app);
    // All together may trip as well.
    assert.deepEqual(
      tripped.filter((app) => app !== "whole"),
      slow,
      `${told(result)}; where the limits are too high, write them anew: npm run bench -- guard --write --versions 20,24,26`,
    );
    assert.ok(!result.holds);
  });

test("limits of other apps are refused, those of the nearest version of Node are taken", () => {
  const record = (route: number, node = 20): LimitRecord => ({
    node,
    apps: { route, crypto: 70, whole: route + 70 },
  });
  const counted = (route: number): Pick<Instructions, "parts" | "whole"> => ({
    parts: [
      { name: "the bench's", kind: "bench", instructions: 99 },
      { name: "route", kind: "app", instructions: route },
      { name: "crypto", kind: "app", instructions: 70 },
    ],
    whole: route + 70,
  });
  const judged = (records: LimitRecord[], ...routes: number[]) => judge(routes.map(counted), records, 20);
  const trips = (records: LimitRecord[], ...routes: number[]) =>
    judged(records, ...routes)
      .filter(({ tripped }) => tripped)
      .map(({ app }) => app);

  const [route, crypto, whole] = judged([record(50, 18), record(20), record(90, 24)], 20);
  assert.deepEqual(route, { app: "route", instructions: 20, expected: 20, tripped: false, outdated: false });
  assert.deepEqual([crypto.app, whole.app, whole.expected], ["crypto", "whole", 90]);
  assert.deepEqual(trips([record(20)], 21.9), []);
  assert.deepEqual(trips([record(20)], 22.1), ["route"]);
  assert.deepEqual(trips([record(20)], 26), ["route", "whole"]);
  // In the median of three processes.
  assert.deepEqual(trips([record(20)], 26, 20, 21), []);
  assert.deepEqual(trips([record(20)], 26, 20, 26), ["route", "whole"]);
  // Another version's.
  assert.deepEqual(trips([record(20, 24)], 26.9), []);
  assert.deepEqual(trips([record(20, 24)], 27.1), ["route"]);
  assert.ok(judged([record(30)], 20)[0].outdated);
  assert.ok(!judged([record(30, 24)], 20)[0].outdated);
  assert.throws(() => judged([{ node: 20, apps: { route: 1, whole: 1 } }], 1), /other apps.*guard --write/);
  assert.throws(() => judged([], 1), /no record.*guard --write/);
});
