#!/usr/bin/env -S node --max-semi-space-size=16

// The `vita` command. Each subcommand is a module beside this one.

import { Command, CommanderError } from "commander";
import { messageOf } from "../config/refusal.js";
import { completionCommands } from "./completion.js";
import { configCommand } from "./config.js";
import { connectionCommand } from "./connection.js";
import { CliError, EXIT_FAILED, EXIT_USAGE } from "./exit-codes.js";
import { policyCommand } from "./policy.js";
import { runCommand } from "./run.js";
import { saCommand } from "./sa.js";
import { stateCommand } from "./state.js";

const program = new Command("vita")
  .description("An IPsec gateway in user space, keyed by strongSwan")
  .addCommand(runCommand())
  .addCommand(configCommand())
  .addCommand(connectionCommand())
  .addCommand(stateCommand())
  .addCommand(saCommand())
  .addCommand(policyCommand());
for (const command of completionCommands(program))
  program.addCommand(command, { hidden: command.name() === "complete-words" });
eachCommand(program, (command) => command.exitOverride().showHelpAfterError("(vita --help tells more)"));

function eachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const sub of command.commands) eachCommand(sub, visit);
}

try {
  await program.parseAsync();
} catch (error) {
  // commander has said what is wrong with the command line, or printed the help that was asked for.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  else {
    process.stderr.write(`vita: ${messageOf(error)}\n`);
    process.exitCode = error instanceof CliError ? error.exitCode : EXIT_FAILED;
  }
}
