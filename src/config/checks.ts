// What YANG cannot say, or would say slowly with thousands of entries: checks of a configuration that agrees with the model
// otherwise.

import type { Configuration } from "./configuration.js";
import { checkInterfaces } from "./interface-checks.js";
import { checkOwned } from "./owned.js";
import { checkPolicies } from "./policy-checks.js";
import { type Problem, valueText } from "./problem.js";
import { checkRoutes } from "./route-checks.js";
import { checkStaticSas } from "./sa-checks.js";
import type { Tell } from "./tell.js";

export function checkConfiguration(configuration: Configuration): Problem[] {
  const problems: Problem[] = [];
  const tell: Tell = (path, message, value) =>
    problems.push({
      path,
      rule: "invalid-value",
      message,
      ...(value === undefined ? {} : { value: valueText(value) }),
    });
  checkInterfaces(configuration, tell);
  checkOwned(configuration, tell);
  checkRoutes(configuration, tell);
  checkStaticSas(configuration, tell);
  checkPolicies(configuration, tell);
  return problems;
}
