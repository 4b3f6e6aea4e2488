// The tree of a flame graph, from a profile whose lines say which module they belong to (line-profile.ts). Functions that were
// compiled into another one become its children: the compiled text of the module says which function a line belongs to.

import { readFileSync } from "node:fs";
import type { Profiler } from "node:inspector";
import { fileURLToPath } from "node:url";
import { moduleUrl, placeOfLine } from "./line-profile.js";

export interface FlameNode {
  name: string;
  /** Such as `src/apps/route`; empty for what is none of Vita's. */
  module: string;
  /** In it and above it. */
  samples: number;
  children: FlameNode[];
}

const functions = new Map<string, string[]>();

/** For each line of a module the function that it is in, as far as the compiler's indentation tells. */
function functionsOf(module: string): string[] {
  let names = functions.get(module);
  if (names) return names;
  let current = "";
  names = readFileSync(fileURLToPath(moduleUrl(module)), "utf8")
    .split("\n")
    .map((text) => {
      const [, plain, member, arrow, field] =
        /^(?:export )?(?:async )?function (\w+)|^ {4}(?:static |async |get |set )*(#?\w+)\(.*\) \{$|^ {4}(#?\w+) = .*=> \{$|^ {8}this\.(\w+) = \(.*=> \{$/.exec(
          text,
        ) ?? [];
      current = plain ?? member ?? arrow ?? field ?? current;
      return current;
    });
  functions.set(module, names);
  return names;
}

function nameOfLine(line: number): { module: string; name: string } | undefined {
  const place = placeOfLine(line);
  if (place === undefined) return undefined;
  return { module: place.module, name: functionsOf(place.module)[place.line - 1] ?? "" };
}

function childOf(node: FlameNode, name: string, module: string): FlameNode {
  let child = node.children.find((each) => each.name === name && each.module === module);
  if (!child) {
    child = { name, module, samples: 0, children: [] };
    node.children.push(child);
  }
  return child;
}

/** Only what is below the function `root` is of interest. */
export function flameTree({ nodes }: Profiler.Profile, root: string): FlameNode {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const tree: FlameNode = { name: root, module: "", samples: 0, children: [] };
  const add = (node: Profiler.ProfileNode, into: FlameNode): number => {
    let total = node.hitCount ?? 0;
    const own = nameOfLine(node.callFrame.lineNumber + 1);
    for (const { line, ticks } of node.positionTicks ?? []) {
      const place = nameOfLine(line);
      if (
        !place ||
        (place.module === own?.module && place.name === node.callFrame.functionName.replace(/^.*\./, ""))
      )
        continue;
      const name = `${place.module.replace(/^.*\//, "")}: ${place.name}`;
      childOf(into, name, place.module).samples += ticks;
    }
    for (const id of node.children ?? []) {
      const child = byId.get(id);
      if (!child) continue;
      const place = nameOfLine(child.callFrame.lineNumber + 1);
      const name = child.callFrame.functionName || "(anonymous)";
      total += add(child, childOf(into, name, place?.module ?? ""));
    }
    into.samples += total;
    into.children.sort((a, b) => b.samples - a.samples);
    return total;
  };
  for (const node of nodes) if (node.callFrame.functionName === root) add(node, tree);
  return tree;
}
