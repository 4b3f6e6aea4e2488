// Apps are the nodes of a worker's graph (after Snabb's). An app takes packets off its input links, works on them and
// transmits them on its output links. A source (a port's receiving side) takes them from outside instead.
//
// A class declares its counters in a constant; the graph gives every app an array of them in shared memory. Names that
// begin with `drop.` say why packets ended here; the frames of those packets have been freed.

import type { Frames } from "../memory/frames.js";

/** Counter name → one line of text that says what it counts. The order is that of the array. */
export type CounterTexts = Readonly<Record<string, string>>;

/** 64-bit floats: exact up to 2^53, written by one worker, read by anybody. */
export type Counters = Float64Array;

export interface App {
  /** Works off what is on the input links; all of it. Never throws, never allocates, never blocks. */
  push(): void;
}

export interface Source {
  /**
   * Brings at most `max` packets in from outside and transmits them on the source's link.
   * @returns how many came
   */
  pull(max: number): number;
}

/** What every app is built with. */
export interface AppContext {
  readonly frames: Frames;
  /** An array with one counter for each name in `texts`, all kept from an earlier life of this worker. */
  counters(app: string, texts: CounterTexts): Counters;
}

/** Indices of a counter array by name, for the constants at the head of an app's file. */
export function counterIndex<const Texts extends CounterTexts>(
  texts: Texts,
): { readonly [Name in keyof Texts]: number } {
  return Object.fromEntries(Object.keys(texts).map((name, i) => [name, i])) as {
    readonly [Name in keyof Texts]: number;
  };
}
