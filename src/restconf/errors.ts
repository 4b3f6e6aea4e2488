// What a client is told when a request fails: an HTTP status and a list of errors in the terms of RFC 8040, sections 3.9
// and 7. Everything that goes wrong between a request and its answer ends as a `RestconfError`.

import { ConfigurationError, type Problem } from "../config/problem.js";
import { messageOf } from "../config/refusal.js";

/** RFC 8040, section 7: the status that stands for an error-tag where the place does not ask for another one. */
const statusOf: Record<string, number> = {
  "in-use": 409,
  "lock-denied": 409,
  "resource-denied": 409,
  "data-exists": 409,
  "data-missing": 409,
  "invalid-value": 400,
  "missing-attribute": 400,
  "bad-attribute": 400,
  "unknown-attribute": 400,
  "missing-element": 400,
  "bad-element": 400,
  "unknown-element": 400,
  "unknown-namespace": 400,
  "malformed-message": 400,
  "access-denied": 403,
  "operation-not-supported": 405,
  "operation-failed": 412,
  "too-big": 413,
  "rollback-failed": 500,
  "partial-operation": 500,
};

/** One entry of ietf-restconf:errors. `path` is an operator's path or an instance-identifier. */
export interface Failure {
  type: "transport" | "rpc" | "protocol" | "application";
  tag: string;
  appTag?: string | undefined;
  path?: string | undefined;
  message: string;
}

export class RestconfError extends Error {
  readonly status: number;
  readonly failures: readonly Failure[];
  /** Headers that the answer must have, such as Allow. */
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, failures: readonly Failure[], headers: Record<string, string> = {}) {
    super(failures.map((failure) => failure.message).join("\n"));
    this.name = "RestconfError";
    this.status = status;
    this.failures = failures;
    this.headers = headers;
  }
}

/** An error of one entry. Its status follows from the tag unless it is given. */
export function failure(
  tag: string,
  message: string,
  more: {
    status?: number;
    path?: string | undefined;
    type?: Failure["type"];
    appTag?: string;
    headers?: Record<string, string>;
  } = {},
): RestconfError {
  const { status = statusOf[tag] ?? 500, type = "protocol", path, appTag, headers } = more;
  return new RestconfError(status, [{ type, tag, appTag, path, message }], headers);
}

export function invalidValue(message: string, path?: string): RestconfError {
  return failure("invalid-value", message, { path });
}

export function malformed(message: string): RestconfError {
  return failure("malformed-message", message);
}

export function notFound(message: string, path?: string): RestconfError {
  return failure("invalid-value", message, { status: 404, path });
}

export function methodNotAllowed(method: string, allow: string): RestconfError {
  return failure("operation-not-supported", `${method} is not for this resource: ${allow} are`, {
    headers: { allow },
  });
}

export function accessDenied(message: string): RestconfError {
  return failure("access-denied", message);
}

/** A problem of the datastore's in the words of RESTCONF. */
function failureOf(problem: Problem): Failure {
  return {
    type: "application",
    tag: Object.hasOwn(statusOf, problem.rule) ? problem.rule : "operation-failed",
    appTag: problem.appTag,
    path: problem.path === "" || problem.path === "/" ? undefined : problem.path,
    message: problem.value === undefined ? problem.message : `${problem.value} ${problem.message}`,
  };
}

/**
 * The status for several problems is that of the first one. `operation-failed` has two (RFC 8040, section 7): 412 where
 * the client's data or its condition do not hold, 500 where something could not be carried out.
 */
function statusOfProblems(problems: readonly Problem[]): number {
  const rule: string = problems[0]?.rule ?? "";
  if (rule === "operation-failed" && problems[0]?.path === "/") return 500;
  if (rule === "precondition-failed") return 412;
  // Of the two that section 7 has: 405 is about the method, and needs `Allow`.
  if (rule === "operation-not-supported") return 501;
  return statusOf[rule] ?? 500;
}

/** Whatever was thrown while a request was carried out, as an answer. */
export function restconfErrorOf(error: unknown): RestconfError {
  if (error instanceof RestconfError) return error;
  if (error instanceof ConfigurationError) {
    return new RestconfError(statusOfProblems(error.problems), error.problems.map(failureOf));
  }
  return failure("operation-failed", messageOf(error), { status: 500, type: "application" });
}
