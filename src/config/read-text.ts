// Text of files and messages. Configurations are UTF-8. Bytes that are not must not turn into something else without a word:
// a pre-shared key would not be the same any more, and the next commit would write that over the file.

import { closeSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { type Stamp, stampOf } from "./atomic-file.js";

/**
 * A byte order mark in front is no part of the text (RFC 8259, section 8.1).
 * @throws Error the bytes are not UTF-8
 */
export function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("is not UTF-8");
  }
}

/** @throws the system's error, or Error that names the file */
export function readTextFile(path: string): { text: string; stamp: Stamp } {
  // Others, a pipe say, could not be replaced, and some would make us wait.
  if (!statSync(path).isFile()) throw new Error(`${path} is not a regular file`);
  const file = openSync(path, "r");
  try {
    const stamp = stampOf(fstatSync(file, { bigint: true }));
    return { text: decodeText(readFileSync(file)), stamp };
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === undefined
      ? new Error(`${path} ${(error as Error).message}`)
      : error;
  } finally {
    closeSync(file);
  }
}
