// How the checks say what is wrong.

/** Tells what is wrong at an operator's path. @param value what is there; undefined for secrets and for what is no leaf */
export type Tell = (path: string, message: string, value?: unknown) => void;

/** The path of an entry: `/route[id="a"]`. */
export const entryAt = (list: string, key: string, value: string | number): string =>
  `/${list}[${key}=${JSON.stringify(String(value))}]`;
