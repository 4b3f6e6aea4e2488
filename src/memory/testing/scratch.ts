// A directory for the mapped files of one test, in memory where the machine has such a place. It is removed when the
// process ends, whatever happened to the test; `remove` does it earlier.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Scratch {
  readonly path: string;
  /** A path in the directory. */
  file(name: string): string;
  remove(): void;
}

export function makeScratch(name: string): Scratch {
  const path = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), `vita-${name}-`));
  const remove = () => rmSync(path, { recursive: true, force: true });
  process.once("exit", remove);
  return {
    path,
    file: (file) => join(path, file),
    remove: () => {
      process.removeListener("exit", remove);
      remove();
    },
  };
}
