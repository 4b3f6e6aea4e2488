// A configuration as the run directory has it, for workers, for `vita state` and for the run after this one: without the lists
// that none of them looks at. These are the long ones, and those with keys and passwords in them: nothing of either is
// written there with every change, nor read by every worker that begins.

import type { Configuration } from "./configuration.js";

const LISTS = [
  "route",
  "inbound-sa",
  "outbound-sa",
  "security-policy",
  "connection",
  "pool",
  "secret",
  "authority",
] as const satisfies readonly (keyof Configuration)[];

/** A configuration of the same form, in which these lists are empty. A test sees to it that no secret is anywhere else. */
export function withoutEntries(configuration: Configuration): Configuration {
  return {
    ...configuration,
    ...(Object.fromEntries(LISTS.map((list) => [list, []])) as Partial<Configuration>),
  };
}
