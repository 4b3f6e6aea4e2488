// Paths of data as operators write them, `/inbound-sa[spi=1234]/route`, and as RESTCONF has them in a URI (RFC 8040,
// section 3.5.3), `vita-gateway:inbound-sa=1234/route`.

import { readPath, type Segment } from "../config/data-path.js";
import { MODULE_NAME } from "../config/schema.js";
import { encodeKey } from "../restconf/path.js";

/** @throws Error that says what is wrong with the path */
export function parsePath(path: string): Segment[] {
  if (!path.startsWith("/"))
    throw new Error(`${path}: a path begins with '/', such as /inbound-sa[spi=1234]`);
  const { segments, rest } = readPath(path === "/" ? "" : path);
  if (rest === "") return segments;
  throw new Error(
    rest.startsWith("[")
      ? `${path}: a key is expected at ${JSON.stringify(rest)}, such as [spi=1234], and each of them once`
      : `${path}: a name is expected at ${JSON.stringify(rest)}`,
  );
}

/** The path of a data resource below `/restconf/data`. */
export function restconfPath(segments: readonly Segment[]): string {
  return segments
    .map(({ name, keys }, i) => {
      const qualified = i === 0 ? `${MODULE_NAME}:${name}` : name;
      return keys.size === 0
        ? `/${qualified}`
        : `/${qualified}=${[...keys.values()].map(encodeKey).join(",")}`;
    })
    .join("");
}
