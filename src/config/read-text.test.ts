import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readTextFile } from "./read-text.js";

test("UTF-8 is read, with a byte order mark or without; other bytes are refused, not replaced", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "vita-text-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "a.json");
  const read = (bytes: Uint8Array) => {
    writeFileSync(path, bytes);
    return readTextFile(path).text;
  };
  assert.equal(read(Buffer.from('"ä"\r\n')), '"ä"\r\n');
  assert.equal(read(Buffer.from('\ufeff"ä"')), '"ä"');
  assert.equal(read(Buffer.from("")), "");
  const refused = { message: `${path} is not UTF-8` };
  assert.throws(() => read(Buffer.from('"ä"', "latin1")), refused);
  assert.throws(() => read(Buffer.from('\ufeff"a"', "utf16le")), refused);
  assert.throws(() => readTextFile(folder), { message: `${folder} is not a regular file` });
});
