// Values on the command line, and the documents that RESTCONF wants in their place. A value is JSON (RFC 7951) or
// statements (statements.ts) for containers and list entries, and a plain word or JSON for leaves.

import type { Segment } from "../config/data-path.js";
import { parseJsonValue } from "../config/document.js";
import { ConfigurationError } from "../config/problem.js";
import { MODULE_NAME } from "../config/schema.js";
import { escapeXml } from "../config/xml.js";
import { CliError, EXIT_USAGE } from "./exit-codes.js";
import { parseStatements, type Statement, statementsToXml } from "./statements.js";

export interface Document {
  readonly text: string;
  readonly contentType: "application/yang-data+json" | "application/yang-data+xml";
}

/** What a path leads to. */
export type TargetKind = "leaf" | "leaf-list" | "container" | "list";

export const NAMESPACE = "urn:vita:gateway";

/**
 * The document for the node that a path leads to: its content, and the keys that the path has.
 * @throws CliError when the value is neither JSON nor statements
 */
export function documentOf(segment: Segment, kind: TargetKind, value: string): Document {
  const { name } = segment;
  const text = value.trim();
  if (kind === "leaf" || kind === "leaf-list")
    return xml(`<${name} xmlns="${NAMESPACE}">${escapeXml(scalar(text))}</${name}>`);
  if (text.startsWith("{") || text.startsWith("[")) {
    const content = contentOf(name, parseJson(text, "the value"));
    if (kind === "container") return json({ [`${MODULE_NAME}:${name}`]: content });
    const keys = Object.fromEntries([...segment.keys].filter(([key]) => !(key in (content as object))));
    return json({ [`${MODULE_NAME}:${name}`]: [{ ...keys, ...(content as object) }] });
  }
  let statements: Statement[];
  try {
    statements = parseStatements(text);
  } catch (error) {
    throw new CliError(`the value is neither JSON nor statements: ${(error as Error).message}`, EXIT_USAGE);
  }
  // The whole entry may be written with its name: `inbound-sa { spi 1234; … }`.
  const [only] = statements;
  if (statements.length === 1 && only.name === name && only.block) statements = [...only.block];
  const missing = [...segment.keys].filter(
    ([key]) => !statements.some((statement) => statement.name === key),
  );
  const keys = missing.map(([key, its]) => `<${key}>${escapeXml(its)}</${key}>`).join("");
  return xml(`<${name} xmlns="${NAMESPACE}">${keys}${statementsToXml(statements)}</${name}>`);
}

export interface PlainDocument {
  readonly text: string;
  readonly format: "json" | "xml";
}

/**
 * A whole configuration from a file, JSON, XML or statements, as `vita run` reads it.
 * @param source names it in errors
 * @throws CliError
 */
export function plainDocument(value: string, source: string): PlainDocument {
  const text = value.trim();
  if (text.startsWith("{")) {
    const document = parseJson(text, source) as Record<string, object>;
    return { text: JSON.stringify(document["ietf-restconf:data"] ?? document), format: "json" };
  }
  if (text.startsWith("<")) {
    const inner = /^(?:<\?[^>]*>\s*)?<([\w-]+:)?data(?:\s[^>]*)?>([\s\S]*)<\/([\w-]+:)?data>$/.exec(text);
    return { text: inner ? inner[2] : text.replace(/^<\?[^>]*>/, ""), format: "xml" };
  }
  try {
    const elements = parseStatements(text).map((statement) =>
      statementsToXml([statement]).replace(/^<([\w.-]+)>/, `<$1 xmlns="${NAMESPACE}">`),
    );
    return { text: elements.join(""), format: "xml" };
  } catch (error) {
    throw new CliError(
      `${source}: is neither JSON, XML nor statements: ${(error as Error).message}`,
      EXIT_USAGE,
    );
  }
}

/** The same as RESTCONF has it. */
export function datastoreDocument({ text, format }: PlainDocument): Document {
  if (format === "xml") return xml(`<data xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf">${text}</data>`);
  const members = Object.entries(JSON.parse(text) as object);
  const data = Object.fromEntries(
    members.map(([name, its]) => [name.includes(":") ? name : `${MODULE_NAME}:${name}`, its]),
  );
  return json({ "ietf-restconf:data": data });
}

/** A leaf's value: a JSON string loses its quotes, a statement's end its semicolon; all else is taken as it stands. */
function scalar(text: string): string {
  const quoted = /^("(?:[^"\\]|\\.)*")\s*;?$/s.exec(text);
  if (quoted) {
    try {
      return JSON.parse(quoted[1]) as string;
    } catch {
      // Not JSON's own escapes: taken as it stands.
    }
  }
  return text;
}

function parseJson(text: string, source: string): unknown {
  try {
    return parseJsonValue(text, source);
  } catch (error) {
    throw error instanceof ConfigurationError ? new CliError(error.message, EXIT_USAGE) : error;
  }
}

/** The content of one node, where it may be wrapped in its name, and be the one entry of an array. */
function contentOf(name: string, value: unknown): unknown {
  let content = value;
  if (typeof content === "object" && content !== null && !Array.isArray(content)) {
    const members = Object.keys(content);
    if (members.length === 1 && (members[0] === `${MODULE_NAME}:${name}` || members[0] === name)) {
      const inner = (content as Record<string, unknown>)[members[0]];
      if (typeof inner === "object") content = inner;
    }
  }
  if (Array.isArray(content)) {
    if (content.length !== 1)
      throw new CliError(
        `one entry at a time, not ${content.length}: load takes whole configurations`,
        EXIT_USAGE,
      );
    content = content[0];
  }
  if (typeof content !== "object" || content === null)
    throw new CliError(`${name} has leaves of its own: its value is an object, or statements`, EXIT_USAGE);
  return content;
}

function json(value: unknown): Document {
  return { text: JSON.stringify(value), contentType: "application/yang-data+json" };
}

function xml(text: string): Document {
  return { text, contentType: "application/yang-data+xml" };
}
