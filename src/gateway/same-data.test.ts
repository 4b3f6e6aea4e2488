// The comparison of data, against that of the JSON they are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { sameData } from "./same-data.js";

test("finds the same what is the same as JSON", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      assert.equal(sameData(a, b), isDeepStrictEqual(a, b));
      assert(sameData(a, structuredClone(a)));
    }),
  );
  const data = { id: "a", list: [1, { x: "y" }], flag: false };
  assert(sameData(data, { flag: false, list: [1, { x: "y" }], id: "a", none: undefined }));
  for (const other of [
    { ...data, more: 1 },
    { id: "a", list: [1, { x: "y" }] },
    { ...data, list: [1, { x: "z" }] },
    { ...data, list: [1] },
    { ...data, list: { 0: 1, 1: { x: "y" }, length: 2 } },
    { ...data, flag: null },
  ])
    assert(!sameData(data, other) && !sameData(other, data));
});
