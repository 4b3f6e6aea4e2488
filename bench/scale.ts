// scale: how much more do several workers carry than one? Each worker is a process with a softbench in it, tied to a core
// of its own. All of them have one SAD and one SPD, and send on one and the same SA: outbound they reserve its sequence
// numbers from each other, inbound they share its replay window under the SA's lock. One worker's rounds and those of
// several take turns, so that whatever else the machine does meets both.
//
// A worker that the system stops for a moment finds that the others have pushed the window on, beyond the packets that it
// has under way: those are too old then, as they would be for any receiver, and are counted as lost. The window is as
// large as there is one.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MAX_REPLAY_WINDOW, MAX_WORKERS } from "../src/ipsec/sad-layout.js";
import { pinToCore, usableCores } from "../src/native/affinity.js";
import { count, round3 } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";
import { Softbench, TRAIN } from "./softbench.js";

/** Milliseconds from the word to the beginning of a round: every worker has heard of it by then. */
const HEAD_START = 20;
/** Packets between two looks at the clock. */
const STEP = 10_000;
const WARM_UP = 400_000;

export interface ScaleRow {
  workers: number;
  /** All together, in the fastest round. */
  mpps: number;
  gbps: number;
  /** Over one worker. */
  speedUp: number;
  /** Share of the packets that were too old when they were decapsulated. */
  lost: number;
}

export interface ScaleResult {
  bench: "scale";
  size: FrameSize;
  cores: number;
  rounds: number;
  rows: ScaleRow[];
  verified: boolean;
}

/** What a worker is told, in nanoseconds of the clock that all processes share, and what it answers. */
interface Order {
  begin: number;
  end: number;
}
interface Answer {
  packets: number;
  bytes: number;
  nanoseconds: number;
  lost: number;
  verified: boolean;
}

class Contender {
  private constructor(readonly child: ChildProcess) {}

  /** Starts a worker; returns when it is warm. The first one makes the tables. */
  static async start(directory: string, worker: number, core: number, size: FrameSize): Promise<Contender> {
    const child = fork(fileURLToPath(new URL("./main.js", import.meta.url)), [
      "scale",
      ...["--directory", directory, "--worker", String(worker), "--core", String(core), "--size", size],
    ]);
    const contender = new Contender(child);
    await contender.answer();
    return contender;
  }

  /** @throws Error when the process ends before it answers */
  async answer(): Promise<Answer> {
    const end = new AbortController();
    const { signal } = end;
    try {
      const message = once(this.child, "message", { signal });
      const gone = once(this.child, "exit", { signal }).then(() => {
        throw new Error("a worker ended before its time");
      });
      message.catch(() => {});
      gone.catch(() => {});
      return ((await Promise.race([message, gone])) as [Answer])[0];
    } finally {
      end.abort();
    }
  }
}

const now = () => Number(process.hrtime.bigint());

/** All of them at the same time. */
async function round(contenders: readonly Contender[], milliseconds: number): Promise<Answer[]> {
  const begin = now() + HEAD_START * 1e6;
  const order: Order = { begin, end: begin + milliseconds * 1e6 };
  for (const { child } of contenders) child.send(order);
  return Promise.all(contenders.map((contender) => contender.answer()));
}

/** Packets a nanosecond, of all together. */
function rate(answers: readonly Answer[]): number {
  return answers.reduce((sum, { packets, nanoseconds }) => sum + packets / nanoseconds, 0);
}

