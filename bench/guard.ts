// guard: has an app become slower than it was? Not in ns, which are the machine's, but against two yardsticks that run in
// turns with the apps in the same process: a reference loop in TypeScript, and the crypto library alone.
//
//   an app's time  =  its factor × reference loop  +  (encapsulate, decapsulate) half of crypto
//
// The factors stand in guard-limits.json, one record for each kind of processor and major version of Node, written by
// `bench -- guard --write`. An app that takes more than TOLERANCE times what its factor says in each of ATTEMPTS processes
// has become slower; a neighbour's burst, or a function that V8 compiled badly once, does not last that long.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { AppTimesResult } from "./app-times.js";
import { timeApps } from "./apps.js";
import { aes128gcm16 } from "./ciphers.js";
import { machine, type Processor } from "./processor.js";
import { round3 } from "./rounds.js";

export interface LimitRecord extends Processor {
  /** Factor of each app. */
  apps: Record<string, number>;
}

const SIZE = "60";
const ROUNDS = 20;
const ATTEMPTS = 3;
const TOLERANCE = 1.15;
/** Where no record was made on such a machine, factors of another one are used, and differ by more. */
const STRANGE_TOLERANCE = 1.6;
/** The slowdown that must trip. */
export const SLOWDOWN = 1.3;

const file = fileURLToPath(new URL("../../bench/guard-limits.json", import.meta.url));
const usesCrypto = new Set(["encapsulate", "decapsulate"]);

export function readLimits(): LimitRecord[] {
  return JSON.parse(readFileSync(file, "utf8")) as LimitRecord[];
}

function cryptoPart(name: string, { cryptoNs }: AppTimesResult): number {
  return usesCrypto.has(name) ? cryptoNs / 2 : 0;
}

export function factors(result: AppTimesResult): Map<string, number> {
  return new Map(
    result.stages
      .filter(({ kind }) => kind === "app")
      .map(({ name, ns }) => [name, (ns - cryptoPart(name, result)) / result.referenceNs]),
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
  /** So much faster than the record says that a slowdown by 30 % would not trip. */
  outdated: boolean;
}

/** @throws when the record is one of other apps */
export function judge(result: AppTimesResult, records: readonly LimitRecord[], own: Processor): Finding[] {
  const { record, same } = chooseRecord(records, own);
  const apps = result.stages.filter(({ kind }) => kind === "app");
  const names = apps.map(({ name }) => name).sort();
  if (names.join() !== Object.keys(record.apps).sort().join())
    throw new Error(
      "guard-limits.json knows other apps than there are; run `npm run bench -- guard --write`",
    );
  const tolerance = same ? TOLERANCE : STRANGE_TOLERANCE;
  return apps.map(({ name, ns }) => {
    const expectedNs = record.apps[name] * result.referenceNs + cryptoPart(name, result);
    return {
      app: name,
      ns: round3(ns),
      expectedNs: round3(expectedNs),
      tripped: ns > tolerance * expectedNs,
      outdated: same && SLOWDOWN * ns < tolerance * expectedNs,
    };
  });
}

export interface GuardResult {
  bench: "guard";
  machine: Processor;
  known: boolean;
  attempts: number;
  /** Of each app that of the attempt in which it did best. */
  findings: Finding[];
  holds: boolean;
}

/** @param time times the apps in a new process */
export async function guard(
  records: readonly LimitRecord[],
  time: () => Promise<AppTimesResult> = () => timeApps(SIZE, aes128gcm16, ROUNDS),
): Promise<GuardResult> {
  const own = machine();
  let findings: Finding[] = [];
  let attempts = 0;
  do {
    const now = judge(await time(), records, own);
    const better = (a: Finding, b: Finding) => a.ns / a.expectedNs < b.ns / b.expectedNs;
    findings = now.map((finding, i) =>
      attempts > 0 && better(findings[i], finding) ? findings[i] : finding,
    );
    attempts++;
  } while (attempts < ATTEMPTS && findings.some(({ tripped }) => tripped));
  return {
    bench: "guard",
    machine: own,
    known: known(records),
    attempts,
    findings,
    holds: findings.every(({ tripped }) => !tripped),
  };
}

/** Of several processes the median of each factor. */
async function measureRecord(): Promise<LimitRecord> {
  const runs: Map<string, number>[] = [];
  for (let i = 0; i < 5; i++) runs.push(factors(await timeApps(SIZE, aes128gcm16, 2 * ROUNDS)));
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
