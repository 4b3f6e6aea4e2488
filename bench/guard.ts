// guard: has an app become slower than it was? Told by the instructions that it takes for a packet of 60 bytes (instructions.ts):
// they are the same on any machine, however busy, where times are not. All that is TypeScript in the data path waits for nothing
// (docs/single-worker.md), so that instructions are its time.
//
// The counts stand in guard-limits.json, one record for each major version of Node, each of which compiles in its own way,
// written by `bench -- guard --write --versions 20,24,26`. An app that takes more than TOLERANCE times its count is looked at in ATTEMPTS processes, and
// has become slower if it does so in the median: V8 may compile a function differently this time.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { countInstructions, type Instructions } from "./instructions.js";
import type { LineHooksData } from "./line-hooks.js";
import { nodeProgram } from "./node-binaries.js";
import { count as countOf, round3 } from "./rounds.js";

export interface LimitRecord {
  /** Major version of Node. */
  node: number;
  /** Instructions a packet, of each app. */
  apps: Record<string, number>;
}

const SIZE = "60";
const ATTEMPTS = 3;
const TOLERANCE = 1.1;
/** Of all apps together. */
const WHOLE_TOLERANCE = 1.05;
/** Where there is no record for this version of Node, that of another one is used. */
const STRANGE_TOLERANCE = 1.35;
const WHOLE = "whole";

const file = fileURLToPath(new URL("../../bench/guard-limits.json", import.meta.url));
const ownNode = Number(process.versions.node.split(".")[0]);

export function readLimits(): LimitRecord[] {
  return JSON.parse(readFileSync(file, "utf8")) as LimitRecord[];
}

/** What is judged: each part of a gateway, and all together; what is the bench's own or the library's is not. */
function judged({ parts, whole }: Pick<Instructions, "parts" | "whole">): Map<string, number> {
  const own = parts.filter(({ kind }) => kind !== "bench");
  return new Map([...own.map(({ name, instructions }) => [name, instructions] as const), [WHOLE, whole]]);
}

/** The record for a version of Node, or that of the nearest one. */
function chooseRecord(records: readonly LimitRecord[], node: number): LimitRecord {
  const [record] = [...records].sort((a, b) => Math.abs(a.node - node) - Math.abs(b.node - node));
  if (!record)
    throw new Error(
      "guard-limits.json has no record; run `npm run bench -- guard --write --versions 20,24,26`",
    );
  return record;
}

/** Whether limits were written for this version of Node. */
export function known(records: readonly LimitRecord[]): boolean {
  return chooseRecord(records, ownNode).node === ownNode;
}

export interface Finding {
  app: string;
  instructions: number;
  /** What the record says it takes. */
  expected: number;
  tripped: boolean;
  /** It takes so much less than the record says that slowdowns would not be noticed. */
  outdated: boolean;
}

/** @param results of one or more processes; @throws when the record is one of other apps */
export function judge(
  results: readonly Pick<Instructions, "parts" | "whole">[],
  records: readonly LimitRecord[],
  node: number,
): Finding[] {
  const record = chooseRecord(records, node);
  const counts = results.map(judged);
  const names = [...counts[0].keys()];
  if ([...names].sort().join() !== Object.keys(record.apps).sort().join())
    throw new Error(
      "guard-limits.json knows other apps than there are; run `npm run bench -- guard --write --versions 20,24,26`",
    );
  const same = record.node === node;
  return names.map((app) => {
    const instructions = median(counts.map((count) => count.get(app) ?? 0));
    const expected = record.apps[app];
    const tolerance = !same ? STRANGE_TOLERANCE : app === WHOLE ? WHOLE_TOLERANCE : TOLERANCE;
    return {
      app,
      instructions,
      expected,
      tripped: instructions > expected * tolerance,
      outdated: same && instructions * tolerance < expected,
    };
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >>> 1];
}

export interface GuardResult {
  bench: "guard";
  node: number;
  known: boolean;
  attempts: number;
  findings: Finding[];
  holds: boolean;
}

/** Counts as the guard does, with other text in some modules. */
export async function countForGuard(insertions: LineHooksData["insertions"] = []): Promise<Instructions> {
  for (let attempt = 1; ; attempt++)
    try {
      return await countInstructions(SIZE, { insertions });
    } catch (error) {
      // On a machine that hardly gives the other process any time, it may have been compiled anew when it was to be stepped.
      if (attempt === ATTEMPTS) throw error;
    }
}

/** @param count counts in a new process */
export async function guard(
  records: readonly LimitRecord[],
  count: () => Promise<Instructions> = countForGuard,
): Promise<GuardResult> {
  const results = [await count()];
  let findings = judge(results, records, ownNode);
  if (findings.some(({ tripped }) => tripped)) {
    while (results.length < ATTEMPTS) results.push(await count());
    findings = judge(results, records, ownNode);
  }
  return {
    bench: "guard",
    node: ownNode,
    known: known(records),
    attempts: results.length,
    findings,
    holds: findings.every(({ tripped }) => !tripped),
  };
}

/** Of several processes the median of each count. */
async function measureRecord(node: number): Promise<LimitRecord> {
  const program = await nodeProgram(node);
  const counts: Map<string, number>[] = [];
  for (let i = 0; i < 5; i++) counts.push(judged(await countInstructions(SIZE, { program })));
  const names = [...counts[0].keys()];
  const apps = names.map((name) => [name, round3(median(counts.map((count) => count.get(name) ?? 0)))]);
  return { node, apps: Object.fromEntries(apps) };
}

/** Writes the limits for some versions of Node; there are none for others any more. */
async function writeLimits(versions: readonly number[]): Promise<void> {
  const records: LimitRecord[] = [];
  for (const node of [...versions].sort((a, b) => a - b)) records.push(await measureRecord(node));
  writeFileSync(file, `${JSON.stringify(records, undefined, 2)}\n`);
}

function print({ findings, known, holds }: GuardResult): void {
  console.log("app             instructions a packet   expected");
  for (const { app, instructions, expected, tripped, outdated } of findings) {
    const verdict = tripped ? "   SLOWER" : outdated ? "   faster: write the limits anew" : "";
    console.log(
      `${app.padEnd(14)}${instructions.toFixed(1).padStart(23)}${expected.toFixed(1).padStart(11)}${verdict}`,
    );
  }
  if (!known)
    console.log(
      `no limits for Node ${ownNode}: up to ${STRANGE_TOLERANCE} times what another version takes is let pass ` +
        "(bench -- guard --write --versions N,N writes limits for several)",
    );
  console.log(holds ? "no app has become slower" : "an app has become slower");
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      write: { type: "boolean", default: false },
      versions: { type: "string", default: String(ownNode) },
      json: { type: "boolean", default: false },
    },
  });
  if (values.write)
    await writeLimits(values.versions.split(",").map((version) => countOf(version, "versions", 99)));
  const result = await guard(readLimits());
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
  if (!result.holds) process.exitCode = 1;
}
