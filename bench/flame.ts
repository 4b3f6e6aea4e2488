// flame: softbench's flame graph as SVG. Each box is a function, as wide as the time spent in it and in what it calls; it
// stands on the function that called it. What V8 compiled into another function stands on that one, with its module's name
// in front (see line-profile.ts).

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { timeApps } from "./apps.js";
import { escapeXml } from "./chart.js";
import { aes128gcm16, parseCipher } from "./ciphers.js";
import type { FlameNode } from "./flame-tree.js";
import { count } from "./rounds.js";
import { parseSize } from "./sizes.js";

const WIDTH = 1200;
const MARGIN = 10;
const ROW = 18;
const CHARACTER = 6.6;
/** Narrower boxes are left out, pixels. */
const NARROW = 0.7;

const style = `
  svg { font: 11px ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; }
  .ground { fill: #ffffff; stroke: #d0d7de; }
  .title { font: 600 15px ui-sans-serif, system-ui, sans-serif; fill: #1f2328; }
  .faint { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #59636e; }
  rect { stroke: #ffffff; stroke-width: 0.5; }
  text { fill: #1f2328; }
  .ipsec { fill: #79c0ff; } .apps { fill: #a5d6ff; } .crypto { fill: #ffa657; } .net { fill: #d2a8ff; }
  .memory { fill: #7ee787; } .bench { fill: #d0d7de; } .other { fill: #eaeef2; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d; }
    .title { fill: #e6edf3; }
    .faint { fill: #9198a1; }
    rect { stroke: #0d1117; }
  }`;

/** What colours a box: the folder of its module. */
function kindOf(module: string): string {
  if (/aead|native\//.test(module)) return "crypto";
  const [, folder = "other"] = /^(?:src\/)?(ipsec|apps|net|memory|engine|ports|bench)/.exec(module) ?? [];
  return folder === "engine" || folder === "ports" ? "memory" : folder;
}

export function flameGraph(tree: FlameNode, title: string, subtitle: string): string {
  const parts: string[] = [];
  let depth = 0;
  const draw = (node: FlameNode, x: number, level: number, scale: number) => {
    const width = node.samples * scale;
    if (width < NARROW) return;
    depth = Math.max(depth, level);
    const share = ((100 * node.samples) / tree.samples).toFixed(1);
    const letters = Math.floor((width - 6) / CHARACTER);
    const label = node.name.length > letters ? `${node.name.slice(0, Math.max(0, letters - 1))}…` : node.name;
    const y = -(level + 1) * ROW;
    const tip = escapeXml(`${node.name} (${node.module || "node"}), ${share} %`);
    parts.push(
      `<g><title>${tip}</title><rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" ` +
        `class="${kindOf(node.module)}"/>` +
        (letters > 2 ? `<text x="${(x + 3).toFixed(1)}" y="${y + 13}">${escapeXml(label)}</text>` : "") +
        "</g>",
    );
    let at = x;
    for (const child of node.children) {
      draw(child, at, level + 1, scale);
      at += child.samples * scale;
    }
  };
  draw(tree, MARGIN, 0, (WIDTH - 2 * MARGIN) / tree.samples);
  const bottom = 66 + (depth + 1) * ROW;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 10}" width="${WIDTH}" height="${bottom + 10}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${style}\n</style>`,
    `<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${bottom + 9}" rx="6" class="ground"/>`,
    `<text x="${MARGIN}" y="28" class="title">${escapeXml(title)}</text>`,
    `<text x="${MARGIN}" y="48" class="faint">${escapeXml(subtitle)}</text>`,
    `<g transform="translate(0 ${bottom})">`,
    ...parts,
    "</g>",
    "</svg>",
  ].join("\n")}\n`;
}

/** What each function takes itself, without what it calls, in per cent; the largest first. */
export function ownShares(tree: FlameNode): [string, number][] {
  const shares = new Map<string, number>();
  const add = ({ name, module, samples, children }: FlameNode) => {
    const own = samples - children.reduce((sum, child) => sum + child.samples, 0);
    const short = name.replace(/^.*: /, "");
    const place = module === "" ? short : `${short} (${module})`;
    shares.set(place, (shares.get(place) ?? 0) + (100 * own) / tree.samples);
    for (const child of children) add(child);
  };
  add(tree);
  return [...shares].sort(([, a], [, b]) => b - a);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", default: "IMIX" },
      cipher: { type: "string", default: aes128gcm16.name },
      rounds: { type: "string", default: "400" },
      svg: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const size = parseSize(values.size);
  const { tree, wholeNs } = await timeApps(
    size,
    parseCipher(values.cipher),
    count(values.rounds, "rounds", 10_000),
  );
  const subtitle = `${wholeNs.toFixed(0)} ns a packet; orange: the crypto library, grey: the benchmark's own; Node ${process.versions.node}`;
  if (values.svg !== undefined) writeFileSync(values.svg, flameGraph(tree, `softbench, ${size}`, subtitle));
  if (values.json) console.log(JSON.stringify({ bench: "flame", size, tree }));
  else
    for (const [name, share] of ownShares(tree).slice(0, 15))
      console.log(`${share.toFixed(1).padStart(5)} %  ${name}`);
}
