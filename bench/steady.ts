// steady: does a worker that has found its stride still deoptimise or allocate? softbench in a process of its own, whose V8
// tells of each deoptimisation and each garbage collection after the warm-up. There must be none, and the heap must be
// as large at the end as it was at the beginning.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { V8_FLAGS } from "../src/gateway/v8-flags.js";
import { count, round3 } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";

/** What the watched process prints. */
export interface SteadyReport {
  packets: number;
  seconds: number;
  /** Bytes by which the heap has grown; meaningless when there were collections. */
  allocated: number;
  lost: number;
  verified: boolean;
}

export interface SteadyResult extends SteadyReport {
  /** What V8 has said of each. */
  deoptimisations: string[];
  collections: string[];
  holds: boolean;
}

/**
 * Bytes by which the heap may seem to have grown: V8's own threads take and give back buffers, some KiB on a busy machine and
 * mostly none. Whatever an app allocated, it would allocate for each breath at least, of which there are 80,000 in two seconds.
 */
const BUFFERS = 16_384;

/** Reads what a watched process has printed. */
export function readOutput(output: string): SteadyResult {
  const lines = output.trimEnd().split("\n");
  const report = JSON.parse(lines.pop() ?? "") as SteadyReport;
  // "[bailout (kind: …, reason: …): begin. deoptimizing … <JSFunction name …" and what a change made invalid beside it.
  const deoptimisations = lines.filter((line) => /^\[(bailout|marking dependent)/.test(line));
  const collections = lines.filter((line) => /: (Scavenge|Mark-Compact|Mark-sweep|Minor)/.test(line));
  const quiet = deoptimisations.length === 0 && collections.length === 0;
  return { ...report, deoptimisations, collections, holds: quiet && report.allocated < BUFFERS };
}

/** Runs a module of bench/ in a process of its own. */
export async function watch(module: string, args: readonly string[]): Promise<SteadyResult> {
  const path = fileURLToPath(new URL(`./${module}.js`, import.meta.url));
  const child = spawn(process.execPath, [...V8_FLAGS, path, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  const status = await new Promise((resolve) => child.once("close", resolve));
  if (status !== 0) throw new Error(`${module} ended with status ${status}`);
  return readOutput(output);
}

export function steady(size: FrameSize, seconds: number): Promise<SteadyResult> {
  return watch("steady-child", [size, String(seconds)]);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", multiple: true },
      seconds: { type: "string", default: "30" },
      json: { type: "boolean", default: false },
    },
  });
  const seconds = count(values.seconds, "seconds", 600);
  const results: (SteadyResult & { size: FrameSize })[] = [];
  for (const text of values.size ?? ["IMIX"]) {
    const size = parseSize(text);
    const result = await steady(size, seconds);
    results.push({ size, ...result, seconds: round3(result.seconds) });
    if (values.json) continue;
    console.log(
      `${size}: ${result.packets} packets in ${result.seconds.toFixed(1)} s, ${result.deoptimisations.length} deoptimisations, ` +
        `${result.collections.length} collections, ${result.allocated} bytes more on the heap`,
    );
    for (const line of [...result.deoptimisations, ...result.collections.slice(0, 3)])
      console.log(`  ${line}`);
  }
  if (values.json) console.log(JSON.stringify({ bench: "steady", node: process.versions.node, results }));
  if (results.some(({ holds, lost, verified }) => !holds || lost !== 0 || !verified)) process.exitCode = 1;
}
