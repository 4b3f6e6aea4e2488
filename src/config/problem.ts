// What is wrong with a configuration, or with a change of one: where, which rule, what about it.

/** error-tags of RFC 6241, appendix A, and RFC 8040, section 7. */
export type Rule =
  | "invalid-value"
  | "too-big"
  | "missing-element"
  | "unknown-element"
  | "bad-element"
  | "unknown-namespace"
  | "data-exists"
  | "data-missing"
  | "operation-not-supported"
  | "operation-failed"
  | "malformed-message"
  | "in-use"
  | "rollback-failed"
  /** The configuration is not the one that a client wanted to change (RFC 8040, section 3.4.1.2). */
  | "precondition-failed";

export interface Problem {
  /** As an operator writes it: `/public-interface[name="wan0"]/driver`; `/` for the whole. */
  readonly path: string;
  readonly rule: Rule;
  /** `error-app-tag`, such as `too-few-elements` or one of the model's own. */
  readonly appTag?: string;
  /** What is said about the value: `is none of "xdp", "packet"`. */
  readonly message: string;
  /** The value as JSON, cut when it is long; never that of a secret. */
  readonly value?: string;
}

/** The configuration, or a change of it, is not what it must be. */
export class ConfigurationError extends Error {
  readonly problems: readonly Problem[];

  /** @param source names what was read; empty when there is no name for it */
  constructor(source: string, problems: readonly Problem[]) {
    const text = problems.map(problemText).join("\n  ");
    super(source === "" ? text : `${source}: ${text}`);
    this.name = "ConfigurationError";
    this.problems = problems;
  }
}

/** One line: `/workers: 0 is less than 1`. */
export function problemText({ path, value, message }: Problem): string {
  return `${path}: ${value === undefined ? "" : `${value} `}${message}`;
}

/** A value for a problem. */
export function valueText(value: unknown): string {
  const text = JSON.stringify(value) ?? "";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
