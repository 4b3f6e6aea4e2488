// Files with secrets: written beside the place where they are to be, then put there at once, readable by their owner alone.

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { CliError } from "./exit-codes.js";

/** @throws CliError */
export function writePrivate(file: string, text: string): void {
  const beside = `${file}.${process.pid}.new`;
  try {
    const fd = openSync(beside, "wx", 0o600);
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new CliError(`${file}: ${(error as Error).message}`);
  }
}
