// Configuration in the manner of YANG statements, as the Vita in Lua has it: `spi 1234; route foo; gateway { ip 192.0.2.2; }`.
// A statement has a name and either a value or a block. Values are words or strings in quotes (RFC 7950, section 6.1.3);
// comments are as in YANG.

import { escapeXml } from "../config/xml.js";

/** One statement: a leaf with its value, or a container or list entry with its block. */
export interface Statement {
  readonly name: string;
  readonly value?: string;
  readonly block?: readonly Statement[];
  /** Line of the text where it begins, from 1 on. */
  readonly line: number;
}

/** The text is not made of statements. */
export class StatementError extends Error {
  constructor(line: number, what: string) {
    super(`line ${line}: ${what}`);
    this.name = "StatementError";
  }
}

type Token =
  | { readonly kind: "word"; readonly text: string; readonly line: number }
  | { readonly kind: ";" | "{" | "}" | "end"; readonly line: number };

const NAME = /^([A-Za-z_][A-Za-z0-9_.-]*:)?[A-Za-z_][A-Za-z0-9_.-]*$/;
/** Blocks may be so deep. */
const MAX_DEPTH = 32;

/** @throws StatementError */
export function parseStatements(text: string): Statement[] {
  const tokens = tokenize(text);
  let at = 0;
  const next = (): Token => tokens[at++];
  const block = (depth: number, isInner: boolean): Statement[] => {
    const statements: Statement[] = [];
    for (;;) {
      const token = next();
      if (token.kind === "end") {
        if (isInner) throw new StatementError(token.line, "the text ends within a block: a '}' is missing");
        return statements;
      }
      if (token.kind === "}") {
        if (!isInner) throw new StatementError(token.line, "there is a '}' without its '{'");
        return statements;
      }
      if (token.kind !== "word")
        throw new StatementError(token.line, `a name is expected, not '${token.kind}'`);
      if (!NAME.test(token.text))
        throw new StatementError(token.line, `${quote(shorten(token.text))} is not a name`);
      statements.push(rest(token.text, token.line, depth));
    }
  };
  const rest = (name: string, line: number, depth: number): Statement => {
    const token = next();
    if (token.kind === "{") {
      if (depth === MAX_DEPTH)
        throw new StatementError(token.line, `blocks are more than ${MAX_DEPTH} levels deep`);
      return { name, block: block(depth + 1, true), line };
    }
    if (token.kind !== "word")
      throw new StatementError(token.line, `${name} has neither a value nor a block`);
    const end = next();
    if (end.kind !== ";")
      throw new StatementError(
        line,
        `';' is missing behind ${name}${end.kind === "word" ? " and its value: values with blanks need quotes" : ""}`,
      );
    return { name, value: token.text, line };
  };
  return block(0, false);
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const c = text[at];
    if (c === "\n") line++;
    if (/\s/.test(c)) at++;
    else if (text.startsWith("//", at)) {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end;
    } else if (text.startsWith("/*", at)) {
      const end = text.indexOf("*/", at + 2);
      if (end < 0) throw new StatementError(line, "the comment that begins here has no '*/'");
      line += count(text.slice(at, end));
      at = end + 2;
    } else if (c === ";" || c === "{" || c === "}") {
      tokens.push({ kind: c, line });
      at++;
    } else if (c === '"' || c === "'") {
      const [value, end] = quoted(text, at, line);
      tokens.push({ kind: "word", text: value, line });
      line += count(text.slice(at, end));
      at = end;
    } else {
      const word = /^[^\s;{}"']+/.exec(text.slice(at, at + 65_536))?.[0] ?? c;
      tokens.push({ kind: "word", text: word, line });
      at += word.length;
    }
  }
  tokens.push({ kind: "end", line });
  return tokens;
}

/** The string that begins at a quote, and where it ends. Within double quotes there are \\n, \\t, \\" and \\\\. */
function quoted(text: string, start: number, line: number): [string, number] {
  const mark = text[start];
  let value = "";
  for (let at = start + 1; at < text.length; at++) {
    const c = text[at];
    if (c === mark) return [value, at + 1];
    if (c !== "\\" || mark === "'") value += c;
    else {
      const escaped = { n: "\n", t: "\t", '"': '"', "\\": "\\" }[text[++at] ?? ""];
      if (escaped === undefined)
        throw new StatementError(line, "behind a backslash there may be n, t, a double quote or a backslash");
      value += escaped;
    }
  }
  throw new StatementError(line, "the string that begins here has no end");
}

function count(text: string): number {
  return text.split("\n").length - 1;
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}…` : text;
}

/** A value as it is written: in quotes where it must be. */
export function quote(value: string): string {
  if (value !== "" && !/[\s;{}"'\\]|\/\/|\/\*/.test(value)) return value;
  const escapes: Record<string, string> = { "\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\" };
  return `"${value.replace(/[\n\t"\\]/g, (c) => escapes[c])}"`;
}

/**
 * RFC 7951 JSON as statements, one a line.
 * @param data members of a container or list entry
 */
export function printStatements(data: Readonly<Record<string, unknown>>, indent = ""): string {
  const lines: string[] = [];
  for (const [member, value] of Object.entries(data)) {
    // Annotations (RFC 7952) have no place here.
    if (member.startsWith("@")) continue;
    const name = member.slice(member.indexOf(":") + 1);
    for (const one of Array.isArray(value) && !isEmptyLeaf(value) ? value : [value])
      lines.push(printStatement(name, one, indent));
  }
  return lines.join("");
}

function printStatement(name: string, value: unknown, indent: string): string {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return `${indent}${name} ${quote(isEmptyLeaf(value) ? "" : String(value))};\n`;
  const inner = printStatements(value as Record<string, unknown>, `${indent}  `);
  return inner === "" ? `${indent}${name} {}\n` : `${indent}${name} {\n${inner}${indent}}\n`;
}

/** A leaf of type empty is [null] in JSON. */
function isEmptyLeaf(value: unknown): boolean {
  return Array.isArray(value) && value.length === 1 && value[0] === null;
}

/** Statements as XML elements without types or namespaces but the default one, which the element around them has. */
export function statementsToXml(statements: readonly Statement[]): string {
  return statements
    .map(({ name, value, block }) => {
      const element = name.slice(name.indexOf(":") + 1);
      return `<${element}>${value === undefined ? statementsToXml(block ?? []) : escapeXml(value)}</${element}>`;
    })
    .join("");
}
