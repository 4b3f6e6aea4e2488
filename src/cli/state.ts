// `vita state NODE`: workers, counters, SAs and policies, as JSON or for people.

import { Command } from "commander";
import { readState } from "../gateway/state.js";

export function stateCommand(): Command {
  return new Command("state")
    .description("what a node is doing: workers, counters, SAs, policies")
    .argument("<node>")
    .option("--json", "as one JSON object")
    .action((node: string, { json }: { json?: boolean }) => {
      const state = readState(node);
      if (json) {
        process.stdout.write(`${JSON.stringify(state)}\n`);
        return;
      }
      const lines = [`node ${state.node}`];
      for (const { index, pid, alive } of state.workers)
        lines.push(`  worker ${index}: ${alive ? `process ${pid}` : "not running"}`);
      const active = state.sas.filter(({ state: s }) => s === "active").length;
      lines.push(
        `  ${active} active SAs of ${state.sas.length}, ${state.policies.length} policy entries`,
        "counters",
      );
      for (const [name, value] of Object.entries(state.counters))
        if (value !== 0) lines.push(`  ${name.padEnd(40)} ${value}`);
      process.stdout.write(`${lines.join("\n")}\n`);
    });
}
