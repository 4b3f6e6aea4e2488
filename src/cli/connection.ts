// `vita connection up | down | rekey NODE ID`: IKE connections of the configuration, negotiated, ended and rekeyed by hand.

import { Command } from "commander";
import { call } from "./config-history.js";

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
    sub.action((node: string, id: string, { child, timeout, reauth }: Flags) =>
      call(node, `connection-${verb}`, {
        connection: id,
        ...(child === undefined ? {} : { child }),
        ...(timeout === undefined ? {} : { timeout: Number(timeout) }),
        ...(reauth ? { reauth } : {}),
      }),
    );
    command.addCommand(sub);
  }
  return command;
}
