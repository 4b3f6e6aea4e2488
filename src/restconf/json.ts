// JSON values, and how a request's body becomes one without anything being lost on the way: bytes that are no UTF-8,
// members that come twice and documents that are nested without end are refused.

import { parseJson } from "../config/document.js";
import { decodeText } from "../config/read-text.js";
import { malformed } from "./errors.js";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/** @throws RestconfError malformed-message */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decodeText(bytes);
  } catch {
    throw malformed("the message is not UTF-8");
  }
}

/** @throws RestconfError or ConfigurationError, malformed-message, when it is not one JSON object */
export function parseJsonObject(text: string): JsonObject {
  if (text.trim() === "") throw malformed("the message has no body");
  return parseJson(text, "") as JsonObject;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object that has names of a client's as members, `__proto__` included. */
export function objectOf(entries: Iterable<readonly [string, Json]>): JsonObject {
  return Object.fromEntries(entries);
}
