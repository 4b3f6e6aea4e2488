// Keys of static SAs that other nodes of this machine have sent with: they must not be used again under another name. A node
// whose name has changed has another state directory, which knows nothing of what its keys have used.

import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type MarkId, parseMarks, SEQUENCE_MARKS } from "./sequence-marks.js";

/**
 * @param directory a node's state directory
 * @returns files of other nodes, by the outbound keys that they know; files that are damaged are those nodes' own concern
 */
export function neighbourMarks(directory: string): Map<MarkId, string> {
  const base = dirname(directory);
  const users = new Map<MarkId, string>();
  for (const node of readdirSync(base)) {
    if (node === basename(directory)) continue;
    const path = join(base, node, SEQUENCE_MARKS);
    for (const [id, mark] of read(path) ?? []) if (id.startsWith("out ") && mark > 0) users.set(id, path);
  }
  return users;
}

function read(path: string): ReadonlyMap<MarkId, number> | undefined {
  try {
    return parseMarks(readFileSync(path, "latin1"));
  } catch {
    // Not every folder here is a node's that has static SAs.
    return undefined;
  }
}
