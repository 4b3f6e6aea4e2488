// guard: has an app become slower than it was? Not in ns, which are the machine's, but against two yardsticks that take turns
// with the gateway in the same process: a reference loop in TypeScript, and the crypto library alone.
//
//   an app's time  =  its factor × reference loop  +  (the whole, and the app `crypto`) crypto alone
//
// The factors stand in guard-limits.json, one record for each kind of processor and major version of Node, written by
// `bench -- guard --write`. An app that takes more than TOLERANCE times what its factor says is looked at in ATTEMPTS processes,
// and has become slower if it does so in the median: what a neighbour does, and how V8 compiled a function this time, differs.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { AppTimesResult } from "./app-times.js";
import { timeApps } from "./apps.js";
import { aes128gcm16 } from "./ciphers.js";
import type { LineHooksData } from "./line-hooks.js";
import { machine, type Processor } from "./processor.js";
import { round3 } from "./rounds.js";

export interface LimitRecord extends Processor {
  /** Factor of each app. */
  apps: Record<string, number>;
}

const SIZE = "60";
const ROUNDS = 300;
const ATTEMPTS = 3;
const TOLERANCE = 1.15;
/** Where no record was made on such a machine, factors of another one are used, and differ by more. */
const STRANGE_TOLERANCE = 1.6;
const WHOLE = "whole";

const file = fileURLToPath(new URL("../../bench/guard-limits.json", import.meta.url));

export function readLimits(): LimitRecord[] {
  return JSON.parse(readFileSync(file, "utf8")) as LimitRecord[];
}

function cryptoPart(name: string, { cryptoNs }: AppTimesResult): number {
  return name === WHOLE || name === "crypto" ? cryptoNs : 0;
}

/** What is judged: each part of a gateway, and the whole, which is not sampled but timed. */
function times({ parts, wholeNs }: AppTimesResult): { name: string; ns: number; samples: number }[] {
  const own = parts.filter(({ kind }) => kind !== "bench");
  return [...own, { name: WHOLE, ns: wholeNs, samples: Number.POSITIVE_INFINITY }];
}

/** What chance may do to an app of which there are so few samples: two and a half standard deviations. */
function chance(samples: number): number {
  return 2.5 / Math.sqrt(Math.max(1, samples));
}

export function factors(result: AppTimesResult): Map<string, number> {
  return new Map(
    times(result).map(({ name, ns }) => [name, (ns - cryptoPart(name, result)) / result.referenceNs]),
  );
}

/** The record for this machine and Node, or the one that is most like it. */
function chooseRecord(
  records: readonly LimitRecord[],
  own: Processor,
): { record: LimitRecord; same: boolean } {
  const likeness = ({ cpu, vaes, node }: LimitRecord) =>
    Number(cpu === own.cpu && vaes === own.vaes) * 4 +
    Number(vaes === own.vaes) * 2 +
    Number(node === own.node);
  const [record] = [...records].sort((a, b) => likeness(b) - likeness(a));
  if (!record) throw new Error("guard-limits.json has no record; run `npm run bench -- guard --write`");
  return { record, same: likeness(record) === 7 };
}

/** Whether limits were written on such a machine. */
export function known(records: readonly LimitRecord[]): boolean {
  return chooseRecord(records, machine()).same;
}

export interface Finding {
  app: string;
  ns: number;
  /** What the record says it takes. */
  expectedNs: number;
  tripped: boolean;
  /** The whole is so much faster than the record says that slowdowns would not be noticed. */
  outdated: boolean;
}

