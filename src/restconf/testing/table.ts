// A table of requests, each row a test: what is asked, and what must come back.

import assert from "node:assert/strict";
import { type Ask, errorOf, type Reply, type Rig } from "./rig.js";

export interface Row extends Ask {
  /** Names the row where method and path do not. */
  title?: string;
  path: string;
  status: number;
  /** Headers that the answer must have; undefined for those that it must not have. */
  has?: Record<string, string | RegExp | undefined>;
  /** The body as JSON, exactly. */
  json?: object;
  /** What the body's text must match. */
  text?: RegExp | RegExp[];
  not?: RegExp;
  /** error-tag of the first error. */
  tag?: string;
  /** What its error-path and error-message must match. */
  errorPath?: string;
  message?: RegExp;
  check?: (reply: Reply, rig: Rig) => void | Promise<void>;
}

export function titleOf(row: Row): string {
  const headers = Object.entries(row.headers ?? {}).map(([name, value]) => ` ${name}: ${value}`);
  return `${row.title ? `${row.title}: ` : ""}${row.method ?? "GET"} ${row.path.slice(0, 120)}${headers.join("")} → ${row.status}`;
}

export async function checkRow(rig: Rig, row: Row): Promise<void> {
  const reply = await rig.ask(row.path, row);
  assert.equal(reply.status, row.status, reply.text.slice(0, 1000));
  for (const [name, expected] of Object.entries(row.has ?? {})) {
    const value = reply.headers[name];
    if (expected instanceof RegExp) assert.match(String(value), expected, name);
    else assert.equal(value, expected, name);
  }
  if (row.json) assert.deepEqual(reply.json, row.json);
  for (const pattern of [row.text ?? []].flat()) assert.match(reply.text, pattern);
  if (row.not) assert.doesNotMatch(reply.text, row.not);
  const error = errorOf(reply);
  if (row.tag) assert.equal(error["error-tag"], row.tag, reply.text);
  if (row.errorPath) assert.equal(error["error-path"], row.errorPath);
  if (row.message) assert.match(String(error["error-message"]), row.message);
  if (row.status >= 400 && row.method !== "HEAD") {
    assert.ok(
      error["error-tag"] !== undefined || /<error-tag>|yang-patch-status/.test(reply.text),
      reply.text,
    );
  }
  await row.check?.(reply, rig);
}
