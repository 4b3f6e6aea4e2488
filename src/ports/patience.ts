// Patience with a predecessor: a process that was killed holds its devices for a moment longer.

import { SystemError } from "../native/libc.js";

/** Milliseconds. */
const PATIENCE = 1000;
const PAUSE = 4;

export function hasCode(error: unknown, codes: readonly string[]): boolean {
  return error instanceof SystemError && codes.includes(error.code);
}

/** Tries for up to a second what fails with one of the codes; blocks the thread meanwhile. For set-up. */
export function patiently<T>(codes: readonly string[], attempt: () => T): T {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; ; waited += PAUSE) {
    try {
      return attempt();
    } catch (error) {
      if (!hasCode(error, codes) || waited >= PATIENCE) throw error;
      Atomics.wait(pause, 0, 0, PAUSE);
    }
  }
}
