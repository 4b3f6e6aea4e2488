import assert from "node:assert/strict";
import { test } from "node:test";
import { TokenBucket } from "./token-bucket.js";

test("a burst at once, then so many a second, and never more than a burst", () => {
  const bucket = new TokenBucket(100, 3);
  const taken = () => {
    let count = 0;
    while (bucket.take()) count++;
    return count;
  };
  assert.equal(taken(), 3);
  assert.ok(bucket.isEmpty);
  bucket.refill(9);
  assert.equal(taken(), 0, "nine tenths of one");
  bucket.refill(11);
  assert.equal(taken(), 2, "what was left over counts");
  bucket.refill(60_000);
  assert.equal(taken(), 3);
});
