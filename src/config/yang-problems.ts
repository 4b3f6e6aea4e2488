// libyang's errors as problems: with an operator's path, in our words, and without secrets, which libyang's texts may hold.

import { operatorPath, splitPath } from "./data-path.js";
import type { JsonObject } from "./document.js";
import { type Problem, type Rule, valueText } from "./problem.js";
import type { Schema, SchemaNode } from "./schema.js";
import { valueAt } from "./shape.js";
import { misplaced, typedValue, unknown, valueProblem } from "./wording.js";
import { findData, leafValue, pathOf, selectData } from "./yang-data.js";
import type { YangError } from "./yang-errors.js";

/** Where the values are that an error is about. */
export interface Evidence {
  /** What was parsed. */
  readonly document?: JsonObject | undefined;
  /** What was validated: the first node. */
  readonly first?: number;
}

/** libyang's path of an error; undefined when it tells only a line. */
function location({ path }: YangError): { text: string; isData: boolean } | undefined {
  const match = /^(Data|Schema) location "(.*)"(?:, line number \d+)?\.$/s.exec(path ?? "");
  return match ? { text: match[2], isData: match[1] === "Data" } : undefined;
}

export function problemOf(schema: Schema, error: YangError, evidence: Evidence): Problem {
  const at = location(error);
  const stranger = /^Node "(.*?)" not found (?:as a child of|in the) /.exec(error.message)?.[1];
  if (stranger !== undefined)
    return {
      path: `${at ? operatorPath(at.text) : ""}/${stranger}`,
      rule: "unknown-element",
      message: unknown(undefined),
    };
  const segments = at ? splitPath(at.text) : undefined;
  const node = at && schema.find(segments?.map(({ name }) => name) ?? []);
  if (!at || !node || !segments)
    return {
      path: at ? operatorPath(at.text) : "/",
      ...unplaced(error.message),
    };
  const appTag = error.appTag === undefined ? {} : { appTag: error.appTag };
  const absent = absence(schema, node, error, at.isData ? at.text : undefined, evidence);
  if (absent) return { ...absent, ...appTag };
  // A leaf-list's entry is told by its value.
  const last = segments[segments.length - 1];
  const own = last.keys.get(".");
  const path = operatorPath(at.text).replace(/\[\.="(?:[^"\\]|\\.)*"\]$/, "");
  const value =
    own !== undefined
      ? typedValue(node.type, own)
      : foundValue(schema, node, at.text, segments, error, evidence);
  return {
    path,
    ...described(node, value, error),
    ...(node.denyAll || value === undefined ? {} : { value: valueText(value) }),
    ...appTag,
  };
}

/** Something that is not there: the path names where it would be. */
function absence(
  schema: Schema,
  node: SchemaNode,
  { message }: YangError,
  data: string | undefined,
  { first = 0 }: Evidence,
): Problem | undefined {
  const fewer = /^Too (few|many) "/.exec(message);
  const isMissing = /^Mandatory node "/.test(message);
  if (!fewer && !isMissing) return undefined;
  const limit = fewer?.[1] === "few" ? node.minElements : node.maxElements;
  const { parent, name } = node;
  let path = operatorPath(data ?? node.path);
  if (data !== undefined) path = path.replace(/\[[^/]*$/, "");
  if (parent && data === undefined) {
    const condition = isMissing ? `not(${name})` : `count(${name}) < ${node.minElements}`;
    const [instance] = selectData(schema, first, `${parent.path}[${condition}]`);
    if (instance !== undefined) path = `${operatorPath(pathOf(instance))}/${name}`;
  }
  if (isMissing || (limit === 1 && fewer?.[1] === "few"))
    return { path, rule: "missing-element", message: "is missing" };
  const relation = fewer?.[1] === "few" ? "less" : "more";
  return { path, rule: "operation-failed", message: `has ${relation} than ${limit} entries` };
}

function foundValue(
  schema: Schema,
  node: SchemaNode,
  text: string,
  segments: readonly { name: string; keys: ReadonlyMap<string, string> }[],
  { message }: YangError,
  { document, first = 0 }: Evidence,
): unknown {
  if (node.kind !== "leaf" && node.kind !== "leaf-list") return undefined;
  if (document) {
    const value = valueAt(document, segments);
    if (!Array.isArray(value)) return value;
    // One of several: the one that the text names, or else the first one that its type refuses.
    const named = /"(.*?)"/.exec(message)?.[1];
    return (
      value.find((entry) => String(entry) === named) ??
      value.find((entry) => node.type && valueProblem(node.type, entry).message === message) ??
      value[0]
    );
  }
  if (first === 0) {
    const named = /value "(.*?)"/.exec(message)?.[1];
    return named === undefined ? undefined : typedValue(node.type, named);
  }
  const found = findData(schema, first, text);
  return found === 0 ? undefined : typedValue(node.type, leafValue(schema, found));
}

/** What it is about something that is there. */
function described(
  node: SchemaNode,
  value: unknown,
  { message }: YangError,
): { rule: Rule; message: string } {
  if (/^Duplicate instance of "/.test(message)) return { rule: "data-exists", message: "is there twice" };
  if (/^When condition "/.test(message)) return { rule: "unknown-element", message: misplaced(node) };
  if (/^Must condition "/.test(message))
    return { rule: "operation-failed", message: `does not agree with ${node.must[0]?.condition}` };
  if (/^Invalid leafref value "/.test(message)) {
    const list = /^\/(?:[\w-]+:)?([\w-]+)\//.exec(node.type?.path ?? "")?.[1];
    return { rule: "data-missing", message: list ? `names no entry of /${list}` : "names nothing" };
  }
  if (/^Unexpected data state node "/.test(message))
    return { rule: "unknown-element", message: unknown(node) };
  if (/^List instance is missing its key "/.test(message))
    return { rule: "missing-element", message: "is missing its key" };
  if (/^(Unsatisfied|Invalid|Value|Unexpected|Number|Failed|Zone) /.test(message) && node.type)
    return valueProblem(node.type, value);
  // The model's own words.
  const isMust = node.must.some((must) => must.message === message);
  return { rule: isMust ? "operation-failed" : "invalid-value", message };
}

/** Of an error without a place. */
function unplaced(message: string): { rule: Rule; message: string } {
  const module = /^No module named "(.*)" in the context/.exec(message);
  if (module) return { rule: "unknown-namespace", message: `there is no module ${module[1]}` };
  // Texts about values come with their places; what comes without one is about syntax.
  return { rule: "malformed-message", message: message.replace(/"[^"]*"/g, "…") };
}
