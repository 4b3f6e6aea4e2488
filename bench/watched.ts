// Runs something while V8 tells, on stdout, of each deoptimisation and each garbage collection. For a process of its own,
// whose output bench/steady.ts reads.

import { getHeapStatistics, setFlagsFromString } from "node:v8";

const usedHeap = () => getHeapStatistics().used_heap_size;

/** @returns bytes by which the heap has grown; asking for that is not counted */
export function watched(run: () => void): number {
  usedHeap();
  const asking = -usedHeap() + usedHeap();
  for (const flag of ["--trace-deopt", "--trace-gc"]) setFlagsFromString(flag);
  const before = usedHeap();
  run();
  const grown = usedHeap() - before - asking;
  for (const flag of ["--no-trace-deopt", "--no-trace-gc"]) setFlagsFromString(flag);
  return grown;
}
