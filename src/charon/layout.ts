// Fixed structs of a wire format: one description gives the size and the offset of every field. Fields stand on their
// natural alignment, as a C compiler puts them, and a description that would need hidden padding is refused, so that
// both sides of a socket see the same bytes.

/** An integer's width in bytes, a run of bytes, or another struct. */
export type FieldType = "u8" | "u16" | "u32" | "u64" | number | Layout;

export interface Layout<Names extends string = string> {
  /** Bytes. */
  readonly size: number;
  readonly alignment: number;
  /** Bytes from the beginning of the struct. */
  readonly offset: Readonly<Record<Names, number>>;
}

const widths = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

function measure(type: FieldType): { size: number; alignment: number } {
  if (typeof type === "number") return { size: type, alignment: 1 };
  if (typeof type === "string") return { size: widths[type], alignment: widths[type] };
  return type;
}

/**
 * Lays out `fields` in the order in which they are written.
 * @throws when a field or the end would need padding that nobody wrote down.
 */
export function layout<Names extends string>(fields: Record<Names, FieldType>): Layout<Names> {
  const offset = {} as Record<Names, number>;
  let size = 0;
  let alignment = 1;
  for (const name of Object.keys(fields) as Names[]) {
    const field = measure(fields[name]);
    if (size % field.alignment !== 0) throw new Error(`field ${name} at ${size} needs padding before it`);
    offset[name] = size;
    size += field.size;
    alignment = Math.max(alignment, field.alignment);
  }
  if (size % alignment !== 0) throw new Error(`a struct of ${size} bytes needs padding at its end`);
  return { size, alignment, offset };
}
