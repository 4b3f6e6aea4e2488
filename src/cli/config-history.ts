// `vita config history | confirm | cancel | rollback`: what was in force before, and what waits to be confirmed.

import { Command } from "commander";
import { type CommitFlags, withCommitFlags } from "./commit-flags.js";
import { CliError, EXIT_USAGE } from "./exit-codes.js";
import { callOperation } from "./operation.js";
import { RestconfClient } from "./restconf-client.js";

interface CommitState {
  "vita-gateway:commit"?: {
    number?: number;
    "confirm-by"?: string;
    entry?: { number: number; time: string; user: string; comment?: string }[];
  };
}

export function historyCommands(): Command[] {
  return [
    new Command("history")
      .description("the last configurations, the newest first")
      .argument("<node>")
      .option("--json", "as JSON")
      .action(async (node: string, { json }: { json?: boolean }) => {
        const { body } = await new RestconfClient(node).send({
          method: "GET",
          path: "/restconf/data/vita-gateway:gateway-state/commit",
        });
        const commit = (JSON.parse(body) as CommitState)["vita-gateway:commit"] ?? {};
        if (json) {
          process.stdout.write(`${JSON.stringify(commit)}\n`);
          return;
        }
        const lines = (commit.entry ?? []).map(
          ({ number, time, user, comment }) =>
            `${number === commit.number ? "*" : " "} ${String(number).padStart(4)}  ${time}  ${user}${comment ? `  ${comment}` : ""}`,
        );
        if (commit["confirm-by"]) lines.push(`rolled back at ${commit["confirm-by"]} unless it is confirmed`);
        process.stdout.write(lines.map((line) => `${line}\n`).join(""));
      }),
    operation("confirm", "keeps a configuration that was to be confirmed", "confirm-commit"),
    operation("cancel", "rolls a configuration that was to be confirmed back now", "cancel-commit"),
    withCommitFlags(new Command("rollback"))
      .description("brings an earlier configuration into force again")
      .argument("<node>")
      .argument("[number]", "its number in the history; the one before the running one when left out")
      .action(async (node: string, number: string | undefined, { confirm, comment }: CommitFlags) => {
        if (number !== undefined && !/^\d{1,9}$/.test(number))
          throw new CliError(`${number} is not a number of the history`, EXIT_USAGE);
        await callOperation(node, "rollback", {
          ...(number !== undefined && { number: Number(number) }),
          // What is no number, the node refuses as it does with other commands.
          ...(confirm !== undefined && {
            "confirm-timeout": /^\d+$/.test(confirm) ? Number(confirm) : confirm,
          }),
          ...(comment !== undefined && { comment }),
        });
      }),
  ];
}

function operation(name: string, description: string, rpc: string): Command {
  return new Command(name)
    .description(description)
    .argument("<node>")
    .action((node: string) => callOperation(node, rpc));
}
