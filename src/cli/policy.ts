// `vita policy NODE`: the policy entries in the order in which they are evaluated.

import { Command } from "commander";
import { readState } from "../gateway/state.js";
import { identityLine } from "./sa.js";

export function policyCommand(): Command {
  return new Command("policy")
    .description("policies of a node, in the order of their evaluation")
    .argument("<node>")
    .option("--json", "as a JSON array")
    .action((node: string, { json }: { json?: boolean }) => {
      const { policies } = readState(node);
      if (json) {
        process.stdout.write(`${JSON.stringify(policies)}\n`);
        return;
      }
      const lines = policies.flatMap((policy) => [
        `src ${policy.src} dst ${policy.dst}`,
        `  ${policy.direction} ${policy.type} class ${policy.class} rank ${policy.rank}` +
          (policy.type === "protect"
            ? ` ${policy.mode} ${policy.tunnelSrc} => ${policy.tunnelDst} reqid ${policy.reqid}` +
              `${policy.spi ? ` spi 0x${policy.spi}` : ""}${policy.protected === false ? " (no SA)" : ""}`
            : ""),
        ...identityLine(policy),
      ]);
      if (lines.length > 0) process.stdout.write(`${lines.join("\n")}\n`);
    });
}
