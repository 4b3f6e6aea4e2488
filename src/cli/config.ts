// `vita config …`: a running node's configuration, read and changed over its RESTCONF server. Every change is checked as a
// whole, carried out at once, and written to the startup file; what is refused changes nothing.

import { Command } from "commander";
import { changeCommands } from "./config-change.js";
import { fileCommands } from "./config-files.js";
import { getCommand } from "./config-get.js";
import { historyCommands } from "./config-history.js";
import { importVitaCommand } from "./import-vita.js";

export function configCommand(): Command {
  const command = new Command("config")
    .description("the configuration of a node: read, change, check, keep")
    .addHelpText(
      "after",
      `
Paths are data paths of the model (yang/vita-gateway.yang): /mtu, /route[id=foo]/gateway/ip, /inbound-sa[spi=1234].
Values are JSON (RFC 7951) or statements: spi 1234; route foo; key "…"; salt "…";
They are taken from the argument, from --file, or from standard input.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the node does not run, 4 no such data.`,
    );
  for (const sub of [
    getCommand(),
    ...changeCommands(),
    ...fileCommands(),
    ...historyCommands(),
    importVitaCommand(),
  ])
    command.addCommand(sub);
  return command;
}
