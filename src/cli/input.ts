// Where a command takes its value from: the argument, a file, or standard input.

import { readFileSync } from "node:fs";
import { decodeText } from "../config/read-text.js";
import { CliError, EXIT_USAGE } from "./exit-codes.js";

/** @throws CliError when there is none, or the file cannot be read */
export function readValue(argument: string | undefined, file: string | undefined): string {
  if (argument !== undefined && file !== undefined)
    throw new CliError("there is a value and a --file: one of them is enough", EXIT_USAGE);
  if (argument !== undefined && argument !== "-") return argument;
  if (file !== undefined && file !== "-") return readFile(file);
  if (process.stdin.isTTY) process.stderr.write("(the value is read from here until Ctrl-D)\n");
  return readFile("-");
}

/** @param file `-` for standard input. @throws CliError */
export function readFile(file: string): string {
  try {
    return decodeText(readFileSync(file === "-" ? 0 : file));
  } catch (error) {
    throw new CliError(`${file === "-" ? "standard input" : file}: ${(error as Error).message}`, EXIT_USAGE);
  }
}
