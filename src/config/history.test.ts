import assert from "node:assert/strict";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Tagger } from "./etag.js";
import { HISTORY_LENGTH, History } from "./history.js";
import { StoredText } from "./stored-text.js";

function makeHistory(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "vita-history-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const warnings: string[] = [];
  const open = () => new History(join(folder, "state"), (text) => void warnings.push(text));
  return { folder, path: join(folder, "state/history"), warnings, open };
}

const time = new Date("2026-11-26T10:00:00.123Z");
const entry = { time, user: "root", comment: 'two\nlines, "quoted"' };

test("the last ones are kept, also over a restart, and numbers are counted up", (t) => {
  const { path, open, warnings } = makeHistory(t);
  const first = open();
  assert.deepEqual([first.entries, first.newest, first.before(5)], [[], undefined, undefined]);
  for (let n = 1; n <= HISTORY_LENGTH + 5; n++)
    assert.equal(first.add(new StoredText(`{ "n": ${n} }\n`), entry), n);
  for (const history of [first, open()]) {
    const numbers = history.entries.map(({ number }) => number);
    assert.deepEqual(
      numbers,
      Array.from({ length: HISTORY_LENGTH }, (_, i) => 25 - i),
    );
    assert.deepEqual(history.newest, { number: 25, ...entry });
    assert.equal(history.before(25)?.number, 24);
    assert.equal(history.text(6), '{ "n": 6 }\n');
    assert.equal(history.text(5), undefined);
  }
  assert.equal(readdirSync(path).length, HISTORY_LENGTH);
  assert.equal(open().add(new StoredText("{}"), entry), 26);
  assert.deepEqual(warnings, []);
});

test("nobody else may read them", (t) => {
  const { path, open } = makeHistory(t);
  open().add(new StoredText("secret"), entry);
  assert.equal(statSync(join(path, "..")).mode & 0o777, 0o700);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.equal(statSync(join(path, "1")).mode & 0o777, 0o600);
});

test("what is broken is told and passed over, and its number not given again", (t) => {
  const { path, open, warnings } = makeHistory(t);
  const first = open();
  for (let n = 1; n <= 8; n++) first.add(new StoredText(`{ "n": ${n} }`), entry);
  const file = (n: number) => join(path, String(n));
  truncateSync(file(2), 0);
  truncateSync(file(3), 40);
  truncateSync(file(4), statSync(file(4)).size - 1);
  writeFileSync(file(5), readFileSync(file(5), "utf8").replace('"n": 5', '"n": 6'));
  writeFileSync(file(6), "null\n{}");
  writeFileSync(file(7), '{"time":"never","user":"","comment":"","sha256":""}\n');
  writeFileSync(file(8), "\0\0\0\0");
  writeFileSync(join(path, ".9.vita-4194999"), "half");
  writeFileSync(join(path, "notes"), "mine");
  const second = open();
  assert.deepEqual(
    second.entries.map(({ number }) => number),
    [1],
  );
  assert.equal(warnings.length, 7);
  assert.match(warnings[0], /history\/2: is truncated: it is left out of the history$/);
  assert.equal(second.add(new StoredText("{}"), entry), 9);
  assert.ok(!readdirSync(path).includes(".9.vita-4194999"));
  // It breaks while the node runs.
  writeFileSync(file(1), "");
  assert.throws(() => second.text(1), /is truncated/);
  for (let n = 0; n < HISTORY_LENGTH; n++) second.add(new StoredText("{}"), entry);
  assert.equal(readdirSync(path).length, HISTORY_LENGTH + 1);
  assert.ok(readdirSync(path).includes("notes"));
});

test("without a folder to write to it is kept in memory", (t) => {
  const { folder, open, warnings } = makeHistory(t);
  writeFileSync(join(folder, "state"), "a file");
  const history = open();
  assert.match(warnings[0], /state\/history: .*the history is kept in memory only/);
  assert.equal(history.add(new StoredText("{}"), entry), 1);
  assert.match(warnings[1], /history\/1: .*it is kept in memory only/);
  assert.equal(history.text(1), "{}");
  for (let n = 0; n < HISTORY_LENGTH; n++) history.add(new StoredText("{}"), entry);
  assert.equal(history.entries.length, HISTORY_LENGTH);
});

test("entity tags: the same after a restart, others elsewhere", (t) => {
  const { folder, warnings } = makeHistory(t);
  const warn = (text: string) => void warnings.push(text);
  const tag = Tagger.open(folder, warn).tag(new StoredText("text"));
  assert.match(tag, /^[0-9a-f]{32}$/);
  assert.equal(Tagger.open(folder, warn).tag(new StoredText("text")), tag);
  assert.notEqual(Tagger.open(folder, warn).tag(new StoredText("texts")), tag);
  assert.equal(statSync(join(folder, "etag-key")).mode & 0o777, 0o600);
  truncateSync(join(folder, "etag-key"), 5);
  assert.notEqual(Tagger.open(folder, warn).tag(new StoredText("text")), tag);
  assert.deepEqual(warnings, []);
  assert.match(Tagger.open(join(folder, "none"), warn).tag(new StoredText("text")), /^[0-9a-f]{32}$/);
  assert.match(warnings[0], /none\/etag-key: ENOENT.*will be others after a restart/);
});
