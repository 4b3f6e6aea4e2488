// The demo in a terminal, drawn with ink. Pure: a snapshot goes in, a picture comes out; but for openScreen, which has the terminal.

import { Box, render, Text } from "ink";
import { createElement as h, type ReactNode } from "react";
import type { GatewayView, Snapshot } from "./live.js";
import { clock, count, megabits, milliseconds } from "./text.js";

export interface ScreenProps {
  snapshot: Snapshot;
  hints: [command: string, what: string][];
}

interface Column {
  title: string;
  width: number;
  cell: (gateway: GatewayView) => string;
  color?: (gateway: GatewayView) => string | undefined;
}

const dropped = ({ drops }: GatewayView) => Object.values(drops).reduce((sum, value) => sum + value, 0);

const columns: Column[] = [
  { title: "gateway", width: 9, cell: ({ node }) => node },
  { title: "system", width: 9, cell: ({ system }) => system },
  { title: "SAs", width: 5, cell: ({ sas }) => String(sas.length) },
  { title: "out pkt/s", width: 12, cell: ({ rates }) => count(rates.packetsOut) },
  { title: "Mbit/s", width: 9, cell: ({ rates }) => megabits(rates.bitsOut) },
  { title: "in pkt/s", width: 12, cell: ({ rates }) => count(rates.packetsIn) },
  { title: "Mbit/s", width: 9, cell: ({ rates }) => megabits(rates.bitsIn) },
  { title: "rekeys", width: 8, cell: ({ rekeys }) => String(rekeys) },
  {
    title: "dropped",
    width: 9,
    cell: (gateway) => count(dropped(gateway)),
    color: (gateway) => (dropped(gateway) > 0 ? "yellow" : undefined),
  },
];

function row(key: string, cells: ReactNode[]): ReactNode {
  const boxes = cells.map((cell, i) => {
    const { title, width } = columns[i] as Column;
    // Names to the left, numbers to the right.
    const justifyContent = i < 2 ? "flex-start" : "flex-end";
    return h(Box, { key: `${i} ${title}`, width, justifyContent }, cell);
  });
  return h(Box, { key }, boxes);
}

function table(gateways: GatewayView[]): ReactNode {
  const head = columns.map(({ title }) => h(Text, { dimColor: true }, title));
  const rows = gateways.map((gateway) => {
    if (gateway.trouble)
      return h(Text, { key: gateway.node, color: "red" }, `${gateway.node}  ${gateway.trouble}`);
    const cells = columns.map(({ cell, color }) => {
      const chosen = color?.(gateway);
      return h(Text, chosen ? { color: chosen } : {}, cell(gateway));
    });
    return row(gateway.node, cells);
  });
  return h(Box, { flexDirection: "column", marginTop: 1 }, row("head", head), rows);
}

/** host ── lan [gw] wan ═══ ESP ═══ wan [gw] lan ── host */
function picture([a, b]: GatewayView[]): ReactNode {
  if (!a || !b) return null;
  return h(
    Box,
    { marginTop: 1, flexWrap: "wrap" },
    h(Text, null, `${a.hostAddress} ── `),
    h(Text, { bold: true }, `[${a.node}] ${a.wanAddress}`),
    h(Text, { color: "green" }, " ═══ ESP ═══ "),
    h(Text, { bold: true }, `${b.wanAddress} [${b.node}]`),
    h(Text, null, ` ── ${b.hostAddress}`),
  );
}

function line(name: string, value: string, color?: string): ReactNode {
  return h(
    Box,
    { key: name },
    h(Box, { width: 11 }, h(Text, { dimColor: true }, name)),
    h(Text, color ? { color } : {}, value),
  );
}

function spis({ sas }: GatewayView): string {
  const of = (direction: string) => sas.filter((sa) => sa.direction === direction).map(({ spi }) => spi);
  return `in ${of("in").join(", ") || "none"}; out ${of("out").join(", ") || "none"}`;
}

function drops(gateways: GatewayView[]): ReactNode[] {
  const named = gateways.flatMap(({ node, drops }) =>
    Object.entries(drops).map(([name, value]) => line(`${node} drops`, `${name} ${count(value)}`, "yellow")),
  );
  return named.length > 0 ? named : [line("drops", "none")];
}

export function Screen({ snapshot, hints }: ScreenProps): ReactNode {
  const { gateways, seconds, ping, flow, iperf, event } = snapshot;
  const { received, missing } = flow;
  return h(
    Box,
    { flexDirection: "column", paddingX: 1 },
    h(
      Box,
      null,
      h(Text, { bold: true, color: "cyan" }, "Vita"),
      h(Text, null, "  two sites, one tunnel  "),
      h(Text, { dimColor: true }, `up ${clock(seconds)}`),
    ),
    picture(gateways),
    table(gateways),
    h(
      Box,
      { flexDirection: "column", marginTop: 1 },
      gateways.map((gateway) => line(`${gateway.node} SPIs`, spis(gateway))),
      line("ping", `${milliseconds(ping.milliseconds)}   ${ping.received} of ${ping.sent}`),
      line(
        "UDP flow",
        `${count(received)} arrived, ${count(missing)} lost`,
        missing > 0 ? "yellow" : undefined,
      ),
      line("iperf3", iperf || "soon"),
      line("latest", event),
      drops(gateways),
    ),
    h(
      Box,
      { flexDirection: "column", marginTop: 1 },
      h(Text, { dimColor: true }, "Try in another shell:"),
      hints.map(([command, what]) =>
        h(Text, { key: command, wrap: "truncate" }, `  ${command}   `, h(Text, { dimColor: true }, what)),
      ),
      h(Text, { dimColor: true }, "Ctrl-C ends the demo and removes all of it."),
    ),
  );
}

/** Draws on standard output: how to show the next snapshot, and how to leave the last one standing. */
export function openScreen(
  snapshot: Snapshot,
  hints: ScreenProps["hints"],
): { show: (snapshot: Snapshot) => void; close: () => void } {
  const drawn = render(h(Screen, { snapshot, hints }), { exitOnCtrlC: false });
  return {
    show: (next) => drawn.rerender(h(Screen, { snapshot: next, hints })),
    close: () => drawn.unmount(),
  };
}
