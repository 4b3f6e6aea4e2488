// What `bench tunnel` found: a row for each system, and how Vita compares with the best of the others.

import type { Chart } from "./chart.js";

export interface Row {
  system: string;
  tcpGbps: number;
  tcpReverseGbps: number;
  udp64Kpps: number;
  /** Median round trip of single pings, and the time that 99 of 100 stay below; microseconds. */
  pingMicros: number;
  ping99Micros: number;
  cipher: string;
  /** Of Vita's rows: the figure, divided by the best one of the other systems' tunnels; for round trips, less is better. */
  ratios?: Ratios;
}

export interface Ratios {
  tcp: number;
  tcpReverse: number;
  udp64: number;
  ping: number;
}

/** What Vita is to reach. */
export const asked: Ratios = { tcp: 4, tcpReverse: 4, udp64: 3, ping: 1 };

/** What one round measured; round trips in milliseconds. */
export interface Round {
  tcp: number;
  tcpReverse: number;
  udp: number;
  roundTrips: readonly number[];
}

const round = (value: number, digits = 3) => Math.round(value * 10 ** digits) / 10 ** digits;

/** Of sorted numbers, the one that a share of them stays below or reaches; 0 of none. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

const median = (values: number[]) =>
  quantile(
    values.sort((a, b) => a - b),
    0.5,
  );

export function summarize(system: string, cipher: string, rounds: readonly Round[]): Row {
  const roundTrips = rounds.flatMap((one) => one.roundTrips).sort((a, b) => a - b);
  return {
    system,
    tcpGbps: round(median(rounds.map(({ tcp }) => tcp)) / 1e9),
    tcpReverseGbps: round(median(rounds.map(({ tcpReverse }) => tcpReverse)) / 1e9),
    udp64Kpps: round(median(rounds.map(({ udp }) => udp)) / 1e3),
    pingMicros: round(1000 * quantile(roundTrips, 0.5), 0),
    ping99Micros: round(1000 * quantile(roundTrips, 0.99), 0),
    cipher,
  };
}

/** Vita's rows, and what charts call them. */
const vitas: Readonly<Record<string, string>> = { vita: "Vita", "vita-udp": "Vita, ESP in UDP" };

const isVita = ({ system }: Row) => system in vitas;

/** Other systems than Vita; the bare link is none. */
const othersOf = (rows: readonly Row[]) => rows.filter((row) => !isVita(row) && row.system !== "veth");

/** Adds the ratios to Vita's rows, where there is another system to compare it with. */
export function compare(rows: readonly Row[]): Row[] {
  const others = othersOf(rows);
  return rows.map((row) => {
    if (!isVita(row) || others.length === 0) return row;
    const most = (of: (row: Row) => number) => round(of(row) / Math.max(...others.map(of)), 2);
    const ratios: Ratios = {
      tcp: most(({ tcpGbps }) => tcpGbps),
      tcpReverse: most(({ tcpReverseGbps }) => tcpReverseGbps),
      udp64: most(({ udp64Kpps }) => udp64Kpps),
      ping: round(row.pingMicros / Math.min(...others.map(({ pingMicros }) => pingMicros)), 2),
    };
    return { ...row, ratios };
  });
}

/** For people: the rows, and below them what was asked for. */
export function table(rows: readonly Row[]): string {
  const heads = ["system", "TCP Gbit/s", "reverse", "UDP 64 B kpps", "ping p50 µs", "p99 µs", "cipher"];
  const cells = rows.map((row) => [
    row.system,
    row.tcpGbps.toFixed(2),
    row.tcpReverseGbps.toFixed(2),
    row.udp64Kpps.toFixed(1),
    String(row.pingMicros),
    String(row.ping99Micros),
    row.cipher,
  ]);
  // Of nothing at all, everything is too many times as much to say.
  const times = (value: number) => (Number.isFinite(value) ? `${value.toFixed(2)} ×` : "–");
  const line = ({ tcp, tcpReverse, udp64, ping }: Ratios) => [tcp, tcpReverse, udp64, ping].map(times);
  const compared = rows.filter(({ ratios }) => ratios);
  for (const { system, ratios } of compared)
    cells.push([`${system} to the best`, ...line(ratios as Ratios), "", ""]);
  if (compared.length > 0) cells.push(["asked for", ...line(asked), "", ""]);
  const all = [heads, ...cells];
  const widths = heads.map((_, i) => Math.max(...all.map((row) => (row[i] as string).length)));
  const pad = (text: string, i: number) =>
    i === 0 || i === heads.length - 1 ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number);
  return `${all.map((row) => row.map(pad).join("  ").trimEnd()).join("\n")}\n`;
}

/** The rows as a chart: a panel for each measurement. */
export function tunnelChart(rows: readonly Row[], subtitle: string): Chart {
  const best = (of: (row: Row) => number, times: number, isLess = false): number | undefined => {
    const others = othersOf(rows).map(of);
    if (others.length === 0) return undefined;
    return times * (isLess ? Math.min(...others) : Math.max(...others));
  };
  const panel = (title: string, unit: string, of: (row: Row) => number, target: number | undefined) => ({
    title,
    unit,
    rows: rows.map((row) => {
      const ours = isVita(row);
      return {
        label: vitas[row.system] ?? row.system,
        value: of(row),
        series: ours ? (0 as const) : (1 as const),
        ...(ours && target !== undefined ? { target } : {}),
      };
    }),
  });
  const tcp = (row: Row) => row.tcpGbps;
  const reverse = (row: Row) => row.tcpReverseGbps;
  const udp = (row: Row) => row.udp64Kpps;
  const ping = (row: Row) => row.pingMicros;
  return {
    title: "Through a tunnel between two namespaces",
    subtitle,
    panels: [
      panel("TCP", "Gbit/s", tcp, best(tcp, asked.tcp)),
      panel("TCP, the other way", "Gbit/s", reverse, best(reverse, asked.tcpReverse)),
      panel("UDP of 64 bytes, less than 1 % lost", "thousand a second", udp, best(udp, asked.udp64)),
      panel("Round trip of a ping, median: less is better", "µs", ping, best(ping, asked.ping, true)),
    ],
  };
}
