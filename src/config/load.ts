// A configuration from a text, for who wants nothing but the outcome.

import type { Configuration } from "./configuration.js";
import { Schema } from "./schema.js";
import { type Format, Tree } from "./tree.js";

/**
 * Checks a configuration.
 * @param source names it in errors
 * @throws ConfigurationError
 */
export function parseConfiguration(text: string, source: string, format: Format = "json"): Configuration {
  const tree = Tree.parse(Schema.load(), text, format, { source });
  try {
    tree.validate(source);
    return tree.toConfiguration();
  } finally {
    tree.free();
  }
}
