// Configurations from files and texts, for who wants nothing but the outcome.

import { readFileSync } from "node:fs";
import type { Configuration } from "./configuration.js";
import { ConfigurationError } from "./problem.js";
import { Schema } from "./schema.js";
import { Tree } from "./tree.js";

/**
 * Reads and checks a configuration file.
 * @throws ConfigurationError
 */
export function loadConfiguration(path: string): Configuration {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigurationError(path, [
      { path: "/", rule: "operation-failed", message: `cannot be read: ${(error as Error).message}` },
    ]);
  }
  return parseConfiguration(text, path);
}

/**
 * Checks a configuration.
 * @param text JSON
 * @param source names it in errors
 * @throws ConfigurationError
 */
export function parseConfiguration(text: string, source: string): Configuration {
  const tree = Tree.parse(Schema.load(), text, "json", { source });
  try {
    tree.validate(source);
    return tree.toConfiguration();
  } finally {
    tree.free();
  }
}
