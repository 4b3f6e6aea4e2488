// A configuration as a JSON document, before libyang sees it: is it JSON at all, is every member there once, and which of
// it goes where. Members at the top without a module's name are vita-gateway's.

import { needsScan } from "./json-members.js";
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
  const document = parseJsonValue(text, source);
  if (!isObject(document))
    throw malformed(source, { path: "/", message: "is not an object", value: valueText(document) });
  return document;
}

/**
 * Reads any JSON value.
 * @throws ConfigurationError
 */
export function parseJsonValue(text: string, source: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What JavaScript says differs from version to version, and quotes what stands there: it may be a secret.
    throw malformed(source, { path: "/", message: scanJson(text)?.message ?? "is not JSON" });
  }
  // JSON.parse takes the last one of members with one name, and says nothing.
  const found = needsScan(text, value) ? scanJson(text) : undefined;
  if (found) throw malformed(source, found);
  return value;
}

function malformed(source: string, problem: Omit<Problem, "rule">): ConfigurationError {
  return new ConfigurationError(source, [{ rule: "malformed-message", ...problem }]);
}
