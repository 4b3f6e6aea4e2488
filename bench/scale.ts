// scale: how much more do several workers carry than one? Each worker is a process with a softbench in it, tied to a core
// of its own. All of them have one SAD and one SPD, and send on one and the same SA: outbound they reserve its sequence
// numbers from each other, inbound they share its replay window under the SA's lock. One worker's rounds and those of
// several take turns, so that whatever else the machine does meets both.
//
// A worker that the system stops for a moment finds that the others have pushed the window on, beyond the packets that it
// has under way: those are too old then, as they would be for any receiver, and are counted as lost. The window is as
// large as there is one.

import { mkdtempSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { MAX_WORKERS } from "../src/ipsec/sad-layout.js";
import { usableCores } from "../src/native/affinity.js";
import { type Chart, writeChart } from "./chart.js";
import { sizeText } from "./compare.js";
import { Contender } from "./contender.js";
import { count, round3 } from "./rounds.js";
import { type Answer, now, type Order } from "./scale-worker.js";
import { type FrameSize, parseSize } from "./sizes.js";

/** Milliseconds from the word to the beginning of a round: every worker has heard of it by then. */
const HEAD_START = 20;

export interface ScaleRow {
  size: FrameSize;
  workers: number;
  /** All together, in the fastest round: what else the machine does only ever adds. */
  mpps: number;
  gbps: number;
  /** Over one worker, and what is asked of so many. */
  speedUp: number;
  asked: number | undefined;
  /** Share of the packets that were too old when they were decapsulated. */
  lost: number;
}

export interface ScaleResult {
  bench: "scale";
  cores: number;
  rounds: number;
  rows: ScaleRow[];
  /** Did all packets arrive as they were sent, but for those that were too old? */
  verified: boolean;
  /** Is every speed-up at least what is asked? */
  holds: boolean;
}

/** By the number of workers. */
const ASKED = new Map([[2, 1.8]]);

type Worker = Contender<Answer, Order>;

/** All of them at the same time. */
function round(workers: readonly Worker[], milliseconds: number): Promise<Answer[]> {
  const begin = now() + HEAD_START * 1e6;
  return Promise.all(workers.map((worker) => worker.round({ begin, end: begin + milliseconds * 1e6 })));
}

/** Packets a nanosecond, of all together. */
function rate(answers: readonly Answer[]): number {
  return answers.reduce((sum, { packets, nanoseconds }) => sum + packets / nanoseconds, 0);
}

/** Workers over tables of their own. The first one makes these. */
async function startWorkers(size: FrameSize, count: number): Promise<Worker[]> {
  const directory = mkdtempSync("/dev/shm/vita-scale-");
  const workers: Worker[] = [];
  const cores = usableCores();
  try {
    for (let i = 0; i < count; i++) {
      const args = [size, directory, String(i), String(cores[i % cores.length])];
      workers.push(await Contender.start<Answer, Order>("scale-worker", args));
    }
    return workers;
  } catch (error) {
    for (const worker of workers) worker.stop();
    throw error;
  } finally {
    // Mapped, the tables need no names any more.
    rmSync(directory, { recursive: true });
  }
}

interface Measured {
  size: FrameSize;
  workers: Worker[];
  /** By number of workers, as in `numbers`; then by round. */
  answers: Answer[][][];
}

/** @param numbers of workers, of which the first is 1 */
export async function measureScale(
  sizes: readonly FrameSize[],
  numbers: readonly number[],
  rounds: number,
  milliseconds: number,
): Promise<ScaleResult> {
  const most = Math.max(...numbers);
  const measured: Measured[] = [];
  try {
    for (const size of sizes)
      measured.push({ size, workers: await startWorkers(size, most), answers: numbers.map(() => []) });
    for (let i = 0; i < rounds; i++)
      for (const { workers, answers } of measured)
        for (const [n, number] of numbers.entries()) {
          // One worker is each of them in turn: cores differ.
          const chosen = number === 1 ? [workers[i % most]] : workers.slice(0, number);
          answers[n].push(await round(chosen, milliseconds));
        }
  } finally {
    for (const { workers } of measured) for (const worker of workers) worker.stop();
  }
  const rows = measured.flatMap((one) => rowsOf(one, numbers));
  return {
    bench: "scale",
    cores: usableCores().length,
    rounds,
    rows,
    verified: measured.every(({ answers }) => answers.flat(2).every(({ verified }) => verified)),
    holds: rows.every(({ speedUp, asked = 0 }) => speedUp >= asked),
  };
}

function rowsOf({ size, answers }: Measured, numbers: readonly number[]): ScaleRow[] {
  const best = answers.map((list) => Math.max(...list.map(rate)));
  return numbers.map((workers, n) => {
    const mine = answers[n].flat();
    const packets = mine.reduce((sum, answer) => sum + answer.packets, 0);
    const bits = (8 * mine.reduce((sum, answer) => sum + answer.bytes, 0)) / packets;
    return {
      ...{ size, workers },
      mpps: round3(1e3 * best[n]),
      gbps: round3(bits * best[n]),
      speedUp: round3(best[n] / best[numbers.indexOf(1)]),
      asked: ASKED.get(workers),
      lost: mine.reduce((sum, answer) => sum + answer.lost, 0) / packets,
    };
  });
}

const many = (workers: number) => `${workers} worker${workers === 1 ? "" : "s"}`;

export function scaleChart({ rows, cores }: ScaleResult): Chart {
  return {
    title: "Several workers on one SA",
    subtitle: `Encapsulated and decapsulated, no NIC, ${cores} cores; millions of packets a second`,
    panels: [
      {
        unit: "M",
        rows: rows.map(({ size, workers, mpps, speedUp, asked }) => {
          const one = mpps / speedUp;
          return {
            ...(workers === 1 ? { heading: sizeText(size) } : {}),
            label: many(workers),
            value: mpps,
            text: workers === 1 ? `${mpps.toFixed(1)} M` : `${mpps.toFixed(1)} M, × ${speedUp.toFixed(2)}`,
            series: workers === 1 ? 1 : 0,
            ...(asked === undefined ? {} : { target: asked * one }),
          };
        }),
      },
    ],
  };
}

function print({ rows }: ScaleResult): void {
  console.log("frames   workers       Mpps     Gbit/s   speed-up     asked   too old, of a million");
  for (const { size, workers, mpps, gbps, speedUp, asked, lost } of rows) {
    const cells = [String(workers), mpps.toFixed(2), gbps.toFixed(1), `× ${speedUp.toFixed(2)}`];
    const verdict = asked === undefined ? "–" : `× ${asked}`;
    console.log(
      `${size.padEnd(6)}${cells.map((cell, i) => cell.padStart([10, 11, 11, 11][i])).join("")}` +
        `${verdict.padStart(10)}${(1e6 * lost).toFixed(0).padStart(24)}`,
    );
  }
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      workers: { type: "string", default: "1,2" },
      size: { type: "string", multiple: true },
      rounds: { type: "string", default: "60" },
      milliseconds: { type: "string", default: "50" },
      require: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      svg: { type: "string" },
    },
  });
  const sizes = (values.size ?? ["60", "IMIX", "1500"]).map(parseSize);
  const wanted = values.workers.split(",").map((text) => count(text, "workers", MAX_WORKERS));
  const numbers = [...new Set([1, ...wanted])];
  const most = Math.max(...numbers);
  const cores = usableCores().length;
  if (most > cores) console.error(`${most} workers on ${cores} cores: they will get in each other's way`);
  const result = await measureScale(
    sizes,
    numbers,
    count(values.rounds, "rounds", 1000),
    count(values.milliseconds, "milliseconds", 60_000),
  );
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
  if (values.svg !== undefined) writeChart(values.svg, scaleChart(result));
  if (!result.verified || (values.require && !result.holds)) process.exitCode = 1;
}
