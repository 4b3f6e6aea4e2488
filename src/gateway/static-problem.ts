// What is wrong with the static part of a configuration, told by the path of the leaf.

import { ConfigurationError } from "../config/problem.js";

/**
 * @param path of the leaf, such as `/outbound-sa[spi="1234"]/route`
 * @param message what is wrong with it; never a key
 */
export function problem(path: string, message: string): ConfigurationError {
  return new ConfigurationError("", [{ path, rule: "invalid-value", message }]);
}
