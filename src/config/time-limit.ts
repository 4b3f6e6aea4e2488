// Waiting, but not for ever.

/** It has not ended in time. `rest` is what goes on. */
export class TooLate extends Error {
  readonly rest: Promise<void>;
  constructor(limit: number, rest: Promise<void>) {
    super(`has not ended within ${limit / 1000} s`);
    this.rest = rest;
  }
}

/**
 * Waits for the work as long as the limit (ms) allows.
 * @throws TooLate, and what the work throws
 */
export async function withinLimit(limit: number, work: () => Promise<void>): Promise<void> {
  // What the work throws before its first await is as good as a rejection.
  const rest = (async () => work())();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, refuse) => {
    timer = setTimeout(() => refuse(new TooLate(limit, rest)), limit);
  });
  try {
    await Promise.race([rest, late]);
  } finally {
    clearTimeout(timer);
  }
}
