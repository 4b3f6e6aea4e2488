// The parts of access control that need a clock or a text alone.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Throttle } from "./throttle.js";
import { parseTokens } from "./tokens.js";

describe("Throttle", () => {
  it("doubles the pause with each failure after the first five, up to a minute", () => {
    let now = 0;
    const throttle = new Throttle(() => now);
    const pauses = Array.from({ length: 14 }, () => {
      throttle.failed("192.0.2.1");
      const wait = throttle.wait("192.0.2.1");
      now += wait;
      return wait / 1000;
    });
    assert.deepEqual(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert.equal(throttle.wait("192.0.2.1"), 0);
    assert.equal(throttle.wait("192.0.2.2"), 0);
  });

  it("forgets failures after a success, and after a long silence", () => {
    let now = 0;
    const throttle = new Throttle(() => now);
    const fail = (times: number) => {
      for (let i = 0; i < times; i++) throttle.failed("192.0.2.1");
    };
    fail(5);
    throttle.succeeded("192.0.2.1");
    fail(5);
    assert.equal(throttle.wait("192.0.2.1"), 0);
    now += 3_600_000;
    fail(5);
    assert.equal(throttle.wait("192.0.2.1"), 0);
    fail(1);
    assert.ok(throttle.wait("192.0.2.1") > 0);
  });

  it("counts IPv6 clients by their network", () => {
    const throttle = new Throttle(() => 0);
    for (let i = 0; i < 6; i++) throttle.failed(`2001:db8:0:1::${i + 1}`);
    assert.ok(throttle.wait("2001:db8::1:ffff:0:0:9") > 0);
    assert.equal(throttle.wait("2001:db8:0:2::1"), 0);
  });

  it("remembers a bounded number of addresses", () => {
    const throttle = new Throttle(() => 0);
    for (let i = 0; i < 6; i++) throttle.failed("192.0.2.1");
    for (let i = 0; i < 5_000; i++) throttle.failed(`10.0.${i >> 8}.${i & 255}`);
    assert.equal(throttle.wait("192.0.2.1"), 0);
  });
});

describe("token file", () => {
  const hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

  it("has names, hashes and rights", () => {
    const [noc, alice] = parseTokens(
      `# comment\n\nnoc ${hash} read # for the screen\nalice\t-  read,write secrets\n`,
    );
    assert.equal(noc?.hash?.toString("hex"), hash);
    assert.deepEqual(noc?.rights, { read: true, write: false, secrets: false });
    assert.deepEqual([alice?.name, alice?.hash], ["alice", undefined]);
    assert.deepEqual(alice?.rights, { read: true, write: true, secrets: true });
  });

  it("names the line that is wrong, and repeats nothing of it", () => {
    for (const line of ["noc", "noc my-token read", `noc ${hash}`, `noc ${hash} everything`]) {
      assert.throws(() => parseTokens(`# one\n${line}\n`), /^Error: line 2: (?!.*my-token)/);
    }
  });
});
