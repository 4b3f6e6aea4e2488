// Stable figures on a machine that does other things as well: several short rounds, of which the median counts.

export interface Round {
  packets: number;
  nanoseconds: number;
}

/** The round with the median time per packet; of an even number the faster one of the two in the middle. */
export function medianRound<T extends Round>(rounds: readonly T[]): T {
  const sorted = [...rounds].sort((a, b) => a.nanoseconds / a.packets - b.nanoseconds / b.packets);
  const median = sorted[(sorted.length - 1) >>> 1];
  if (!median) throw new Error("no rounds");
  return median;
}

/** The fastest round, in ns a packet: what else the machine does only ever adds. */
export function best(rounds: readonly Round[]): number {
  return Math.min(...rounds.map(({ packets, nanoseconds }) => nanoseconds / packets));
}

/** Cuts a number of packets into so many rounds. */
export function packetsPerRound(packets: number, rounds: number): number {
  return Math.max(1, Math.ceil(packets / rounds));
}

export function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** A whole number from 1 to `max` off the command line. */
export function count(text: string, name: string, max: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > max)
    throw new Error(`--${name} "${text}" is not a number from 1 to ${max}`);
  return number;
}
