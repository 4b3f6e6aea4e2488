// Does a text have a member twice? JSON.parse takes the last one and says nothing. Reading a text of some megabytes word by
// word (json-scan.ts) takes longer than parsing it, and is only worth it where the numbers of members differ: of those that
// stand in the text, and of those that were found in it.

import { localName } from "./json-scan.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/** @param text JSON @param document what JSON.parse has made of it */
export function hasTwice(text: string, document: unknown): boolean {
  return membersOf(text) !== differentMembers(document);
}

/** Each member has a colon, and no other colon stands outside of strings. */
function membersOf(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const sign = text.charCodeAt(i);
    if (sign === COLON) count++;
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
    for (const [name, content] of Object.entries(value)) {
      const local = localName(name);
      if (local === name || !Object.hasOwn(value, local)) count++;
      if (typeof content === "object") waiting.push(content);
    }
  }
  return count;
}
