// A watched process that does what a worker must not do: `unsteady.js deoptimise` or `unsteady.js allocate`, and
// `unsteady.js nothing` for comparison.

import type { SteadyReport } from "../steady.js";
import { watched } from "../watched.js";

interface Box {
  x: number;
  y?: number;
}

let sum = 0;
const sink = new Array<Box>(16).fill({ x: 0 });

function add(box: Box): void {
  sum += box.x;
}

const same: Box = { x: 1 };
const other: Box = { y: 2, x: 1 };

function spin(box: Box, fresh: boolean): void {
  for (let i = 0; i < 100_000; i++) {
    if (fresh) sink[i & 15] = { x: i };
    add(box);
  }
}

for (let i = 0; i < 50; i++) spin(same, i < 25);
const what = process.argv[2];
const allocated = watched(() => spin(what === "deoptimise" ? other : same, what === "allocate"));
const report: SteadyReport = { packets: sum, seconds: 0, allocated, lost: 0, verified: sink.length === 16 };
console.log(JSON.stringify(report));
