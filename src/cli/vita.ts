#!/usr/bin/env -S node --max-semi-space-size=1
// The `vita` command. Each subcommand is a module beside this one.

import { Command } from "commander";
import { messageOf } from "../gateway/log.js";
import { policyCommand } from "./policy.js";
import { runCommand } from "./run.js";
import { saCommand } from "./sa.js";
import { stateCommand } from "./state.js";

const program = new Command("vita")
  .description("An IPsec gateway in user space, keyed by strongSwan")
  .addCommand(runCommand())
  .addCommand(stateCommand())
  .addCommand(saCommand())
  .addCommand(policyCommand())
  .showHelpAfterError("(vita --help tells more)");

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`vita: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
