// Files with secrets: put in their place as a whole, readable by their owner alone.

import { replaceFile } from "../config/atomic-file.js";
import { CliError } from "./exit-codes.js";

/** @throws CliError */
export function writePrivate(file: string, text: string): void {
  try {
    replaceFile(file, text);
  } catch (error) {
    throw new CliError(`${file}: ${(error as Error).message}`);
  }
}
