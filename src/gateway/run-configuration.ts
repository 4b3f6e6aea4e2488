// The configuration as the processes of a node read it: `config.json` in the run directory, JSON of the checked form, in which
// the lists that they have no use for are empty (secrets.ts). It is replaced as a whole, never written to.
//
// While workers are exchanged because of a change, `next.json` has what they are exchanged for. It becomes `config.json` in
// the moment in which the change is made; if it is still there when a supervisor begins, a change was cut off, and nobody
// knows which of the two configurations the workers, devices and routes are of.

import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Configuration } from "../config/configuration.js";
import { withoutEntries } from "../config/secrets.js";
import type { RunDirectory } from "./run-directory.js";

export type ConfigurationFile = "config.json" | "next.json";

/** Replaces the file. Whoever reads it has no use for keys. */
export function writeConfiguration(
  run: RunDirectory,
  name: ConfigurationFile,
  configuration: Configuration,
): void {
  const path = run.file(name);
  writeFileSync(`${path}.new`, `${JSON.stringify(withoutEntries(configuration), null, 2)}\n`, {
    mode: 0o600,
  });
  renameSync(`${path}.new`, path);
}

/**
 * Reads what the supervisor has checked and written; checking it again would cost a restart a third of its time.
 * @param name `next.json` stands for `config.json` once it has become that
 * @throws Error of the file system: there is none
 */
export function readConfiguration(run: RunDirectory, name: ConfigurationFile = "config.json"): Configuration {
  let text: string;
  try {
    text = readFileSync(run.file(name), "utf8");
  } catch (error) {
    if (name === "config.json" || (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    text = readFileSync(run.file("config.json"), "utf8");
  }
  return JSON.parse(text) as Configuration;
}

/** The change is made. */
export function nextIsReached(run: RunDirectory): void {
  renameSync(run.file("next.json"), run.file("config.json"));
}

/** The change is not made. */
export function nextIsGivenUp(run: RunDirectory): void {
  rmSync(run.file("next.json"), { force: true });
}
