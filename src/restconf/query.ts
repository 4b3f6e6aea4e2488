// Query parameters (RFC 8040, section 4.8): each resource and method says which ones it takes. One that is unknown, comes
// twice, or has a value that it cannot have, is an error, never ignored.

import { invalidValue } from "./errors.js";

/** Turns the text of a parameter into its value, or throws. */
type Reader<T> = (text: string) => T;
type Values<R> = { [K in keyof R]?: R[K] extends Reader<infer T> ? T : never };

/**
 * @param raw what follows the question mark, still percent-encoded
 * @throws RestconfError invalid-value
 */
export function readQuery<R extends Record<string, Reader<unknown>>>(raw: string, readers: R): Values<R> {
  const values: Record<string, unknown> = {};
  for (const part of raw === "" ? [] : raw.split("&")) {
    const equals = part.indexOf("=");
    const name = decode(equals < 0 ? part : part.slice(0, equals));
    const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
    if (!reader) throw invalidValue(`query parameter "${name.slice(0, 64)}" is not for this request`);
    if (Object.hasOwn(values, name)) throw invalidValue(`query parameter "${name}" comes twice`);
    values[name] = reader(equals < 0 ? "" : decode(part.slice(equals + 1)));
  }
  return values as Values<R>;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidValue("the query is not percent-encoded UTF-8");
  }
}

function oneOf<T extends string>(name: string, values: readonly T[]): Reader<T> {
  return (text) => {
    const value = values.find((candidate) => candidate === text);
    if (value) return value;
    throw invalidValue(`query parameter "${name}": "${text.slice(0, 64)}" is none of ${values.join(", ")}`);
  };
}

function numberUpTo(name: string, most: number): Reader<number> {
  return (text) => {
    const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
    if (value >= 1 && value <= most) return value;
    throw invalidValue(`query parameter "${name}": "${text.slice(0, 64)}" is not a number from 1 to ${most}`);
  };
}

const depth: Reader<number> = (text) =>
  text === "unbounded" ? Number.POSITIVE_INFINITY : numberUpTo("depth", 65535)(text);

function notBlank(name: string): Reader<string> {
  return (text) => {
    if (text !== "") return text;
    throw invalidValue(`query parameter "${name}" is empty`);
  };
}

const flag: Reader<true> = (text) => {
  if (text === "" || text === "true") return true;
  throw invalidValue('query parameter "vita-dry-run" has no value but "true"');
};

const comment: Reader<string> = (text) => {
  // As the model has it for a rollback's.
  if (text.length <= 256 && !/\p{Cc}/u.test(text)) return text;
  throw invalidValue('query parameter "vita-comment" is not one line of at most 256 characters');
};

export const getReaders = {
  content: oneOf("content", ["all", "config", "nonconfig"]),
  depth,
  fields: notBlank("fields"),
  "with-defaults": oneOf("with-defaults", ["report-all", "trim", "explicit"]),
} as const;

/** For every edit: what is Vita's own begins with `vita-`. */
export const editReaders = {
  "vita-dry-run": flag,
  "vita-confirm": numberUpTo("vita-confirm", 86400),
  "vita-comment": comment,
} as const;

/** For POST and PUT. */
export const insertReaders = {
  ...editReaders,
  insert: oneOf("insert", ["first", "last", "before", "after"]),
  point: notBlank("point"),
} as const;

export type GetQuery = Values<typeof getReaders>;
export type EditQuery = Values<typeof insertReaders>;
