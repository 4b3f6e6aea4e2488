// `vita connection up | down | rekey NODE ID`: IKE connections of the configuration, negotiated, ended and rekeyed by hand.

import { Command } from "commander";
import { CliError, EXIT_USAGE } from "./exit-codes.js";
import { callOperation } from "./operation.js";

interface Flags {
  readonly child?: string;
  readonly timeout?: string;
  readonly reauth?: boolean;
}

export function connectionCommand(): Command {
  const command = new Command("connection").description("IKE connections of a node");
  const verbs = { up: "negotiates it now", down: "ends its SAs", rekey: "rekeys its SAs" };
  for (const [verb, description] of Object.entries(verbs)) {
    const sub = new Command(verb)
      .description(description)
      .argument("<node>")
      .argument("<id>", "id of the connection")
      .option("--child <id>", "this child alone")
      .option("--timeout <seconds>", "how long to wait for the outcome");
    if (verb === "rekey") sub.option("--reauth", "authenticates the IKE_SA anew instead");
    sub.action((node: string, id: string, { child, timeout, reauth }: Flags) => {
      const seconds = timeout === undefined ? undefined : secondsOf(timeout);
      const input = {
        connection: id,
        ...(child === undefined ? {} : { child }),
        ...(seconds === undefined ? {} : { timeout: seconds }),
        ...(reauth ? { reauth } : {}),
      };
      return callOperation(node, `connection-${verb}`, input, seconds);
    });
    command.addCommand(sub);
  }
  return command;
}

/** @throws CliError */
function secondsOf(text: string): number {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw new CliError(`--timeout: ${JSON.stringify(text)} is not a number of seconds`, EXIT_USAGE);
}
