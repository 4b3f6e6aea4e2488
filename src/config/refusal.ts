// Why a change of the configuration is refused although the configuration itself is right.

import { ConfigurationError, problemText, type Rule, valueText } from "./problem.js";

/** @param path of what is refused, "/" for all of it */
export function refusal(rule: Rule, message: string, path = "/", value?: string): ConfigurationError {
  return new ConfigurationError("", [
    { path, rule, message, ...(value !== undefined && { value: valueText(value) }) },
  ]);
}

/** Within a sentence: without what names the configuration, and with the place if it is one of a part. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof ConfigurationError)) return messageOf(error);
  const [problem] = error.problems;
  return problem.path === "/" ? problem.message : problemText(problem);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