/** @param results of one or more processes; @throws when the record is one of other apps */
export function judge(
  results: readonly AppTimesResult[],
  records: readonly LimitRecord[],
  own: Processor,
): Finding[] {
  const { record, same } = chooseRecord(records, own);
  const names = times(results[0]).map(({ name }) => name);
  if ([...names].sort().join() !== Object.keys(record.apps).sort().join())
    throw new Error(
      "guard-limits.json knows other apps than there are; run `npm run bench -- guard --write`",
    );
  const tolerance = same ? TOLERANCE : STRANGE_TOLERANCE;
  return names.map((name, i) => {
    const judged = results.map((result) => {
      const { ns, samples } = times(result)[i];
      const expectedNs = record.apps[name] * result.referenceNs + cryptoPart(name, result);
      return { ns, expectedNs, ratio: ns / expectedNs, allowed: tolerance + chance(samples) };
    });
    const { ns, expectedNs, ratio, allowed } = judged.sort((a, b) => a.ratio - b.ratio)[judged.length >>> 1];
    return {
      app: name,
      ns: round3(ns),
      expectedNs: round3(expectedNs),
      tripped: ratio > allowed,
      outdated: same && name === WHOLE && ratio * TOLERANCE < 1,
    };
  });
}

export interface GuardResult {
  bench: "guard";
  machine: Processor;
  known: boolean;
  attempts: number;
  findings: Finding[];
  holds: boolean;
}

/** Times the apps as the guard does, some of them with other text in their modules. */
export function timeForGuard(insertions: LineHooksData["insertions"] = []): Promise<AppTimesResult> {
  return timeApps(SIZE, aes128gcm16, ROUNDS, insertions);
}

/** @param time times the apps in a new process */
export async function guard(
  records: readonly LimitRecord[],
  time: () => Promise<AppTimesResult> = timeForGuard,
): Promise<GuardResult> {
  const own = machine();
  const results = [await time()];
  let findings = judge(results, records, own);
  if (findings.some(({ tripped }) => tripped)) {
    while (results.length < ATTEMPTS) results.push(await time());
    findings = judge(results, records, own);
  }
  return {
    bench: "guard",
    machine: own,
    known: known(records),
    attempts: results.length,
    findings,
    holds: findings.every(({ tripped }) => !tripped),
  };
}

/** Of several processes the median of each factor. */
async function measureRecord(): Promise<LimitRecord> {
  const runs: Map<string, number>[] = [];
  for (let i = 0; i < 5; i++) runs.push(factors(await timeForGuard()));
  const median = (name: string) =>
    runs.map((run) => run.get(name) ?? 0).sort((a, b) => a - b)[runs.length >>> 1];
  return {
    ...machine(),
    apps: Object.fromEntries([...runs[0].keys()].map((name) => [name, round3(median(name))])),
  };
}

export async function writeLimits(): Promise<void> {
  const record = await measureRecord();
  let others: LimitRecord[] = [];
  try {
    // Records of other apps are of no use any more.
    const names = (r: LimitRecord) => Object.keys(r.apps).sort().join();
    others = readLimits().filter((r) => names(r) === names(record));
  } catch {
    // The first record.
  }
  others = others.filter(
    ({ cpu, vaes, node }) => cpu !== record.cpu || vaes !== record.vaes || node !== record.node,
  );
  writeFileSync(file, `${JSON.stringify([...others, record], undefined, 2)}\n`);
}

function print({ findings, known, holds }: GuardResult): void {
  console.log("app             ns a packet   expected");
  for (const { app, ns, expectedNs, tripped, outdated } of findings) {
    const verdict = tripped ? "   SLOWER" : outdated ? "   faster: write the limits anew" : "";
    console.log(
      `${app.padEnd(14)}${ns.toFixed(1).padStart(13)}${expectedNs.toFixed(1).padStart(11)}${verdict}`,
    );
  }
  if (!known)
    console.log(
      `no limits of this processor and Node: up to ${STRANGE_TOLERANCE} times the expected is let pass`,
    );
  console.log(holds ? "no app has become slower" : "an app has become slower");
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { write: { type: "boolean", default: false }, json: { type: "boolean", default: false } },
  });
  if (values.write) await writeLimits();
  const result = await guard(readLimits());
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
  if (!result.holds) process.exitCode = 1;
}
