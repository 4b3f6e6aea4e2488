// report: writes figures and charts anew where docs/performance.md and README.md show them. A figure stands between two
// markers, as the benchmark has printed it:
//
//   <!-- bench compare -->
//   …
//   <!-- /bench -->
//
// and on a page in docs/ its chart with it. Each benchmark runs as it does from the command line; one that fails leaves what stood there, and the report says so.

import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { machine } from "./processor.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const main = fileURLToPath(new URL("./main.js", import.meta.url));
const FILES = ["docs/performance.md", "README.md"];
/** Options that a benchmark gets beside `--svg`. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  apps: ["--rounds", "200"],
  steady: ["--seconds", "30"],
};

const marker = /<!-- bench ([a-z]+) -->\n[\s\S]*?<!-- \/bench -->/g;

/** Names of the benchmarks whose figures a text shows, in its order. */
export function benchesIn(text: string): string[] {
  return [...new Set([...text.matchAll(marker)].map(([, name]) => name))];
}

export interface Output {
  text: string;
  /** The chart's file, beside the page; none on other pages. */
  chart?: string | undefined;
}

/** Puts what benchmarks have printed between their markers; what is not in `outputs` stays. */
export function insertOutputs(page: string, outputs: ReadonlyMap<string, Output>): string {
  return page.replace(marker, (block, name: string) => {
    const output = outputs.get(name);
    if (output === undefined) return block;
    const { text, chart } = output;
    const picture = chart === undefined ? "" : `\n![${name}](${chart})\n`;
    return `<!-- bench ${name} -->\n\`\`\`\n${text.trimEnd()}\n\`\`\`\n${picture}<!-- /bench -->`;
  });
}

/** @returns what a benchmark printed; undefined when it failed */
async function output(name: string, args: readonly string[]): Promise<string | undefined> {
  const child = spawn(process.execPath, [main, name, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  const status = await new Promise((resolve) => child.once("close", resolve));
  return status === 0 ? text : undefined;
}

/** Names of the benchmarks that draw charts, as the usage says. */
async function drawing(): Promise<Set<string>> {
  const usage = (await output("--help", [])) ?? "";
  const lines = usage.split("\n").filter((line) => line.includes("--svg"));
  return new Set(lines.map((line) => line.trim().split(" ")[0]));
}

/** What kind of machine it was, for the page's first figure. */
function describeMachine(): string {
  const [{ model }] = cpus();
  const { cpu, vaes } = machine();
  return `${cpus().length} × ${model.trim()} (${cpu}), ${vaes ? "with" : "without"} VAES; Node ${process.versions.node}`;
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { only: { type: "string", multiple: true } } });
  const texts = FILES.map((file) => readFileSync(join(root, file), "utf8"));
  const shown = [...new Set(texts.flatMap(benchesIn))];
  const only = values.only?.flatMap((names) => names.split(",")) ?? shown;
  const unknown = only.filter((name) => !shown.includes(name));
  if (unknown.length > 0)
    throw new Error(`--only "${unknown.join(",")}": ${FILES.join(" and ")} show ${shown.join(", ")}`);
  const draws = await drawing();
  const outputs = new Map<string, Output>();
  for (const name of only) {
    process.stderr.write(`report: ${name} …\n`);
    const svg = draws.has(name) ? ["--svg", `docs/${name}.svg`] : [];
    const text =
      name === "machine" ? describeMachine() : await output(name, [...(ARGUMENTS[name] ?? []), ...svg]);
    if (text === undefined) {
      process.stderr.write(`report: ${name} failed, what stood there stays\n`);
      process.exitCode = 1;
    } else outputs.set(name, { text, chart: draws.has(name) ? `${name}.svg` : undefined });
  }
  for (const file of FILES) {
    const path = join(root, file);
    const here = new Map(
      [...outputs].map(([name, { text, chart }]) => [
        name,
        file.startsWith("docs/") ? { text, chart } : { text },
      ]),
    );
    writeFileSync(path, insertOutputs(readFileSync(path, "utf8"), here));
  }
}
