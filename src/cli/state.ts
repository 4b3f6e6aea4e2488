// `vita state NODE`: workers, counters, SAs and policies, as JSON or for people. With a path, that part of the operational
// state as the model has it, which the supervisor tells: `vita state NODE /gateway-state/ike`.

import { Command } from "commander";
import { readState } from "../gateway/state.js";
import { getData } from "./config-get.js";

export function stateCommand(): Command {
  return new Command("state")
    .description("what a node is doing: workers, counters, SAs, policies")
    .argument("<node>")
    .argument("[path]", "data path of operational state, such as /gateway-state/ike")
    .option("--json", "as one JSON object")
    .action(async (node: string, path: string | undefined, { json = false }: { json?: boolean }) => {
      if (path !== undefined) {
        process.stdout.write(await getData(node, path, "nonconfig", { json }));
        return;
      }
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
