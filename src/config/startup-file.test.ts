import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ReplaceOptions } from "./atomic-file.js";
import { EditedByHand, StartupFile } from "./startup-file.js";
import { StoredText } from "./stored-text.js";

/** A folder with a file that has been read. */
function readFile(t: TestContext, sync?: ReplaceOptions["sync"]) {
  const folder = mkdtempSync(join(tmpdir(), "vita-startup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "a.json");
  writeFileSync(path, "one");
  const file = new StartupFile(path, sync);
  assert.equal(file.read(), "one");
  return { folder, path, file };
}

test("first the new content is on the disk, then it has the name, then the name is on the disk", (t) => {
  const steps: string[][] = [];
  const { folder, path, file } = readFile(t, (descriptor, what) => {
    const temporary = readdirSync(folder).filter((name) => name !== "a.json");
    const contents = temporary.map((name) => readFileSync(join(folder, name), "utf8"));
    assert.equal(
      readlinkSync(`/proc/self/fd/${descriptor}`),
      what === "folder" ? folder : join(folder, temporary[0]),
    );
    steps.push([what, readFileSync(path, "utf8"), ...contents]);
  });
  file.write(new StoredText("two"));
  assert.deepEqual(steps, [
    ["file", "one", "two"],
    ["folder", "two"],
  ]);
  assert.deepEqual(readdirSync(folder), ["a.json"]);
  assert.equal(file.strangeText(), undefined);
});

for (const step of ["file", "folder"])
  test(`when the disk fails (${step}) the old content stands there, and nothing beside it`, (t) => {
    let failures = 1;
    const { folder, path, file } = readFile(t, (_, what) => {
      if (what === step && failures-- > 0) throw new Error("EIO");
    });
    assert.throws(() => file.write(new StoredText("two")), /^Error: EIO$/);
    assert.equal(readFileSync(path, "utf8"), "one");
    assert.deepEqual(readdirSync(folder), ["a.json"]);
    assert.equal(file.strangeText(), undefined);
    file.write(new StoredText("two"));
    assert.equal(readFileSync(path, "utf8"), "two");
  });

test("when the disk fails for good, what cannot be put back is told", (t) => {
  let isBroken = false;
  const { path, file } = readFile(t, (_, what) => {
    if (what === "folder") isBroken = true;
    if (isBroken) throw new Error(`EIO ${what}`);
  });
  assert.throws(
    () => file.write(new StoredText("two")),
    /EIO folder; the former content could not be put back: EIO file/,
  );
  assert.equal(readFileSync(path, "utf8"), "two");
  assert.equal(file.strangeText(), "two");
});

test("mode and owner stay; what is new is for us alone", (t) => {
  const { path, file } = readFile(t);
  chmodSync(path, 0o640);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(path, 1234, 1235);
  file.write(new StoredText("two"));
  const { mode, uid, gid } = statSync(path);
  assert.equal(mode & 0o7777, 0o640);
  if (isRoot) assert.deepEqual([uid, gid], [1234, 1235]);
  rmSync(path);
  file.write(new StoredText("three"));
  assert.equal(statSync(path).mode & 0o7777, 0o600);
});

test("symbolic links are followed, and stay", (t) => {
  const { folder, path, file } = readFile(t);
  mkdirSync(join(folder, "real"));
  renameSync(path, join(folder, "real/b.json"));
  symlinkSync("real/b.json", join(folder, "link"));
  symlinkSync("link", path);
  file.write(new StoredText("two"));
  assert.ok(lstatSync(path).isSymbolicLink());
  assert.equal(readFileSync(join(folder, "real/b.json"), "utf8"), "two");
  // The file is gone: it is made where the link leads.
  rmSync(join(folder, "real/b.json"));
  assert.equal(file.strangeText(), undefined);
  file.write(new StoredText("three"));
  assert.equal(readFileSync(join(folder, "real/b.json"), "utf8"), "three");
  // The link leads elsewhere now: somebody wants another configuration.
  writeFileSync(join(folder, "other.json"), "other");
  rmSync(path);
  symlinkSync("other.json", path);
  assert.equal(file.strangeText(), "other");
  assert.throws(() => file.write(new StoredText("four")), EditedByHand);
});

test("an edit is seen however it was made, and one that was undone is none", (t) => {
  const { folder, path, file } = readFile(t);
  const { atime, mtime } = statSync(path);
  writeFileSync(path, "ONE");
  utimesSync(path, atime, mtime);
  assert.equal(file.strangeText(), "ONE");
  assert.throws(() => file.write(new StoredText("two")), EditedByHand);
  writeFileSync(path, "one");
  assert.equal(file.strangeText(), undefined);
  writeFileSync(join(folder, "new"), "uno");
  renameSync(join(folder, "new"), path);
  assert.equal(file.strangeText(), "uno");
  assert.throws(() => file.write(new StoredText("two")), EditedByHand);
  assert.deepEqual([readFileSync(path, "utf8"), readdirSync(folder)], ["uno", ["a.json"]]);
  file.accept("uno");
  file.write(new StoredText("two"));
  assert.equal(readFileSync(path, "utf8"), "two");
});

test("what killed writers left is removed, and nothing else", (t) => {
  const { folder, file } = readFile(t);
  const living = `.a.json.vita-${process.ppid}`;
  for (const name of [
    `.a.json.vita-${process.pid}`,
    ".a.json.vita-4194999",
    living,
    ".b.json.vita-4194999",
    "b",
  ])
    writeFileSync(join(folder, name), "half");
  file.read();
  assert.deepEqual(readdirSync(folder).sort(), [living, ".b.json.vita-4194999", "a.json", "b"].sort());
});

test("what is no file is refused", (t) => {
  const { folder } = readFile(t);
  assert.throws(() => new StartupFile("/dev/null").read(), /\/dev\/null is not a regular file/);
  assert.throws(() => new StartupFile(join(folder, "none")).read(), /ENOENT/);
});
