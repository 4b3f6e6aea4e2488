// `full-disk.js STARTUP-FOLDER STATE-FOLDER`: commits with room on the disk, without, and with room again; one of the
// folders is a file system that can be filled. Writes what it found to stdout, as one JSON object.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Datastore } from "../../src/config/datastore.js";
import { Schema } from "../../src/config/schema.js";
import { minimal, workers } from "../../src/config/testing/node-files.js";

const [etc, state, toFill] = process.argv.slice(2);
const startupFile = join(etc, "a.json");
writeFileSync(startupFile, JSON.stringify(minimal));
const warnings: string[] = [];
const carried: number[] = [];
const open = () => {
  const warn = (text: string) => void warnings.push(text);
  const datastore = Datastore.open({ schema: Schema.load(), startupFile, stateDirectory: state, warn });
  datastore.carryOut = async (_, to) => void carried.push(to.workers);
  return datastore;
};
const commit = (count: number) =>
  datastore.commit(workers(count), { user: "root" }).then(
    () => "",
    (error: Error) => error.message,
  );

const datastore = open();
await commit(2);
const text = readFileSync(startupFile, "utf8");
const filler = join(toFill, "filler");
try {
  for (;;) writeFileSync(filler, Buffer.alloc(1024), { flag: "a" });
} catch {
  // It is full.
}
const refusal = await commit(3);
const found = { files: readdirSync(etc).sort(), same: readFileSync(startupFile, "utf8") === text };
const running = datastore.configuration.workers;
const afterRestart = open().configuration.workers;
rmSync(filler);
const again = await commit(4);
const numbers = open()
  .history()
  .map(({ number }) => number);
console.log(JSON.stringify({ refusal, ...found, running, afterRestart, again, carried, numbers, warnings }));
