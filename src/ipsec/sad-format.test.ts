import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { sadFormat } from "./sad-format.js";

test("docs/sad-format.md is what the layouts give (npm run docs)", () => {
  const committed = readFileSync(new URL("../../../docs/sad-format.md", import.meta.url), "utf8");
  assert.equal(committed, sadFormat());
});
