// What is wrong with IKE in a configuration, in the form of every message about a configuration: the path of the leaf, and
// then what is the matter.

import { entryAt } from "../config/tell.js";

export class IkeError extends Error {
  override readonly name = "IkeError";
  /** Of the leaf or entry. */
  readonly path: string;
  readonly reason: string;

  constructor(path: string, reason: string) {
    super(`${path}: ${reason}`);
    this.path = path;
    this.reason = reason;
  }
}

/** `/connection[id="hq"]`. */
export function entryPath(list: string, id: string): string {
  return entryAt(list, "id", id);
}
