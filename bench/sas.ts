// sas: does it matter how many SAs there are? softbench with one SA and with many, in two processes that take turns, so
// that whatever else the machine does meets both of them. The many take turns train by train: each tunnel sends a few
// packets behind each other, and of 10,000 each one sends its train before any sends its second. With --train 1 every
// packet meets an SA that no cache holds any more, which is the worst that can come.

import { parseArgs } from "node:util";
import { Contender } from "./contender.js";
import { best, count, round3 } from "./rounds.js";
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

/** @param packets of one round */
export async function compareSas(
  size: FrameSize,
  sas: number,
  train: number,
  rounds: number,
  packets: number,
): Promise<SasResult> {
  const contenders: Contender<Round>[] = [];
  try {
    for (const number of [1, sas]) {
      const numbers = [`--sas=${number}`, `--routes=${number}`, `--train=${train}`];
      contenders.push(
        await Contender.start<Round>("main", ["softbench", "--asked", "--size", size, ...numbers]),
      );
    }
    for (let i = 0; i < rounds; i++) for (const contender of contenders) await contender.round(packets);
    const [one, many] = contenders.map(({ answers }) => best(answers));
    const all = contenders.flatMap(({ answers }) => answers);
    return {
      bench: "sas",
      size,
      sas,
      train,
      rounds,
      nsPerPacketOne: round3(one),
      nsPerPacketMany: round3(many),
      mppsOne: round3(1e3 / one),
      mppsMany: round3(1e3 / many),
      ratio: round3(one / many),
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
