// The demo without a terminal: one line a second.

import type { Snapshot } from "./live.js";
import { clock, count, megabits, milliseconds } from "./text.js";

export function plainLine({ seconds, gateways, ping, flow, iperf, event }: Snapshot): string {
  const parts = gateways.map(({ node, rates, rekeys, drops, trouble }) => {
    if (trouble) return `${node}: ${trouble}`;
    const dropped = Object.values(drops).reduce((sum, value) => sum + value, 0);
    const out = `out ${count(rates.packetsOut)} pkt/s ${megabits(rates.bitsOut)} Mbit/s`;
    const back = `in ${count(rates.packetsIn)} pkt/s ${megabits(rates.bitsIn)} Mbit/s`;
    return `${node}: ${out}, ${back}, ${rekeys} rekeys, ${count(dropped)} dropped`;
  });
  parts.push(`ping ${milliseconds(ping.milliseconds)}`);
  parts.push(`flow ${count(flow.received)} arrived, ${count(flow.missing)} lost`);
  if (iperf) parts.push(iperf);
  return `${clock(seconds)}  ${parts.join(" | ")} | ${event}`;
}
