// Layouts of the structures in shared memory. One definition gives the offsets that the data path uses and the table
// that docs/ shows, so that the two cannot differ. Fields are laid out in the order given, each aligned to its own
// size; numbers are little-endian unless a field's text says otherwise.

export interface Field {
  readonly type: "u8" | "u16" | "u32" | "i32" | "u64" | "f64" | "bytes";
  /** How many elements; 1 for a plain field. */
  readonly count: number;
  /** Alignment in bytes, at least the size of one element. */
  readonly align: number;
  readonly text: string;
}

const sizes = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, f64: 8, bytes: 1 } as const;

function field(type: Field["type"], text: string, count = 1, align: number = sizes[type]): Field {
  return { type, text, count, align };
}

export const u8 = (text: string, count?: number) => field("u8", text, count);
export const u16 = (text: string, count?: number) => field("u16", text, count);
export const u32 = (text: string, count?: number) => field("u32", text, count);
/** A 32-bit word that is changed with `Atomics`. */
export const i32 = (text: string, count?: number) => field("i32", text, count);
export const u64 = (text: string, count?: number) => field("u64", text, count);
export const f64 = (text: string, count?: number) => field("f64", text, count);
export const bytes = (count: number, text: string, align = 1) => field("bytes", text, count, align);

export interface Struct<Fields extends Record<string, Field>> {
  readonly name: string;
  readonly text: string;
  readonly fields: Fields;
  /** Byte offsets of the fields. */
  readonly at: { readonly [Name in keyof Fields]: number };
  /** Bytes, a multiple of `align`. */
  readonly size: number;
}

export function struct<const Fields extends Record<string, Field>>(
  name: string,
  text: string,
  fields: Fields,
  align = 64,
): Struct<Fields> {
  const at: Record<string, number> = {};
  let offset = 0;
  for (const [key, { type, count, align: fieldAlign }] of Object.entries(fields)) {
    offset = Math.ceil(offset / fieldAlign) * fieldAlign;
    at[key] = offset;
    offset += sizes[type] * count;
  }
  return { name, text, fields, at: at as Struct<Fields>["at"], size: Math.ceil(offset / align) * align };
}

/** The structure as a Markdown section with one row a field. */
export function describeStruct(s: Struct<Record<string, Field>>): string {
  const rows = Object.entries(s.fields).map(([name, { type, count, text }]) => {
    const shape = type === "bytes" ? `${count} bytes` : count === 1 ? type : `${type} × ${count}`;
    return `| ${s.at[name]} | \`${name}\` | ${shape} | ${text} |`;
  });
  return [
    `## ${s.name} (${s.size} bytes)`,
    "",
    s.text,
    "",
    "| offset | field | type | meaning |",
    "| ---: | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}
