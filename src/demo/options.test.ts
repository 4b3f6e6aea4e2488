import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOptions, UsageError } from "./options.js";

test("the demo runs live, over IPv4, with Vita on both sides, unless asked otherwise", () => {
  const modes = { a: "shared", b: "shared" };
  const defaults = { check: false, json: false, peer: "vita", near: "vita", family: 4, modes, seconds: 3 };
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

test("Vita owns the public interfaces of both gateways, or of one", () => {
  assert.deepEqual(parseOptions(["--mode", "owned"]).modes, { a: "owned", b: "owned" });
  assert.deepEqual(parseOptions(["--mode", "owned", "--peer-mode", "shared"]).modes, {
    a: "owned",
    b: "shared",
  });
  assert.deepEqual(parseOptions(["--peer-mode", "owned"]).modes, { a: "shared", b: "owned" });
});

test("what is not there is refused with the reason", () => {
  assert.throws(
    () => parseOptions(["--peer-mode", "owned", "--peer", "libipsec"]),
    (error) => error instanceof UsageError && /only Vita/.test(error.message),
  );
  assert.throws(() => parseOptions(["--mode", "owned", "--near", "libipsec"]), UsageError);
  assert.throws(() => parseOptions(["--json"]), UsageError);
});
