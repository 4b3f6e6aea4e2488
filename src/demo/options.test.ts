import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOptions, UsageError } from "./options.js";

test("the demo runs live, over IPv4, with Vita on both sides, unless asked otherwise", () => {
  const defaults = { check: false, json: false, peer: "vita", near: "vita", family: 4, seconds: 3 };
  assert.deepEqual(parseOptions([]), defaults);
  assert.deepEqual(parseOptions(["--check", "--json", "--peer", "libipsec", "--ipv6", "--seconds", "1"]), {
    ...defaults,
    check: true,
    json: true,
    peer: "libipsec",
    family: 6,
    seconds: 1,
  });
});

test("what is not there is refused with the reason", () => {
  assert.throws(
    () => parseOptions(["--mode", "owned"]),
    (error) => error instanceof UsageError && /not yet/.test(error.message),
  );
  assert.throws(() => parseOptions(["--json"]), UsageError);
});
