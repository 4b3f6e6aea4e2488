// The datastore: where a node's configuration comes from, and the only place that knows its form. Everybody else gets a
// checked `Configuration`.

import { readFileSync } from "node:fs";
import type { z } from "zod";
import type { Configuration } from "./configuration.js";
import { configurationModel } from "./model.js";

export type { Configuration, PrivateInterface, PublicInterface } from "./configuration.js";

/** Leaves that are passed on as they are. */
const later = {
  "worker-cpu": [],
  "data-plane": false,
  route: [],
  "inbound-sa": [],
  "outbound-sa": [],
  "security-policy": [],
  charon: { vici: "" },
  connection: [],
  pool: [],
  secret: [],
  authority: [],
  restconf: {},
} satisfies Partial<Configuration>;

/** The configuration is not what it must be. `problems` has one line each. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[];
  constructor(source: string, problems: readonly string[]) {
    super(`${source}: ${problems.join("\n  ")}`);
    this.name = "ConfigurationError";
    this.problems = problems;
  }
}

/**
 * Reads and checks a configuration file.
 * @throws ConfigurationError
 */
export function loadConfiguration(path: string): Configuration {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigurationError(path, [(error as Error).message]);
  }
  return parseConfiguration(text, path);
}

/**
 * Checks a configuration.
 * @param source names it in errors
 * @throws ConfigurationError
 */
export function parseConfiguration(text: string, source: string): Configuration {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new ConfigurationError(source, [`is not JSON: ${(error as Error).message}`]);
  }
  const known: Record<string, unknown> = {};
  const others: Record<string, unknown> = {};
  if (typeof document === "object" && document && !Array.isArray(document)) {
    for (const [name, value] of Object.entries(document))
      (name in later || name === "mtu" ? others : known)[name] = value;
    document = known;
  }
  const result = configurationModel.safeParse(document, { reportInput: true });
  if (result.success) return { ...later, ...others, ...result.data } as Configuration;
  throw new ConfigurationError(source, result.error.issues.flatMap(describeIssue));
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = `/${issue.path.join("/")}`;
  const value = issue.input === undefined ? "" : `${shorten(JSON.stringify(issue.input))} `;
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => `${path === "/" ? "" : path}/${key}: there is no such leaf`);
    case "invalid_type":
      return [
        issue.input === undefined
          ? `${path}: is missing`
          : `${path}: ${value}is not ${article(issue.expected)}`,
      ];
    case "invalid_value":
      return [`${path}: ${value}is none of ${issue.values.map((v) => JSON.stringify(v)).join(", ")}`];
    case "too_small":
      return [`${path}: ${value}is less than ${issue.minimum}${issue.origin === "array" ? " entries" : ""}`];
    case "too_big":
      return [`${path}: ${value}is more than ${issue.maximum}${issue.origin === "array" ? " entries" : ""}`];
    default:
      return [`${path}: ${value}${issue.message}`];
  }
}

function article(type: string): string {
  return type === "int" ? "a whole number" : `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
