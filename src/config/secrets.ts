// A configuration without what nobody but the supervisor needs to know: for the run directory, where workers and those who look
// at the node's state read it.

import type { Configuration } from "./configuration.js";

/** Leaves that are secrets, whatever they stand in (`nacm:default-deny-all` in the model). */
const SECRETS = new Set(["key", "salt", "integrity-key", "pre-shared-key", "data"]);

/** A copy in which secrets are empty text. */
export function withoutSecrets(configuration: Configuration): Configuration {
  return JSON.parse(JSON.stringify(configuration), (name, value) =>
    SECRETS.has(name) && typeof value === "string" ? "" : value,
  ) as Configuration;
}
