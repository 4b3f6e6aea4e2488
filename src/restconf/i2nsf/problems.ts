// What is wrong with a document of ietf-i2nsf-ikeless, with the path of the node in that module. No value is told: it could
// be a key.

import { ConfigurationError, type Rule } from "../../config/problem.js";

export function problem(rule: Rule, path: string, message: string): ConfigurationError {
  return new ConfigurationError("", [{ rule, path, message }]);
}

/** It is right, but a node cannot do it. */
export function unsupported(path: string, message: string): ConfigurationError {
  return problem("operation-not-supported", path, message);
}
