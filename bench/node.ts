// node: which version of Node runs Vita fastest? softbench and crypto in turns under several of them, which take turns as
// well. A version with `-maglev` behind it runs with V8's middle compiler, which workers run without.

import { parseArgs } from "node:util";
import { V8_FLAGS } from "../src/gateway/v8-flags.js";
import { type Chart, writeChart } from "./chart.js";
import { aes128gcm16 } from "./ciphers.js";
import { sizeText } from "./compare.js";
import { Contender } from "./contender.js";
import { nodeProgram, nodeVersion } from "./node-binaries.js";
import type { PairRound } from "./pair.js";
import { best, count, round3 } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";

interface Version {
  major: number;
  maglev: boolean;
}

export interface NodeRow {
  /** Its full version, and `with Maglev`. */
  node: string;
  size: FrameSize;
  softbenchNs: number;
  cryptoNs: number;
  /** softbench's throughput in per cent of crypto's. */
  percent: number;
  lost: number;
  verified: boolean;
}

export interface NodeResult {
  bench: "node";
  rounds: number;
  packetsPerRound: number;
  rows: NodeRow[];
}

export function parseVersions(text: string): Version[] {
  return text.split(",").map((word) => {
    const [, major, maglev] = /^(\d+)(-maglev)?$/.exec(word.trim()) ?? [];
    if (major === undefined)
      throw new Error(`--versions "${text}": "${word}" is no major version of Node, such as 24 or 24-maglev`);
    return { major: Number(major), maglev: maglev !== undefined };
  });
}

async function compareVersions(
  versions: readonly Version[],
  sizes: readonly FrameSize[],
  rounds: number,
  packets: number,
): Promise<NodeResult> {
  const contenders: { node: string; size: FrameSize; contender: Contender<PairRound> }[] = [];
  try {
    for (const { major, maglev } of versions) {
      const execPath = await nodeProgram(major);
      const node = `${await nodeVersion(execPath)}${maglev ? " with Maglev" : ""}`;
      const flags = maglev ? [...V8_FLAGS.filter((flag) => flag !== "--no-maglev"), "--maglev"] : V8_FLAGS;
      for (const size of sizes) {
        const contender = await Contender.start<PairRound>("pair", [size, aes128gcm16.name], {
          execPath,
          flags,
        });
        contenders.push({ node, size, contender });
      }
    }
    for (let i = 0; i < rounds; i++) for (const { contender } of contenders) await contender.round(packets);
    const rows = contenders.map(({ node, size, contender: { answers } }) => {
      const softbench = best(answers.map((answer) => answer.softbench));
      const crypto = best(answers.map((answer) => answer.crypto));
      return {
        node,
        size,
        softbenchNs: round3(softbench),
        cryptoNs: round3(crypto),
        percent: Math.round((1000 * crypto) / softbench) / 10,
        lost: answers.at(-1)?.lost ?? 0,
        verified: answers.every(({ verified }) => verified),
      };
    });
    return { bench: "node", rounds, packetsPerRound: packets, rows };
  } finally {
    for (const { contender } of contenders) contender.stop();
  }
}

function sizesOf({ rows }: NodeResult): FrameSize[] {
  return [...new Set(rows.map(({ size }) => size))];
}

export function nodeChart(result: NodeResult): Chart {
  return {
    title: "Versions of Node",
    subtitle:
      "softbench, throughput in per cent of what the crypto library alone reaches in the same process",
    panels: [
      {
        unit: "%",
        rows: sizesOf(result).flatMap((size) =>
          result.rows
            .filter((row) => row.size === size)
            .map(({ node, percent, softbenchNs }, i) => ({
              label: `Node ${node}`,
              value: percent,
              text: `${percent.toFixed(1)} %, ${softbenchNs.toFixed(0)} ns`,
              ...(i === 0 ? { heading: sizeText(size) } : {}),
            })),
        ),
      },
    ],
  };
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      versions: { type: "string", default: "20,24,24-maglev,26,26-maglev" },
      size: { type: "string", multiple: true },
      rounds: { type: "string", default: "60" },
      packets: { type: "string", default: "20000" },
      json: { type: "boolean", default: false },
      svg: { type: "string" },
    },
  });
  const result = await compareVersions(
    parseVersions(values.versions),
    (values.size ?? ["60", "IMIX", "1500"]).map(parseSize),
    count(values.rounds, "rounds", 10_000),
    count(values.packets, "packets", 1e7),
  );
  if (values.json) console.log(JSON.stringify(result));
  else
    for (const { node, size, softbenchNs, cryptoNs, percent } of result.rows)
      console.log(
        `Node ${node.padEnd(24)}${size.padEnd(6)}${softbenchNs.toFixed(1).padStart(7)} ns a packet, crypto ` +
          `${cryptoNs.toFixed(1).padStart(6)} ns: ${percent.toFixed(1)} %`,
      );
  if (values.svg !== undefined) writeChart(values.svg, nodeChart(result));
  if (result.rows.some(({ lost, verified }) => lost !== 0 || !verified)) process.exitCode = 1;
}
