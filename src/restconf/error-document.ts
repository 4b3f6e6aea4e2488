// ietf-restconf:errors (RFC 8040, section 3.9): the body of every answer that is not a success.

import { MODULE_NAME } from "../config/schema.js";
import type { Failure } from "./errors.js";
import type { JsonObject } from "./json.js";

/** Operators' paths leave out the name of this module; an instance-identifier has it. */

/** An operator's path as an instance-identifier (RFC 7951, section 6.11). */
function instanceIdentifier(path: string): string {
  return /^\/[A-Za-z_][\w.-]*:/.test(path) ? path : path.replace(/^\/(?=[A-Za-z_])/, `/${MODULE_NAME}:`);
}

export function errorList(failures: readonly Failure[]): JsonObject {
  return {
    error: failures.map(({ type, tag, appTag, path, message }) => ({
      "error-type": type,
      "error-tag": tag,
      ...(appTag !== undefined && { "error-app-tag": appTag }),
      ...(path !== undefined && { "error-path": instanceIdentifier(path) }),
      "error-message": message,
    })),
  };
}

export function errorDocument(failures: readonly Failure[]): JsonObject {
  return { "ietf-restconf:errors": errorList(failures) };
}
