// apps: where a packet's time goes, app by app, in ns. bench/app-times.ts says how it is measured.

import { parseArgs } from "node:util";
import type { AppTimesResult, Stage } from "./app-times.js";
import { type Chart, writeChart } from "./chart.js";
import { aes128gcm16, type Cipher, parseCipher } from "./ciphers.js";
import { sizeText } from "./compare.js";
import { Contender } from "./contender.js";
import { count, round3 } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";

export interface AppsResult {
  bench: "apps";
  cipher: string;
  node: string;
  rounds: number;
  sizes: AppTimesResult[];
}

export async function timeApps(size: FrameSize, cipher: Cipher, rounds: number): Promise<AppTimesResult> {
  const contender = await Contender.start<AppTimesResult>("app-times-child", [size, cipher.name]);
  try {
    await contender.round(rounds);
    return contender.answers[0];
  } finally {
    contender.stop();
  }
}

const sum = (stages: readonly Stage[]) => stages.reduce((total, { ns }) => total + ns, 0);

function rounded(result: AppTimesResult): AppTimesResult {
  return {
    ...result,
    stages: result.stages.map((stage) => ({ ...stage, ns: round3(stage.ns) })),
    wholeNs: round3(result.wholeNs),
    overheadPercent: round3(result.overheadPercent),
    cryptoNs: round3(result.cryptoNs),
    referenceNs: round3(result.referenceNs),
  };
}

export function appsChart({ sizes, cipher, node }: AppsResult): Chart {
  return {
    title: "Where a packet's time goes, app by app",
    subtitle: `${cipher}, encapsulated and decapsulated once, ns a packet; grey: the benchmark's own; Node ${node}`,
    panels: sizes.map((result) => ({
      title: `${sizeText(result.size)}: ${result.wholeNs.toFixed(0)} ns, the crypto library alone ${result.cryptoNs.toFixed(0)} ns`,
      unit: "ns",
      rows: result.stages.map(({ name, kind, ns }) => ({
        label: name,
        value: ns,
        text: `${ns.toFixed(1)} ns, ${Math.round((100 * ns) / result.wholeNs)} %`,
        series: kind === "app" ? 0 : 1,
      })),
    })),
  };
}

function print({ sizes }: AppsResult): void {
  for (const result of sizes) {
    const { size, stages, wholeNs, cryptoNs, overheadPercent } = result;
    console.log(`${sizeText(size)}, ns a packet`);
    const line = (name: string, ns: number, note = "") =>
      console.log(
        `  ${name.padEnd(14)}${ns.toFixed(1).padStart(7)}${Math.round((100 * ns) / wholeNs)
          .toString()
          .padStart(5)} %${note}`,
      );
    for (const { name, kind, ns } of stages) line(name, ns, kind === "port" ? "   the benchmark's own" : "");
    line("all together", wholeNs, `   without a clock; what is above adds up to ${sum(stages).toFixed(1)}`);
    line("crypto alone", cryptoNs, "   in encapsulate and decapsulate");
    console.log(`  the clock adds ${overheadPercent.toFixed(1)} %\n`);
  }
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", multiple: true },
      cipher: { type: "string", default: aes128gcm16.name },
      rounds: { type: "string", default: "50" },
      json: { type: "boolean", default: false },
      svg: { type: "string" },
    },
  });
  const cipher = parseCipher(values.cipher);
  const rounds = count(values.rounds, "rounds", 10_000);
  const sizes: AppTimesResult[] = [];
  for (const size of values.size ?? ["60", "IMIX", "1500"])
    sizes.push(rounded(await timeApps(parseSize(size), cipher, rounds)));
  const result: AppsResult = {
    bench: "apps",
    cipher: cipher.name,
    node: process.versions.node,
    rounds,
    sizes,
  };
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
  if (values.svg !== undefined) writeChart(values.svg, appsChart(result));
  if (sizes.some(({ lost, verified }) => lost !== 0 || !verified)) process.exitCode = 1;
}
