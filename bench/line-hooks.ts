// Hooks of Node's module loader: moves each module's code down to lines of its own, so that a line number says which module
// it belongs to. See line-profile.ts.

export interface LineHooksData {
  /** Empty lines in front of each module, by URL. */
  offsets: Readonly<Record<string, number>>;
  /** Text that is put behind what a regular expression finds in a module; for the test that makes an app slower. */
  insertions: readonly { url: string; behind: string; text: string }[];
}

interface Loaded {
  format: string;
  source?: string | Uint8Array;
}

let data: LineHooksData = { offsets: {}, insertions: [] };

export function initialize(given: LineHooksData): void {
  data = given;
}

export async function load(
  url: string,
  context: unknown,
  next: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await next(url, context);
  const offset = data.offsets[url];
  if (offset === undefined || loaded.source === undefined) return loaded;
  let source = Buffer.from(loaded.source as Uint8Array).toString();
  for (const { behind, text } of data.insertions.filter((insertion) => insertion.url === url)) {
    const pattern = new RegExp(behind);
    if (!pattern.test(source)) throw new Error(`${url} has nothing like ${behind}`);
    source = source.replace(pattern, (found) => found + text);
  }
  return { ...loaded, source: "\n".repeat(offset) + source };
}
