// A configuration as a JSON document, before libyang sees it: is it JSON at all, is every member there once, and which of
// it goes where. Members at the top without a module's name are vita-gateway's.

import { hasTwice } from "./json-members.js";
import { localName, scanJson } from "./json-scan.js";
import { ConfigurationError, type Problem, valueText } from "./problem.js";

export type JsonObject = { [name: string]: unknown };

export { localName };

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Reads a JSON object.
 * @throws ConfigurationError
 */
export function parseJson(text: string, source: string): JsonObject {
  const fail = (problem: Omit<Problem, "rule">) =>
    new ConfigurationError(source, [{ rule: "malformed-message", ...problem }]);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // What JavaScript says differs from version to version, and quotes what stands there: it may be a secret.
    throw fail({ path: "/", message: scanJson(text)?.message ?? "is not JSON" });
  }
  if (!isObject(document)) throw fail({ path: "/", message: "is not an object", value: valueText(document) });
  const twice = hasTwice(text, document) ? scanJson(text) : undefined;
  if (twice) throw fail(twice);
  return document;
}
