import assert from "node:assert/strict";
import type { Profiler } from "node:inspector";
import { test } from "node:test";
import { flameGraph, ownShares } from "./flame.js";
import { flameTree } from "./flame-tree.js";
import { placeOfLine } from "./line-profile.js";

/** A line of `breathe` in src/engine/engine, as line-hooks.ts numbers them. */
function lineOfEngine(): number {
  for (let line = 1; line < 1 << 20; line++) {
    const place = placeOfLine(line);
    if (place?.module === "src/engine/engine" && place.line === 25) return line;
  }
  throw new Error("no such module");
}

test("what was compiled into a function stands on it, under its module's name", () => {
  const line = lineOfEngine();
  const frame = (functionName: string, lineNumber: number) => ({
    functionName,
    lineNumber,
    scriptId: "1",
    url: "",
    columnNumber: 0,
  });
  const profile: Profiler.Profile = {
    nodes: [
      { id: 1, callFrame: frame("(root)", -1), children: [2] },
      { id: 2, callFrame: frame("drive", 3), hitCount: 5, children: [3] },
      { id: 3, callFrame: frame("breathe", 3), hitCount: 1, children: [4] },
      { id: 4, callFrame: frame("A<b>", 4), hitCount: 9, positionTicks: [{ line, ticks: 6 }] },
    ],
    startTime: 0,
    endTime: 1,
  };
  const tree = flameTree(profile, "breathe");
  assert.equal(tree.samples, 10);
  const [above] = tree.children;
  assert.deepEqual([above.name, above.samples], ["A<b>", 9]);
  assert.deepEqual(
    above.children.map(({ name, module, samples }) => [name, module, samples]),
    [["engine: breathe", "src/engine/engine", 6]],
  );
  assert.deepEqual(ownShares(tree)[0], ["breathe (src/engine/engine)", 60]);
  const svg = flameGraph(tree, "title", "subtitle");
  assert.match(svg, /A&lt;b&gt; \(node\), 90\.0 %/);
  const widths = [...svg.matchAll(/<rect x="10\.0" y="-\d+" width="([\d.]+)"/g)].map(([, width]) =>
    Number(width),
  );
  assert.deepEqual(widths, [1180, 1062, 708]);
});
