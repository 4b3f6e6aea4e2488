// The named pipes between the workers and the supervisor: one for the events of all workers, and one for each worker to be
// woken by. Both ends hold them open for reading and writing, so that they outlive each of them, and neither ever waits
// for the other.

import { constants, lstatSync, openSync, rmSync } from "node:fs";
import { mkfifo, type SystemError } from "../native/libc.js";

/** Opens the pipe; makes it when there is none, or when something else has its name. */
export function openEventPipe(path: string): number {
  try {
    if (!lstatSync(path).isFIFO()) rmSync(path, { recursive: true });
  } catch {
    // There is none.
  }
  try {
    mkfifo(path, 0o600);
  } catch (error) {
    if ((error as SystemError).code !== "EEXIST") throw error;
  }
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW);
}
