import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { needsScan } from "./json-members.js";
import { scanJson } from "./json-scan.js";

/** Few names, so that some stand there twice; some of them are the same without their module. */
const name = fc.constantFrom(
  "a",
  "vita-gateway:a",
  "other:a",
  'b"\\:',
  "__proto__",
  "1",
  "vita-gateway:",
  "",
);

const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom("1", "null", "true", '"a:b"', '"\\":\\\\"', '""'),
    fc.array(tie("value"), { maxLength: 4 }).map((values) => `[${values.join(" , ")}]`),
    fc
      .array(fc.tuple(name, tie("value")), { maxLength: 4 })
      .map((members) => `{${members.map(([key, text]) => `${JSON.stringify(key)} : ${text}`).join()}}`),
  ),
}));

test("tells of members that stand twice, wherever they stand, as reading word by word does", () => {
  fc.assert(
    fc.property(value, (text) => {
      assert.equal(needsScan(text, JSON.parse(text)), scanJson(text) !== undefined);
    }),
    { numRuns: 2000 },
  );
});
