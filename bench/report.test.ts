import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { benchesIn, insertOutputs } from "./report.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const page = readFileSync(join(root, "docs/performance.md"), "utf8");

test("figures go between their markers, and nothing else changes", () => {
  const text =
    "a\n<!-- bench compare -->\nold\n<!-- /bench -->\nb\n<!-- bench apps -->\n<!-- /bench -->\nc\n";
  assert.deepEqual(benchesIn(text), ["compare", "apps"]);
  const outputs = new Map([["compare", { text: "$1 new\n", chart: "compare.svg" }]]);
  const once = insertOutputs(text, outputs);
  const block = "```\n$1 new\n```\n\n![compare](compare.svg)\n";
  assert.equal(
    once,
    `a\n<!-- bench compare -->\n${block}<!-- /bench -->\nb\n<!-- bench apps -->\n<!-- /bench -->\nc\n`,
  );
  assert.equal(insertOutputs(once, outputs), once);
});

test("the pictures of the page on performance are there", () => {
  const pictures = [...page.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)].map(([, path]) => path);
  assert.ok(pictures.length > 0, "run `npm run bench -- report`");
  for (const path of pictures) assert.ok(existsSync(join(root, "docs", path)), path);
});
