// Data paths: as an operator writes them, `/route[id="foo"]/gateway/ip`, `/inbound-sa[spi=1234]`, and as libyang does,
// `/vita-gateway:route[id='foo']/gateway/ip`.

import { ConfigurationError } from "./problem.js";
import { MODULE_NAME, type Schema, type SchemaNode } from "./schema.js";

export interface Step {
  readonly node: SchemaNode;
  /** Of a list's entry, every key; of a leaf-list's, `.`. Empty: all entries. */
  readonly keys: ReadonlyMap<string, string>;
}

export interface DataPath {
  /** None: the whole datastore. */
  readonly steps: readonly Step[];
  /** As libyang writes it. */
  readonly text: string;
}

/** A step of a path, before the model has been asked about it. */
export interface Segment {
  readonly prefix?: string | undefined;
  readonly name: string;
  /** In the order in which they are written; of a leaf-list's entry, `.`. */
  readonly keys: ReadonlyMap<string, string>;
}

const SEGMENT = /\/(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)/y;
const PREDICATE =
  /\[\s*(?:[A-Za-z_][\w.-]*:)?(\.|[A-Za-z_][\w.-]*)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^\]'"]*?))\s*\]/y;

/** The steps of a path; undefined when the text is none. */
export function splitPath(text: string): Segment[] | undefined {
  const { segments, rest } = readPath(text);
  return rest === "" ? segments : undefined;
}

/** The steps of a path as far as they can be read. @returns what follows them, too: nothing, if the text is a path */
export function readPath(text: string): { segments: Segment[]; rest: string } {
  const segments: Segment[] = [];
  let at = 0;
  const next = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  while (at < text.length) {
    const segment = next(SEGMENT);
    if (!segment) break;
    const keys = new Map<string, string>();
    for (let before = at, predicate = next(PREDICATE); predicate; before = at, predicate = next(PREDICATE)) {
      if (keys.has(predicate[1])) return { segments, rest: text.slice(before) };
      keys.set(predicate[1], predicate[2] ?? predicate[3] ?? predicate[4]);
    }
    segments.push({ prefix: segment[1], name: segment[2], keys });
  }
  return { segments, rest: text.slice(at) };
}

/** May a name of our module have this prefix in a path? */
export const isOwnPrefix = (prefix: string | undefined): boolean =>
  prefix === undefined || prefix === MODULE_NAME || prefix === "vita";

const fail = (path: string, rule: "invalid-value" | "unknown-element" | "missing-element", message: string) =>
  new ConfigurationError("", [{ path, rule, message }]);

/**
 * Finds what a path names in the model.
 * @throws ConfigurationError when it names nothing there, or leaves out keys on its way
 */
export function parsePath(schema: Schema, text: string): DataPath {
  const trimmed = text.trim();
  const segments = trimmed === "/" || trimmed === "" ? [] : splitPath(trimmed);
  if (!segments) throw fail(text, "invalid-value", 'is not a path, such as /route[id="foo"]/gateway');
  const steps: Step[] = [];
  let children: readonly SchemaNode[] = [...schema.top.values()];
  for (const [index, { prefix, name, keys }] of segments.entries()) {
    const node = isOwnPrefix(prefix) ? children.find((child) => child.name === name) : undefined;
    const before = steps.length === 0 ? "" : operatorPath(formatSteps(steps));
    const here = `${before}/${prefix ? `${prefix}:` : ""}${name}`;
    if (!node) throw fail(here, "unknown-element", "there is nothing of this name");
    const wanted = node.kind === "list" ? node.keys : node.kind === "leaf-list" ? ["."] : [];
    for (const key of keys.keys())
      if (!wanted.includes(key)) throw fail(here, "unknown-element", `has no key ${JSON.stringify(key)}`);
    if (keys.size !== wanted.length && (keys.size > 0 || index < segments.length - 1)) {
      const missing = wanted.find((key) => !keys.has(key)) ?? "";
      throw fail(here, "missing-element", `needs its key here: ${name}[${missing}=…]`);
    }
    for (const value of keys.values())
      if (value.includes("'") && value.includes('"'))
        throw fail(here, "invalid-value", "has a key with both kinds of quotes, which no path can name");
    steps.push({ node, keys });
    children = node.children;
  }
  return { steps, text: formatSteps(steps) };
}

/** As libyang writes a path. */
export function formatSteps(steps: readonly Step[]): string {
  if (steps.length === 0) return "/";
  return steps
    .map(({ node, keys }, i) => {
      const prefix = i === 0 || node.module !== steps[i - 1].node.module ? `${node.module}:` : "";
      const predicates = [...keys].map(([key, value]) => {
        const quote = value.includes("'") ? '"' : "'";
        return `[${key}=${quote}${value}${quote}]`;
      });
      return `/${prefix}${node.name}${predicates.join("")}`;
    })
    .join("");
}

/** A path of libyang's as operators write it. */
export function operatorPath(text: string): string {
  const segments = text === "/" ? [] : splitPath(text);
  // Not a path that this page knows: whatever it is, it says where to look.
  return segments ? formatSegments(segments) : text;
}

/** As operators write a path. */
export function formatSegments(segments: readonly Segment[]): string {
  if (segments.length === 0) return "/";
  return segments
    .map(
      ({ name, keys }) =>
        `/${name}${[...keys].map(([key, value]) => `[${key}=${JSON.stringify(value)}]`).join("")}`,
    )
    .join("");
}
