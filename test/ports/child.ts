// Runs a program of this folder inside a network namespace: foreign calls belong to the namespace of their process. The
// program prints one JSON object as its result.

import { join } from "node:path";
import { run } from "../../src/lab/command.js";

export async function runInside<T>(namespace: string, program: string, args: string[] = []): Promise<T> {
  const file = join(import.meta.dirname, `${program}.js`);
  const { stdout } = await run(process.execPath, ["--enable-source-maps", file, ...args], { namespace });
  return JSON.parse(stdout) as T;
}

/** Prints the result of such a program. */
export function report(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
