// A configuration that is, was or is about to be in force, in all the forms that it is needed in.

import type { Configuration } from "./configuration.js";
import type { StoredText } from "./stored-text.js";
import type { Tree } from "./tree.js";

export interface Version {
  /** Ours alone; freed when neither running nor to come back. */
  tree: Tree;
  configuration: Configuration;
  /** What the startup file and the history have of it: what an operator wrote, secrets included. */
  text: StoredText;
  /** Once somebody has asked for it. */
  etag?: string;
  /** Does the startup file say this? */
  isStored: boolean;
  /** In the history. */
  number: number;
  /** When it came into force. */
  time: Date;
}

/**
 * Checks a tree and makes a version of it that is in no history yet.
 * @param source names the tree in errors
 * @throws ConfigurationError; the tree is freed then
 */
export function makeVersion(tree: Tree, source = ""): Version {
  try {
    tree.validate(source);
    const text = tree.stored();
    const configuration = tree.toConfiguration();
    return {
      tree,
      configuration,
      text,
      isStored: false,
      number: 0,
      time: new Date(),
    };
  } catch (error) {
    tree.free();
    throw error;
  }
}
