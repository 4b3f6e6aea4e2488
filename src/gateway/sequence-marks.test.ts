// Marks on disk: what is raised is there for the next run, what is damaged is not guessed at.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { markId, SequenceMarks } from "./sequence-marks.js";

const KEY = Uint8Array.from({ length: 20 }, (_, i) => i);
const out = markId("out", KEY);

async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync("/dev/shm/vita-marks-");
  try {
    await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("marks are found again, and never fall but by settling", () =>
  withDirectory(async (directory) => {
    const first = new SequenceMarks(join(directory, "node"));
    assert.equal(first.get(out), 0);
    await Promise.all([first.raise(new Map([[out, 2 ** 52]])), first.raise(new Map([[out, 7]]))]);
    await first.raise(new Map([[markId("in", KEY), 5]]));
    await first.close();

    const second = new SequenceMarks(join(directory, "node"));
    assert.equal(second.get(out), 2 ** 52);
    assert.equal(second.get(markId("in", KEY)), 5);
    await second.settle(new Map([[out, 3]]));
    await second.close();
    assert.equal(new SequenceMarks(join(directory, "node")).get(out), 3);
    assert.equal(statSync(join(directory, "node", "sequence-marks")).mode & 0o777, 0o600);
  }));

test("key and direction make the id, and the file tells neither key nor salt", () =>
  withDirectory(async (directory) => {
    assert.notEqual(out, markId("in", KEY));
    assert.notEqual(out, markId("out", KEY.with(19, 0)), "the salt counts as well");
    const marks = new SequenceMarks(directory);
    await marks.raise(new Map([[out, 1]]));
    await marks.close();
    const text = readFileSync(join(directory, "sequence-marks"), "latin1");
    assert.doesNotMatch(text, /000102030405/);
    assert.match(text, new RegExp(out));
  }));

test("a file that is damaged in any byte is refused, and left as it is", () =>
  withDirectory(async (directory) => {
    const path = join(directory, "sequence-marks");
    const marks = new SequenceMarks(directory);
    await marks.raise(new Map([[out, 2 ** 24]]));
    await marks.close();
    const whole = readFileSync(path);
    const refused = (bytes: Uint8Array, what: string) => {
      writeFileSync(path, bytes);
      assert.throws(
        () => new SequenceMarks(directory).get(out),
        /is damaged.*new key.*remove the file/,
        what,
      );
      assert.deepEqual(readFileSync(path), Buffer.from(bytes));
    };
    for (let i = 0; i < whole.length; i++) {
      refused(whole.subarray(0, i), `cut to ${i} bytes`);
      refused(
        whole.map((byte, at) => (at === i ? byte ^ 1 : byte)),
        `byte ${i} changed`,
      );
    }
    refused(Buffer.concat([whole, Buffer.from("\n")]), "longer");
    refused(randomBytes(200), "noise");
  }));

test("a new file that was cut off while it was written does not matter", () =>
  withDirectory(async (directory) => {
    const marks = new SequenceMarks(directory);
    await marks.raise(new Map([[out, 9]]));
    await marks.close();
    writeFileSync(join(directory, "sequence-marks.new"), "vita sequ");
    const next = new SequenceMarks(directory);
    assert.equal(next.get(out), 9);
    await next.raise(new Map([[out, 10]]));
    await next.close();
    assert.equal(new SequenceMarks(directory).get(out), 10);
  }));

test("two runs cannot have the same marks", () =>
  withDirectory(async (directory) => {
    const one = new SequenceMarks(directory);
    one.get(out);
    assert.throws(() => new SequenceMarks(directory).get(out), /in use by another run.*VITA_STATE_DIR/);
    await one.close();
    assert.equal(new SequenceMarks(directory).get(out), 0);
  }));

test("marks that cannot be written are not raised", () =>
  withDirectory(async (directory) => {
    const marks = new SequenceMarks(directory);
    await marks.raise(new Map([[out, 9]]));
    // A directory in the place of the new file.
    mkdirSync(join(directory, "sequence-marks.new"));
    await assert.rejects(marks.raise(new Map([[out, 20]])), /EISDIR/);
    assert.equal(marks.get(out), 9);
    rmSync(join(directory, "sequence-marks.new"), { recursive: true });
    await marks.raise(new Map([[out, 20]]));
    assert.equal(marks.get(out), 20);
    await marks.close();
  }));
