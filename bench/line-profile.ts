// How much of the time is spent in each module, counted by V8's sampling profiler. The profiler counts a sample under the
// function that was compiled, and most of the data path is compiled into a few; but it also notes the line, which is that of
// the function that was compiled in. So every module is given lines of its own (line-hooks.ts), and the line says where the
// sample belongs. Whoever wants that imports what is to be measured after `giveLines`.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type Profiler, Session } from "node:inspector";
import { register } from "node:module";
import { fileURLToPath } from "node:url";
import type { LineHooksData } from "./line-hooks.js";

const INTERVAL_MICROSECONDS = 50;

const dist = new URL("../", import.meta.url);
const folders = [
  "src/apps",
  "src/engine",
  "src/ipsec",
  "src/memory",
  "src/native",
  "src/net",
  "src/ports",
  "bench",
];

/** Paths of all modules below dist/, such as `src/apps/route`. */
function findModules(): string[] {
  return folders
    .filter((folder) => existsSync(fileURLToPath(new URL(folder, dist))))
    .flatMap((folder) =>
      readdirSync(fileURLToPath(new URL(folder, dist)))
        .filter((name) => name.endsWith(".js") && !name.endsWith(".test.js"))
        .map((name) => `${folder}/${name.slice(0, -3)}`),
    )
    .sort();
}

const modules = findModules();
/** Lines that modules of others have at most, Node's own above all: their lines are not ours. */
const OTHERS = 5000;

/**
 * The line before each module's first one, and at the end the last one of all. As few lines as it takes: with millions of empty
 * ones V8 has stood still when the profiler began.
 */
const starts: number[] = [OTHERS];
for (const module of modules) {
  const lines = readFileSync(fileURLToPath(moduleUrl(module)), "utf8").split("\n").length;
  starts.push(starts[starts.length - 1] + lines + 1);
}

export function moduleUrl(module: string): string {
  return new URL(`${module}.js`, dist).href;
}

/** From now on, modules that are imported have lines of their own. */
export function giveLines(insertions: LineHooksData["insertions"] = []): void {
  const offsets = Object.fromEntries(modules.map((module, i) => [moduleUrl(module), starts[i]]));
  const data: LineHooksData = { offsets, insertions };
  register("./line-hooks.js", import.meta.url, { data });
}

/** Which module a line lies in, and its number there, as the module stands in dist/. */
export function placeOfLine(line: number): { module: string; line: number } | undefined {
  let low = 0;
  let high = modules.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (starts[middle] < line) low = middle;
    else high = middle;
  }
  if (line <= starts[low] || line > starts[low + 1]) return undefined;
  return { module: modules[low], line: line - starts[low] };
}

export class LineProfiler {
  readonly #session = new Session();

  constructor() {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.setSamplingInterval", { interval: INTERVAL_MICROSECONDS });
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#session.post("Profiler.start", (error) => (error ? reject(error) : resolve())),
    );
  }

  stop(): Promise<Profiler.Profile> {
    return new Promise((resolve, reject) =>
      this.#session.post("Profiler.stop", (error, { profile }) => (error ? reject(error) : resolve(profile))),
    );
  }
}

/** Samples by module; those that belong to none are left out. */
export function samplesByModule({ nodes }: Profiler.Profile): Map<string, number> {
  const samples = new Map<string, number>();
  for (const { positionTicks = [] } of nodes)
    for (const { line, ticks } of positionTicks) {
      const module = placeOfLine(line)?.module;
      if (module !== undefined) samples.set(module, (samples.get(module) ?? 0) + ticks);
    }
  return samples;
}
