// apps: where a packet's time goes, app by app, in ns. bench/app-times.ts says how it is measured.

import { parseArgs } from "node:util";
import type { AppTimesResult } from "./app-times.js";
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
  sizes: Omit<AppTimesResult, "tree">[];
}

// Rarely V8 has stood still for ever when the profiler began; it was not found out why.
const ATTEMPTS = 3;

export async function timeApps(size: FrameSize, cipher: Cipher, rounds: number): Promise<AppTimesResult> {
  for (let attempt = 1; ; attempt++) {
    let contender: Contender<AppTimesResult> | undefined;
    try {
      contender = await Contender.start<AppTimesResult>("app-times-child", [size, cipher.name]);
      await contender.round(rounds);
      return contender.answers[0];
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    } finally {
      contender?.stop();
    }
  }
}

function rounded({ tree: _, ...result }: AppTimesResult): Omit<AppTimesResult, "tree"> {
  return {
    ...result,
    parts: result.parts.map((part) => ({ ...part, ns: round3(part.ns) })),
    wholeNs: round3(result.wholeNs),
    overheadPercent: round3(result.overheadPercent),
    cryptoNs: round3(result.cryptoNs),
  };
}

export function appsChart({ sizes, cipher, node }: AppsResult): Chart {
  return {
    title: "Where a packet's time goes, app by app",
    subtitle: `${cipher}, encapsulated and decapsulated once, ns a packet; purple: shared, grey: the benchmark's own; Node ${node}`,
    panels: sizes.map(({ size, parts, wholeNs, cryptoNs }) => ({
      title: `${sizeText(size)}: ${wholeNs.toFixed(0)} ns, the crypto library alone ${cryptoNs.toFixed(0)} ns`,
      unit: "ns",
      rows: parts.map(({ name, kind, ns }) => ({
        label: name,
        value: ns,
        text: `${ns.toFixed(1)} ns, ${Math.round((100 * ns) / wholeNs)} %`,
        series: ({ app: 0, shared: 3, bench: 1 } as const)[kind],
      })),
    })),
  };
}

function print({ sizes }: AppsResult): void {
  for (const { size, parts, wholeNs, cryptoNs, overheadPercent } of sizes) {
    console.log(`${sizeText(size)}, ns a packet`);
    const line = (name: string, ns: number, note = "") => {
      const share = Math.round((100 * ns) / wholeNs).toString();
      console.log(`  ${name.padEnd(14)}${ns.toFixed(1).padStart(7)}${share.padStart(5)} %${note}`);
    };
    for (const { name, ns, samples } of parts)
      line(name, ns, `   ± ${((100 * ns) / wholeNs / Math.sqrt(samples || 1)).toFixed(1)}`);
    line("all together", wholeNs, "   by the clock");
    line("crypto alone", cryptoNs, "   is in `crypto`");
    console.log(`  the profiler adds ${overheadPercent.toFixed(1)} %\n`);
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
  const sizes: AppsResult["sizes"] = [];
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