/** @param numbers of workers, of which the first is 1 */
export async function measureScale(
  size: FrameSize,
  numbers: readonly number[],
  rounds: number,
  milliseconds: number,
): Promise<ScaleResult> {
  const directory = mkdtempSync("/dev/shm/vita-scale-");
  const contenders: Contender[] = [];
  try {
    const cores = usableCores();
    const most = Math.max(...numbers);
    for (let i = 0; i < most; i++)
      contenders.push(await Contender.start(directory, i, cores[i % cores.length], size));
    rmSync(directory, { recursive: true });
    const answers = numbers.map((): Answer[][] => []);
    for (let i = 0; i < rounds; i++)
      // One worker is each of them in turn: cores differ.
      for (const [n, number] of numbers.entries())
        answers[n].push(
          await round(number === 1 ? [contenders[i % most]] : contenders.slice(0, number), milliseconds),
        );
    // Of each the fastest round: what else the machine does only ever adds.
    const best = answers.map((list) => Math.max(...list.map(rate)));
    const one = best[numbers.indexOf(1)];
    const all = answers.flat(2);
    return {
      bench: "scale",
      size,
      cores: cores.length,
      rounds,
      verified: all.every(({ verified }) => verified),
      rows: numbers.map((workers, n) => {
        const mine = answers[n].flat();
        const packets = mine.reduce((sum, answer) => sum + answer.packets, 0);
        const bits = (8 * mine.reduce((sum, answer) => sum + answer.bytes, 0)) / packets;
        return {
          workers,
          mpps: round3(1e3 * best[n]),
          gbps: round3(bits * best[n]),
          speedUp: round3(best[n] / one),
          lost: mine.reduce((sum, answer) => sum + answer.lost, 0) / packets,
        };
      }),
    };
  } finally {
    for (const { child } of contenders) child.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The worker's side. */
function work(directory: string, worker: number, core: number, size: FrameSize): void {
  pinToCore(core);
  const options = { size, packets: 0, routes: 1, sas: 1, train: TRAIN };
  const bench = new Softbench(options, {
    directory,
    worker,
    creates: worker === 0,
    replayWindow: MAX_REPLAY_WINDOW,
  });
  let lost = bench.round(WARM_UP).lost;
  process.on("message", ({ begin, end }: Order) => {
    while (now() < begin);
    const started = now();
    let packets = 0;
    let ended = started;
    const bytes = bench.sentBytes;
    let verified = true;
    do {
      const step = bench.round(STEP);
      packets += step.packets;
      verified &&= step.verified;
      ended = now();
    } while (ended < end);
    const lostNow = bench.lost;
    process.send?.({
      packets,
      bytes: bench.sentBytes - bytes,
      nanoseconds: ended - started,
      lost: lostNow - lost,
      verified,
    } satisfies Answer);
    lost = lostNow;
  });
  process.on("disconnect", () => process.exit());
  process.send?.({ packets: 0, bytes: 0, nanoseconds: 0, lost: 0, verified: true } satisfies Answer);
}

function table({ size, rows }: ScaleResult): string {
  return rows
    .map(
      ({ workers, mpps, gbps, speedUp, lost }) =>
        `${size.padEnd(4)}  ${workers} worker${workers === 1 ? " " : "s"}  ${mpps.toFixed(2).padStart(6)} Mpps  ` +
        `${gbps.toFixed(1).padStart(6)} Gbit/s  × ${speedUp.toFixed(2)}  ${(1e6 * lost).toFixed(0)} of a million too old`,
    )
    .join("\n");
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      workers: { type: "string", default: "1,2" },
      size: { type: "string", multiple: true },
      rounds: { type: "string", default: "24" },
      milliseconds: { type: "string", default: "100" },
      json: { type: "boolean", default: false },
      directory: { type: "string" },
      worker: { type: "string", default: "0" },
      core: { type: "string", default: "0" },
    },
  });
  const sizes = (values.size ?? ["60", "IMIX", "1500"]).map(parseSize);
  if (values.directory !== undefined) {
    work(values.directory, Number(values.worker), Number(values.core), sizes[0]);
    return;
  }
  const numbers = [
    ...new Set([1, ...values.workers.split(",").map((text) => count(text, "workers", MAX_WORKERS))]),
  ];
  const cores = availableParallelism();
  if (Math.max(...numbers) > cores)
    console.error(`${Math.max(...numbers)} workers on ${cores} cores: they will get in each other's way`);
  const rounds = count(values.rounds, "rounds", 1000);
  const milliseconds = count(values.milliseconds, "milliseconds", 60_000);
  const results: ScaleResult[] = [];
  for (const size of sizes) {
    const result = await measureScale(size, numbers, rounds, milliseconds);
    results.push(result);
    if (!values.json) console.log(table(result));
    if (!result.verified) process.exitCode = 1;
  }
  if (values.json) console.log(JSON.stringify(results));
}
