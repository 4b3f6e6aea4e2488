// Commits for ever, to be killed: `committer.js STARTUP-FILE STATE-DIRECTORY [CALL]`. Each configuration has another number at
// /limits/orphan-seconds. With a number of a call, it kills itself instead of that call of those that change files; of what it
// was to write then, half is written. Tells on stdout, at once:
//   open N     the startup file has been read, and says N
//   done N     N has been committed; now N + 1
//   warn TEXT  what the datastore warns of
//   left NAME  what lies beside the startup file

import fs, { readdirSync, writeSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { basename, dirname } from "node:path";
import { Datastore } from "../datastore.js";
import { Schema } from "../schema.js";
import type { Edit } from "../tree.js";

const [startupFile, stateDirectory, call] = process.argv.slice(2);
const tell = (what: string, about: unknown) => writeSync(1, `${what} ${about}\n`);

function edit(number: number): Edit {
  const text = JSON.stringify({ limits: { "orphan-seconds": number } });
  return { operation: "merge", target: "/limits", value: { text, format: "json" } };
}

if (call !== undefined) dieAt(Number(call));

function dieAt(last: number): void {
  let calls = 0;
  const isLast = () => ++calls === last;
  const { writeFileSync } = fs;
  const die = () => process.kill(process.pid, "SIGKILL");
  fs.writeFileSync = ((file: number, content: string | Uint8Array) => {
    if (!isLast()) return writeFileSync(file, content);
    writeFileSync(file, content.slice(0, content.length / 2));
    die();
  }) as typeof fs.writeFileSync;
  for (const name of ["fsyncSync", "renameSync", "rmSync"] as const) {
    const real = fs[name] as (...args: unknown[]) => void;
    fs[name] = ((...args: unknown[]) => (isLast() ? die() : real(...args))) as never;
  }
  syncBuiltinESMExports();
}

const datastore = Datastore.open({
  schema: Schema.load(),
  startupFile,
  stateDirectory,
  warn: (text) => tell("warn", text),
});
datastore.carryOut = async () => {};
for (const name of readdirSync(dirname(startupFile))) if (name !== basename(startupFile)) tell("left", name);

let number = datastore.configuration.limits["orphan-seconds"];
tell("open", number);
for (;;) {
  number++;
  const user = "committer";
  // Half of them are confirmed: the file is written by another way.
  if (number % 2 === 0) await datastore.commit([edit(number)], { user });
  else {
    await datastore.commit([edit(number)], { user, confirmSeconds: 60 });
    datastore.confirm(user);
  }
  tell("done", number);
}
