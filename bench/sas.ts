// sas: does it matter how many SAs there are? softbench with one SA and with many, in two processes that take turns, so
// that whatever else the machine does meets both of them. The many take turns train by train: each tunnel sends a few
// packets behind each other, and of 10,000 each one sends its train before any sends its second. With --train 1 every
// packet meets an SA that no cache holds any more, which is the worst that can come.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { count, round3 } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";
import { type Round, TRAIN } from "./softbench.js";

export interface SasResult {
  bench: "sas";
  size: FrameSize;
  sas: number;
  train: number;
  rounds: number;
  /** Of each the fastest round: what else the machine does only ever adds. */
  nsPerPacketOne: number;
  nsPerPacketMany: number;
  mppsOne: number;
  mppsMany: number;
  /** Throughput with many SAs over throughput with one. */
  ratio: number;
  lost: number;
  verified: boolean;
}

class Contender {
  readonly #child: ChildProcess;
  readonly rounds: Round[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts a softbench that waits to be asked; returns when it is warm. */
  static async start(size: FrameSize, sas: number, train: number): Promise<Contender> {
    const main = fileURLToPath(new URL("./main.js", import.meta.url));
    const numbers = { sas, routes: sas, train };
    const options = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const child = fork(main, ["softbench", "--asked", "--size", size, ...options]);
    const contender = new Contender(child);
    await contender.#answer();
    return contender;
  }

  async #answer(): Promise<Round> {
    const end = new AbortController();
    const { signal } = end;
    try {
      const answer = once(this.#child, "message", { signal });
      const gone = once(this.#child, "exit", { signal }).then(() => {
        throw new Error("softbench ended before its time");
      });
      answer.catch(() => {});
      gone.catch(() => {});
      return ((await Promise.race([answer, gone])) as [Round])[0];
    } finally {
      end.abort();
    }
  }

  async round(packets: number): Promise<void> {
    this.#child.send(packets);
    this.rounds.push(await this.#answer());
  }

  get best(): number {
    return Math.min(...this.rounds.map(({ packets, nanoseconds }) => nanoseconds / packets));
  }

  stop(): void {
    this.#child.kill();
  }
}

/** @param packets of one round */
export async function compareSas(
  size: FrameSize,
  sas: number,
  train: number,
  rounds: number,
  packets: number,
): Promise<SasResult> {
  const contenders: Contender[] = [];
  try {
    for (const number of [1, sas]) contenders.push(await Contender.start(size, number, train));
    for (let i = 0; i < rounds; i++) for (const contender of contenders) await contender.round(packets);
    const [one, many] = contenders;
    const all = contenders.flatMap((contender) => contender.rounds);
    return {
      bench: "sas",
      size,
      sas,
      train,
      rounds,
      nsPerPacketOne: round3(one.best),
      nsPerPacketMany: round3(many.best),
      mppsOne: round3(1e3 / one.best),
      mppsMany: round3(1e3 / many.best),
      ratio: round3(one.best / many.best),
      lost: all.reduce((sum, { lost }) => sum + lost, 0),
      verified: all.every(({ verified }) => verified),
    };
  } finally {
    for (const contender of contenders) contender.stop();
  }
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", multiple: true },
      sas: { type: "string", default: "10000" },
      train: { type: "string", multiple: true },
      rounds: { type: "string", default: "10" },
      packets: { type: "string", default: "500000" },
      json: { type: "boolean", default: false },
    },
  });
  const sas = count(values.sas, "sas", 20_480);
  const results: SasResult[] = [];
  const trains = values.train ?? [String(TRAIN), "1"];
  const cases = (values.size ?? ["60", "IMIX", "1500"]).flatMap((size) =>
    trains.map((train) => ({ size: parseSize(size), train: count(train, "train", 128) })),
  );
  for (const { size, train } of cases) {
    const result = await compareSas(
      size,
      sas,
      train,
      count(values.rounds, "rounds", 1000),
      count(values.packets, "packets", 1e9),
    );
    results.push(result);
    if (!values.json)
      console.log(
        `${size.padEnd(4)}  trains of ${train}  1 SA ${result.nsPerPacketOne} ns a packet, ${sas} SAs ${result.nsPerPacketMany}: ` +
          `${Math.round(100 * result.ratio)} % of the throughput, ${result.lost} lost, ` +
          `contents ${result.verified ? "verified" : "DIFFER"}`,
      );
    if (result.lost !== 0 || !result.verified) process.exitCode = 1;
  }
  if (values.json) console.log(JSON.stringify(results));
}
