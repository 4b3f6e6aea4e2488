// Media types: which form a client's body has, and which one it wants to read (RFC 8040, section 5.2; RFC 9110,
// section 12.5.1).

import type { Format } from "../config/tree.js";
import { failure } from "./errors.js";

export const yangData: Record<Format, string> = {
  json: "application/yang-data+json",
  xml: "application/yang-data+xml",
};
export const yangPatch: Record<Format, string> = {
  json: "application/yang-patch+json",
  xml: "application/yang-patch+xml",
};

interface Range {
  type: string;
  quality: number;
}

function ranges(accept: string): Range[] {
  return accept.split(",").map((part) => {
    const [type = "", ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    const quality = q === undefined ? 1 : Number(q.slice(2));
    return { type, quality: quality >= 0 && quality <= 1 ? quality : 0 };
  });
}

/** Quality of a media type: that of the most specific range that it matches, 0 when there is none. */
function qualityOf(type: string, accepted: Range[]): number {
  const group = `${type.split("/")[0]}/*`;
  for (const candidate of [type, group, "*/*"]) {
    const range = accepted.find((entry) => entry.type === candidate);
    if (range) return range.quality;
  }
  return 0;
}

/** The one of `types` that the client likes best, the first of equals; undefined when it accepts none of them. */
export function preferred<T extends string>(accept: string | undefined, types: readonly T[]): T | undefined {
  if (accept === undefined || accept.trim() === "") return types[0];
  const accepted = ranges(accept);
  let best: T | undefined;
  let bestQuality = 0;
  for (const type of types) {
    const quality = qualityOf(type, accepted);
    if (quality > bestQuality) {
      best = type;
      bestQuality = quality;
    }
  }
  return best;
}

/** Form of an answer. Where the client does not care, it is that of its body, else JSON. */
export function answerFormat(
  accept: string | undefined,
  contentType: string | undefined,
): Format | undefined {
  const own: Format[] = contentType?.includes("xml") ? ["xml", "json"] : ["json", "xml"];
  const chosen = preferred(
    accept,
    own.map((format) => yangData[format]),
  );
  return own.find((format) => yangData[format] === chosen);
}

/** @throws RestconfError 406 */
export function requireFormat(accept: string | undefined, contentType: string | undefined): Format {
  const format = answerFormat(accept, contentType);
  if (format) return format;
  throw failure("invalid-value", `the answer is ${yangData.json} or ${yangData.xml}, which Accept has not`, {
    status: 406,
  });
}

/**
 * Form of a request's body.
 * @throws RestconfError 415
 */
export function bodyFormat(
  contentType: string | undefined,
  types: Record<Format, string> = yangData,
): Format | undefined {
  const [type = "", ...parameters] = (contentType ?? "").split(";").map((text) => text.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith("charset="))?.slice(8);
  if (charset !== undefined && charset.replaceAll('"', "") !== "utf-8") {
    throw failure("invalid-value", "the message's charset is not utf-8", { status: 415 });
  }
  return (["json", "xml"] as const).find((format) => types[format] === type);
}

/** @throws RestconfError 415 */
export function requireBodyFormat(contentType: string | undefined): Format {
  const format = bodyFormat(contentType);
  if (format) return format;
  throw unsupported(contentType, Object.values(yangData));
}

/** @throws RestconfError 415 (RFC 9110, section 15.5.16) when a body is not as it is: nothing is unpacked here */
export function refuseEncoded(contentEncoding: string | undefined): void {
  if (contentEncoding === undefined || contentEncoding.trim().toLowerCase() === "identity") return;
  throw failure("invalid-value", "a message with a Content-Encoding is not taken", {
    status: 415,
    headers: { "accept-encoding": "identity" },
  });
}

export function unsupported(contentType: string | undefined, types: readonly string[]) {
  const what = contentType === undefined ? "without a Content-Type" : `of type ${contentType.slice(0, 80)}`;
  return failure("invalid-value", `a message ${what} is not taken: ${types.join(", ")} are`, {
    status: 415,
    headers: { accept: types.join(", ") },
  });
}
