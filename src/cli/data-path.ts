// Paths of data as operators write them, `/inbound-sa[spi=1234]/route`, and as RESTCONF has them in a URI (RFC 8040,
// section 3.5.3), `vita-gateway:inbound-sa=1234/route`.

import { MODULE_NAME } from "../config/schema.js";

export interface Segment {
  readonly name: string;
  /** Keys in the order in which they are written; a leaf-list's value has the name `.`. */
  readonly keys: readonly (readonly [name: string, value: string])[];
}

/** @throws Error that says what is wrong with the path */
export function parsePath(path: string): Segment[] {
  if (!path.startsWith("/"))
    throw new Error(`${path}: a path begins with '/', such as /inbound-sa[spi=1234]`);
  const segments: Segment[] = [];
  let rest = path === "/" ? "" : path;
  while (rest !== "") {
    const head = /^\/([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)/.exec(rest);
    if (!head) throw new Error(`${path}: a name is expected at ${JSON.stringify(rest)}`);
    rest = rest.slice(head[0].length);
    const keys: [string, string][] = [];
    for (;;) {
      const key =
        /^\[\s*(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*|\.)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\]"']*?))\s*\]/.exec(
          rest,
        );
      if (!key) break;
      keys.push([key[1], key[2] ?? key[3] ?? key[4]]);
      rest = rest.slice(key[0].length);
    }
    if (rest.startsWith("["))
      throw new Error(`${path}: a key is expected at ${JSON.stringify(rest)}, such as [spi=1234]`);
    segments.push({ name: head[2], keys });
  }
  return segments;
}

/** The path of a data resource below `/restconf/data`. */
export function restconfPath(segments: readonly Segment[]): string {
  return segments
    .map(({ name, keys }, i) => {
      const qualified = i === 0 ? `${MODULE_NAME}:${name}` : name;
      const values = keys.map(([, value]) => encodeURIComponent(value).replaceAll("'", "%27"));
      return values.length === 0 ? `/${qualified}` : `/${qualified}=${values.join(",")}`;
    })
    .join("");
}

/** As it is written for people. */
export function formatPath(segments: readonly Segment[]): string {
  if (segments.length === 0) return "/";
  return segments
    .map(
      ({ name, keys }) =>
        `/${name}${keys.map(([key, value]) => `[${key}=${JSON.stringify(value)}]`).join("")}`,
    )
    .join("");
}
