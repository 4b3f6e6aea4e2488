// What all commands have that change the configuration.

import { type Command, Option } from "commander";

export interface CommitFlags {
  readonly confirm?: string;
  readonly comment?: string;
}

export function withCommitFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--confirm <seconds>",
        "roll back after so many seconds unless `vita config confirm` comes before",
      ),
    )
    .option("--comment <text>", "what to write into the history");
}

/** The same for RESTCONF. */
export function commitQuery({ confirm, comment }: CommitFlags): Record<string, string | undefined> {
  return { "vita-confirm": confirm, "vita-comment": comment };
}
