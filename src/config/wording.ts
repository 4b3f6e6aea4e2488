// What is said about a value that its type does not allow, in one manner wherever it comes from.

import type { Rule } from "./problem.js";
import type { SchemaNode, SchemaType } from "./schema.js";

/** For types of which libyang says only that nothing in them fits. */
const typedefs: Record<string, string> = {
  number32: 'is not a number from 0 to 4294967295 ("0x2a" will do)',
  "interface-address":
    "is not an address of a host with its prefix length, such as 192.0.2.1/24 or 2001:db8::1/64",
  "ip-prefix": "is not a prefix, such as 10.1.0.0/16 or 2001:db8::/32",
  "ip-address-no-zone": "is not an IP address",
  "address-selector":
    "is not a selector of addresses, such as 10.1.0.0/16 or 10.1.0.1[tcp/443] (dynamic is for IKE's children alone)",
  "ip-selector": "is not a traffic selector, such as 10.1.0.0/16, dynamic or 10.1.0.1[tcp/443]",
};

const bounds: Partial<Record<SchemaType["base"], [number, number]>> = {
  uint8: [0, 0xff],
  uint16: [0, 0xffff],
  uint32: [0, 0xffffffff],
  uint64: [0, 2 ** 64],
  int8: [-0x80, 0x7f],
  int16: [-0x8000, 0x7fff],
  int32: [-0x80000000, 0x7fffffff],
  int64: [-(2 ** 63), 2 ** 63],
};

/**
 * Why a leaf cannot have a value.
 * @param value as JSON has it, or as text
 */
export function valueProblem(type: SchemaType, value: unknown): { rule: Rule; message: string } {
  return { rule: "invalid-value", message: reason(type, value) };
}

function reason(type: SchemaType, value: unknown): string {
  const { base } = type;
  if (typeof value === "object") return `is not ${article(type)}`;
  const named = typedefs[type.typedef ?? ""];
  if (named !== undefined) return named;
  if (base === "enumeration") return `is none of ${type.enums?.map(({ name }) => `"${name}"`).join(", ")}`;
  if (base === "boolean") return "is not a boolean";
  if (base === "uint64" || base === "int64")
    return typeof value === "string" && !/^[+-]?\d+$/.test(value)
      ? "is not a whole number"
      : 'is not a 64-bit number, which stands in quotes: "1000"';
  const bound = bounds[base];
  if (bound) {
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (typeof value === "boolean" || !Number.isInteger(number)) return "is not a whole number";
    return outside(Number(number), type.ranges ?? [bound], type.message) ?? "is not a number, but text";
  }
  if (typeof value !== "string") return "is not text";
  const length = [...value].length;
  if (type.lengths && outside(length, type.lengths) !== undefined)
    return type.message ?? (length < type.lengths[0][0] ? "is too short" : "is too long");
  const pattern = type.patterns?.find(({ pattern, inverted }) => matches(pattern, value) === inverted);
  if (pattern) return pattern.message ?? `does not match ${pattern.pattern}`;
  return `is not ${article(type)}`;
}

/** A value that libyang has as text, as JSON has it. */
export function typedValue(type: SchemaType | undefined, text: string): unknown {
  if (type?.base === "boolean") return text === "true";
  return bounds[type?.base ?? "string"] && !type?.base.endsWith("64") && /^-?\d+$/.test(text)
    ? Number(text)
    : text;
}

function outside(
  number: number,
  ranges: readonly (readonly [number, number])[],
  message?: string,
): string | undefined {
  if (ranges.some(([min, max]) => number >= min && number <= max)) return undefined;
  if (message !== undefined) return message;
  const [least] = ranges[0];
  const most = ranges[ranges.length - 1][1];
  if (number < least) return `is less than ${least}`;
  return number > most ? `is more than ${most}` : "is not in the allowed range";
}

function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`, "u").test(text);
  } catch {
    // XML Schema's expressions are not all JavaScript's.
    return true;
  }
}

function article({ base }: SchemaType): string {
  if (/^u?int/.test(base)) return "a whole number";
  return base === "boolean" ? "a boolean" : "text";
}

/** What is said about something that the model has no place for, or only in state. */
export const unknown = (node: SchemaNode | undefined): string =>
  node ? "is state, which the node tells, and cannot be configured" : "there is no such leaf";

/** What a condition says about something that is there although it does not hold. */
export function misplaced({ when }: SchemaNode): string {
  const equal = /^\.\.\/([\w-]+) = ["'](.*)["']$/.exec(when ?? "");
  if (equal) return `is for ${equal[1]} "${equal[2]}" only`;
  const start = /^starts-with\(\.\.\/([\w-]+), ["'](.*)["']\)$/.exec(when ?? "");
  return start ? `is for ${start[1]} "${start[2]}-…" only` : `is for ${when} only`;
}
