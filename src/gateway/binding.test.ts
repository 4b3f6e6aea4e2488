import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfiguration } from "../config/load.js";
import { bindingOf } from "./binding.js";

test("bindings: numbers, or text as strongSwan has it; inward as outward unless told otherwise", () => {
  const leaves = [
    {},
    { "if-id": 42 },
    { "if-id": "0x2a", mark: "7" },
    { "if-id": 2, "if-id-in": 1, mark: "0xffffffff", "mark-in": 0 },
  ].map((leaf, i) => ({ name: `lan${i}`, ...leaf }));
  const document = { node: "a", "public-interface": [{ name: "wan0" }], "private-interface": leaves };
  const configuration = parseConfiguration(JSON.stringify(document), "test");
  assert.deepEqual(
    configuration["private-interface"].map(bindingOf).map((binding) => Object.values(binding)),
    [
      [0, 0, 0, 0],
      [42, 0, 42, 0],
      [42, 7, 42, 7],
      [2, 0xffffffff, 1, 0],
    ],
  );
  // What the supervisor writes for the workers is read again by `vita state`.
  assert.deepEqual(parseConfiguration(JSON.stringify(configuration), "again"), configuration);
});
