// Why a change of the configuration is refused although the configuration itself is right.

import { ConfigurationError, type Rule, valueText } from "./problem.js";

/** @param path of what is refused, "/" for all of it */
export function refusal(
  rule: Rule,
  message: string,
  path = "/",
  value?: string | number,
): ConfigurationError {
  return new ConfigurationError("", [
    { path, rule, message, ...(value !== undefined && { value: valueText(value) }) },
  ]);
}

/** Without what names the configuration and the place. */
export function reasonOf(error: unknown): string {
  return error instanceof ConfigurationError ? error.problems[0].message : messageOf(error);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
