// What JSON.parse does not tell of a text: the place where it stops being JSON, members that stand twice, and nesting without
// end, which nobody could recurse into.

import { MODULE_NAME } from "./schema.js";

const TOKEN =
  /[ \t\n\r]*(?:(")|([{}[\],:])|(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-]))/y;
/** What is between a string's quotation marks, in parts: no expression can take millions of them at once. */
const PART = /[^"\\\n\r\t]+|(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,1000}/y;
const SPACE = /[ \t\n\r]*/y;
/** Levels of a document. Nothing in the model is nested deeper. */
export const DEEPEST = 64;

/** A name without its module, when that is vita-gateway. */
export const localName = (name: string): string =>
  name.startsWith(`${MODULE_NAME}:`) ? name.slice(MODULE_NAME.length + 1) : name;

/** An object or array that is open. */
interface Open {
  /** Of an object: those that have been. */
  readonly names: Set<string> | undefined;
  /** The member, or the number of the element, that is being read. */
  name: string;
  index: number;
}

type Expected = "value" | "value or ]" | "name" | "name or }" | ":" | ", or end" | "nothing";

export interface Finding {
  readonly path: string;
  readonly message: string;
}

/** The first thing that is wrong with a text; undefined for good JSON. Nothing of the text but names is told. */
export function scanJson(text: string): Finding | undefined {
  const open: Open[] = [];
  let expected: Expected = "value";
  let at = 0;
  const path = () =>
    open.map(({ names, name, index }) => (names ? `/${name}` : `[${index + 1}]`)).join("") || "/";
  const wrong = (): Finding => {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    const before = text.slice(0, SPACE.lastIndex).split("\n");
    const rest = text.slice(SPACE.lastIndex);
    // A text that breaks off in the middle of a token is one that ends too early.
    if (/^(?:"[^"\n]*|-|t|tr|tru|f|fa|fal|fals|n|nu|nul)?$/.test(rest))
      return { path: "/", message: `is not JSON: it ends too early, in line ${before.length}` };
    const column = before[before.length - 1].length + 1;
    return { path: "/", message: `is not JSON: line ${before.length}, column ${column}` };
  };
  const afterValue = (): Expected => (open.length > 0 ? ", or end" : "nothing");
  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) {
      SPACE.lastIndex = at;
      SPACE.exec(text);
      return SPACE.lastIndex === text.length && expected === "nothing" ? undefined : wrong();
    }
    const [, quote, sign] = match;
    const begin = TOKEN.lastIndex - 1;
    const end = quote === undefined ? TOKEN.lastIndex : endOfString(text, begin);
    if (end === undefined) return wrong();
    const inner = open[open.length - 1];
    if (sign === undefined) {
      if (quote !== undefined && (expected === "name" || expected === "name or }")) {
        const name = localName(JSON.parse(text.slice(begin, end)) as string);
        inner.name = name;
        if (inner.names?.has(name)) return { path: path(), message: "is there twice" };
        inner.names?.add(name);
        expected = ":";
      } else if (expected === "value" || expected === "value or ]") expected = afterValue();
      else return wrong();
    } else if (sign === "{" || sign === "[") {
      if (expected !== "value" && expected !== "value or ]") return wrong();
      if (open.length === DEEPEST) return { path: "/", message: `is nested deeper than ${DEEPEST} levels` };
      open.push({ names: sign === "{" ? new Set() : undefined, name: "", index: 0 });
      expected = sign === "{" ? "name or }" : "value or ]";
    } else if (sign === "}" || sign === "]") {
      const empty = sign === "}" ? "name or }" : "value or ]";
      if ((expected !== ", or end" && expected !== empty) || (inner.names !== undefined) !== (sign === "}"))
        return wrong();
      open.pop();
      expected = afterValue();
    } else if (sign === ",") {
      if (expected !== ", or end") return wrong();
      inner.index++;
      expected = inner.names ? "name" : "value";
    } else {
      if (expected !== ":") return wrong();
      expected = "value";
    }
    at = end;
  }
}

/** Where a string ends that begins at a quotation mark; undefined when it is none. */
function endOfString(text: string, begin: number): number | undefined {
  PART.lastIndex = begin + 1;
  for (;;) {
    const at = PART.lastIndex;
    if (PART.test(text)) continue;
    return text[at] === '"' ? at + 1 : undefined;
  }
}
