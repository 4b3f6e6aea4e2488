// JSON values, and how a request's body becomes one without anything being lost on the way: bytes that are no UTF-8,
// members that come twice and documents that are nested without end are refused.

import { malformed } from "./errors.js";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/** Nothing in the model is nested deeper; what is, is refused before anybody recurses into it. */
export const deepest = 64;

/** @throws RestconfError malformed-message */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw malformed("the message is not UTF-8");
  }
}

/** @throws RestconfError malformed-message when it is not one JSON object */
export function parseJsonObject(text: string): JsonObject {
  if (text.trim() === "") throw malformed("the message has no body");
  checkNesting(text);
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    throw malformed(`the message is not JSON: ${withoutQuotation(error as Error)}`);
  }
  if (!isObject(value)) throw malformed("the message is not a JSON object");
  checkMembers(text);
  return value;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object that has names of a client's as members, `__proto__` included. */
export function objectOf(entries: Iterable<readonly [string, Json]>): JsonObject {
  return Object.fromEntries(entries);
}

/** V8 quotes what it could not parse, which may be a key. */
function withoutQuotation(error: Error): string {
  return (
    /at position \d+|Unexpected end of JSON input/.exec(error.message)?.[0] ?? "it has an unexpected token"
  );
}

/** Strings and the punctuation around them: enough to follow the structure of a text that JSON.parse accepts. */
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/gs;

function checkNesting(text: string): void {
  let depth = 0;
  for (const [part] of text.matchAll(token)) {
    if (part === "{" || part === "[") depth += 1;
    else if (part === "}" || part === "]") depth -= 1;
    if (depth > deepest) throw malformed(`the message is nested deeper than ${deepest} levels`);
  }
}

/** JSON.parse takes the last of two members of one name; RFC 7951, section 3, has them unique. */
function checkMembers(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let last = "";
  for (const [part] of text.matchAll(token)) {
    if (part === "{") open.push(new Set());
    else if (part === "[") open.push(undefined);
    else if (part === "}" || part === "]") open.pop();
    else if (part === ":") {
      const name = JSON.parse(last) as string;
      const members = open.at(-1);
      if (members?.has(name)) throw malformed(`the message has the member "${name.slice(0, 64)}" twice`);
      members?.add(name);
    } else last = part;
  }
}
