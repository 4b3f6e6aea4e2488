// Conditional requests (RFC 9110, section 13; RFC 8040, section 3.4.1). The running datastore has one entity-tag, and all
// its resources share it: what a client has read is what it changes, or it is told.

import type { IncomingHttpHeaders } from "node:http";
import { failure } from "./errors.js";

export interface Validators {
  etag: string;
  lastModified: Date;
}

export function validatorHeaders({ etag, lastModified }: Validators): Record<string, string> {
  return { etag: quoted(etag), "last-modified": lastModified.toUTCString() };
}

function quoted(etag: string): string {
  return etag.startsWith('"') ? etag : `"${etag}"`;
}

/** Does one of the entity-tags of a header match? Weak ones never do where `strong` comparison is due. */
function matches(header: string, etag: string, strong: boolean): boolean {
  const tags = header.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.some((tag) => (strong ? tag : tag.replace(/^W\//, "")) === quoted(etag));
}

/** Milliseconds; undefined for what is no date, which RFC 9110 has ignored. */
function dateOf(header: string | undefined): number | undefined {
  const time = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(time) ? undefined : time;
}

function failed(message: string) {
  return failure("operation-failed", message, { status: 412 });
}

/**
 * @param exists whether the target is there now
 * @returns "not modified" for a GET or HEAD that should be answered by 304
 * @throws RestconfError 412
 */
export function checkPreconditions(
  method: string,
  headers: IncomingHttpHeaders,
  current: Validators,
  exists: () => boolean,
): "go on" | "not modified" {
  const reads = method === "GET" || method === "HEAD";
  // HTTP dates have whole seconds.
  const changed = Math.floor(current.lastModified.getTime() / 1000) * 1000;
  const ifMatch = headers["if-match"];
  const unmodifiedSince = dateOf(headers["if-unmodified-since"]);
  if (ifMatch !== undefined) {
    const holds = ifMatch.trim() === "*" ? exists() : matches(ifMatch, current.etag, true);
    if (!holds)
      throw failed("If-Match does not hold: the configuration has changed, or the resource is not there");
  } else if (unmodifiedSince !== undefined && changed > unmodifiedSince) {
    throw failed("If-Unmodified-Since does not hold: the configuration has changed");
  }
  const ifNoneMatch = headers["if-none-match"];
  const modifiedSince = dateOf(headers["if-modified-since"]);
  if (ifNoneMatch !== undefined) {
    const same = ifNoneMatch.trim() === "*" ? exists() : matches(ifNoneMatch, current.etag, false);
    if (!same) return "go on";
    if (reads) return "not modified";
    throw failed("If-None-Match does not hold: the resource is there");
  }
  return reads && modifiedSince !== undefined && changed <= modifiedSince ? "not modified" : "go on";
}

/** The tag that must still hold when an edit is committed; undefined when the client has not asked for it. */
export function expectedTag(headers: IncomingHttpHeaders, current: Validators): string | undefined {
  const conditional = headers["if-match"] !== undefined || headers["if-unmodified-since"] !== undefined;
  return conditional ? current.etag : undefined;
}
