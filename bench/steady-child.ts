// What `bench steady` looks at: `steady-child.js SIZE SECONDS` runs softbench until it is warm, and then, watched, for so many
// seconds. Its last line of output is what it did.

import { parseSize } from "./sizes.js";
import { oneFlow, Softbench } from "./softbench.js";
import type { SteadyReport } from "./steady.js";
import { watched } from "./watched.js";

const ROUND = 30_000;
const WARM_UP_ROUNDS = 100;
const WARM_UP_TICKS = 50_000;
/** Breaths between two ticks: what a busy worker draws in some milliseconds. */
const TICK = 128;

const [size = "", duration = ""] = process.argv.slice(2);
const bench = new Softbench(oneFlow(parseSize(size)));
const { graph } = bench;
let breaths = 0;
const engine = {
  breathe(): number {
    if (++breaths % TICK === 0) graph.tick(5);
    return graph.engine.breathe();
  },
};

// V8 compiles what runs this seldom as well, when it has run often enough.
for (let i = 0; i < WARM_UP_TICKS; i++) graph.tick(5);
// So do batches that are not full, of every size; what is watched ends with one.
const rounds = Array.from({ length: WARM_UP_ROUNDS }, (_, i) => {
  bench.send(1 + (i % 64), engine);
  return bench.send(ROUND, engine);
});
const packets = Math.ceil((1e9 * Number(duration) * ROUND) / Math.min(...rounds));
const begin = performance.now();
const allocated = watched(() => bench.drive(packets, engine));
const seconds = (performance.now() - begin) / 1e3;
const { lost, verified } = bench.round(1);
const report: SteadyReport = { packets, seconds, allocated, lost, verified };
console.log(JSON.stringify(report));
