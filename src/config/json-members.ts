// Does a text have a member twice, or is it nested too deep? JSON.parse takes the last member and says nothing. Reading a text of some megabytes word by
// word (json-scan.ts) takes longer than parsing it, and is only worth it where the numbers of members differ: of those that
// stand in the text, and of those that were found in it.

import type { JsonObject } from "./document.js";
import { DEEPEST, localName } from "./json-scan.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Is there something that only a reading word by word can tell: a member that stands twice, or too deep a nesting?
 * @param text JSON @param document what JSON.parse has made of it
 */
export function needsScan(text: string, document: unknown): boolean {
  return membersOf(text) !== differentMembers(document);
}

/** Each member has a colon, and no other colon stands outside of strings. Less than 0 where the text is nested too deep. */
function membersOf(text: string): number {
  let count = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const sign = text.charCodeAt(i);
    if (sign === COLON) count++;
    else if (sign === OPEN_BRACE || sign === OPEN_BRACKET) {
      if (++depth > DEEPEST) return -1;
    } else if (sign === CLOSE_BRACE || sign === CLOSE_BRACKET) depth--;
    if (sign !== QUOTE) continue;
    for (i++; text.charCodeAt(i) !== QUOTE; i++) if (text.charCodeAt(i) === BACKSLASH) i++;
  }
  return count;
}

/** One whose name stands there with and without its module counts once. */
function differentMembers(document: unknown): number {
  let count = 0;
  const waiting: unknown[] = [document];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (typeof value !== "object" || value === null) continue;
    if (Array.isArray(value)) {
      for (const element of value) waiting.push(element);
      continue;
    }
    for (const name of Object.keys(value)) {
      const content: unknown = (value as JsonObject)[name];
      const local = localName(name);
      if (local === name || !Object.hasOwn(value, local)) count++;
      if (typeof content === "object") waiting.push(content);
    }
  }
  return count;
}
