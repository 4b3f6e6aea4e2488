// Has a document changed since it was written to a file?

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

export function sameJson(path: string, document: unknown): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(readFileSync(path, "utf8")), JSON.parse(JSON.stringify(document)));
  } catch {
    return false;
  }
}
