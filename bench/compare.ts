// compare: how much of what the crypto library alone can do is left when a gateway is around it? softbench and crypto in
// turns, in short rounds, for each size of frames; the sizes take turns as well.

import { parseArgs } from "node:util";
import { type Chart, writeChart } from "./chart.js";
import { aes128gcm16, type Cipher, parseCipher } from "./ciphers.js";
import { Contender } from "./contender.js";
import type { PairRound } from "./pair.js";
import { best, count, round3 } from "./rounds.js";
import { type FrameSize, frameSizes, parseSize } from "./sizes.js";

/** Throughput in per cent of crypto's that a size is to reach with AES-128-GCM: what VPP reaches, and sketches of one loop. */
const ASKED: Readonly<Record<FrameSize, number>> = { "60": 52, IMIX: 61, "1500": 74 };

export interface CompareRow {
  size: FrameSize;
  cryptoNs: number;
  softbenchNs: number;
  cryptoMpps: number;
  softbenchMpps: number;
  softbenchGbps: number;
  /** softbench's throughput in per cent of crypto's. */
  percent: number;
  /** Not there for ciphers of which nothing was asked. */
  asked?: number;
  holds?: boolean;
  lost: number;
  verified: boolean;
}

export interface CompareResult {
  bench: "compare";
  cipher: string;
  node: string;
  rounds: number;
  packetsPerRound: number;
  rows: CompareRow[];
  holds: boolean;
}

function row(size: FrameSize, cipher: Cipher, answers: readonly PairRound[]): CompareRow {
  const crypto = best(answers.map((answer) => answer.crypto));
  const softbench = best(answers.map((answer) => answer.softbench));
  const sizes = frameSizes(size).map((bytes) => Math.max(60, bytes));
  const bits = (8 * sizes.reduce((sum, bytes) => sum + bytes, 0)) / sizes.length;
  const percent = (100 * crypto) / softbench;
  const asked = cipher === aes128gcm16 ? { asked: ASKED[size], holds: percent >= ASKED[size] } : {};
  return {
    size,
    cryptoNs: round3(crypto),
    softbenchNs: round3(softbench),
    cryptoMpps: round3(1e3 / crypto),
    softbenchMpps: round3(1e3 / softbench),
    softbenchGbps: round3(bits / softbench),
    percent: Math.round(10 * percent) / 10,
    ...asked,
    lost: answers.at(-1)?.lost ?? 0,
    verified: answers.every(({ verified }) => verified),
  };
}

/** @param packets of one round of one bench */
export async function compare(
  sizes: readonly FrameSize[],
  cipher: Cipher,
  rounds: number,
  packets: number,
): Promise<CompareResult> {
  const pairs: { size: FrameSize; contender: Contender<PairRound> }[] = [];
  try {
    for (const size of sizes)
      pairs.push({ size, contender: await Contender.start<PairRound>("pair", [size, cipher.name]) });
    for (let i = 0; i < rounds; i++) for (const { contender } of pairs) await contender.round(packets);
    const rows = pairs.map(({ size, contender }) => row(size, cipher, contender.answers));
    return {
      bench: "compare",
      cipher: cipher.name,
      node: process.versions.node,
      rounds,
      packetsPerRound: packets,
      rows,
      holds: rows.every(({ holds }) => holds !== false),
    };
  } finally {
    for (const { contender } of pairs) contender.stop();
  }
}

export function compareChart({ rows, cipher, node }: CompareResult): Chart {
  return {
    title: "One worker, encapsulating and decapsulating, against the crypto library alone",
    subtitle: `${cipher}, one core, no kernel, millions of packets a second; Node ${node}`,
    panels: [
      {
        unit: "M",
        rows: rows.flatMap(({ size, cryptoMpps, softbenchMpps, percent, asked }) => [
          { label: "crypto alone", value: cryptoMpps, series: 1 as const, heading: sizeText(size) },
          {
            label: "Vita",
            value: softbenchMpps,
            text: `${softbenchMpps.toFixed(1)} M, ${Math.round(percent)} %`,
            ...(asked === undefined ? {} : { target: (asked / 100) * cryptoMpps }),
          },
        ]),
      },
    ],
  };
}

export function sizeText(size: FrameSize): string {
  return size === "IMIX" ? "IMIX" : `${size} bytes`;
}

function print({ rows }: CompareResult): void {
  console.log("frames   crypto ns   softbench ns       Mpps     Gbit/s    of crypto     asked");
  for (const { size, cryptoNs, softbenchNs, softbenchMpps, softbenchGbps, percent, asked, holds } of rows) {
    const cells = [
      cryptoNs.toFixed(1),
      softbenchNs.toFixed(1),
      softbenchMpps.toFixed(2),
      softbenchGbps.toFixed(1),
    ];
    const verdict = asked === undefined ? "–" : `${asked} % ${holds ? "holds" : "FAILS"}`;
    console.log(
      `${size.padEnd(6)}${cells.map((cell, i) => cell.padStart([12, 15, 11, 11][i])).join("")}` +
        `${percent.toFixed(1).padStart(11)} %${verdict.padStart(14)}`,
    );
  }
  for (const { size, lost, verified } of rows)
    if (lost !== 0 || !verified)
      console.log(`${size}: ${lost} lost, contents ${verified ? "verified" : "DIFFER"}`);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", multiple: true },
      cipher: { type: "string", default: aes128gcm16.name },
      rounds: { type: "string", default: "80" },
      // A turn begins with caches that are full of the others' data: with 30,000 packets that is 4 ns of each, with these 0.5.
      packets: { type: "string", default: "200000" },
      require: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      svg: { type: "string" },
    },
  });
  const result = await compare(
    (values.size ?? ["60", "IMIX", "1500"]).map(parseSize),
    parseCipher(values.cipher),
    count(values.rounds, "rounds", 10_000),
    count(values.packets, "packets", 1e7),
  );
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
  if (values.svg !== undefined) writeChart(values.svg, compareChart(result));
  if (result.rows.some(({ lost, verified }) => lost !== 0 || !verified)) process.exitCode = 1;
  if (values.require && !result.holds) process.exitCode = 1;
}
