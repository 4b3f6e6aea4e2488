// `vita config set | add | remove`: one change of a running node's configuration.

import { Command } from "commander";
import { formatSegments } from "../config/data-path.js";
import { type CommitFlags, commitQuery, withCommitFlags } from "./commit-flags.js";
import { documentOf } from "./config-value.js";
import { restconfPath } from "./data-path.js";
import { CliError, EXIT_USAGE } from "./exit-codes.js";
import { readValue } from "./input.js";
import { RestconfClient } from "./restconf-client.js";
import { oneNode, resolveTarget } from "./target.js";

interface ValueFlags extends CommitFlags {
  readonly file?: string;
}

export function changeCommands(): Command[] {
  return [setCommand(), addCommand(), removeCommand()];
}

function setCommand(): Command {
  return withCommitFlags(new Command("set"))
    .description("sets a leaf, or puts a container or list entry in the place of the one that is there")
    .argument("<node>")
    .argument("<path>", "data path of a leaf, a container or one list entry")
    .argument("[value]", "JSON, statements, or a leaf's plain value; from standard input when left out")
    .option("-f, --file <file>", "takes the value from a file")
    .action(async (node: string, path: string, value: string | undefined, flags: ValueFlags) => {
      const target = resolveTarget(path);
      const { last, kind } = oneNode(target);
      if (target.isWhole)
        throw new CliError(
          `${path}: which one? add makes a new entry; set needs the keys of one`,
          EXIT_USAGE,
        );
      const { text, contentType } = documentOf(last, kind, readValue(value, flags.file));
      await new RestconfClient(node).send({
        method: "PUT",
        path: `/restconf/data${restconfPath(target.segments)}`,
        query: commitQuery(flags),
        body: text,
        contentType,
      });
    });
}

function addCommand(): Command {
  return withCommitFlags(new Command("add"))
    .description("adds a list entry, a value to a leaf-list, or a node that is not there yet")
    .argument("<node>")
    .argument("<path>", "data path of the list, such as /inbound-sa")
    .argument("[value]", "JSON or statements; from standard input when left out")
    .option("-f, --file <file>", "takes the value from a file")
    .action(async (node: string, path: string, value: string | undefined, flags: ValueFlags) => {
      const target = resolveTarget(path);
      const { last, kind } = oneNode(target);
      const { text, contentType } = documentOf(last, kind, readValue(value, flags.file));
      await new RestconfClient(node).send({
        method: "POST",
        path: `/restconf/data${restconfPath(target.segments.slice(0, -1))}`,
        query: commitQuery(flags),
        body: text,
        contentType,
      });
    });
}

function removeCommand(): Command {
  return withCommitFlags(new Command("remove"))
    .description("removes what a path leads to")
    .argument("<node>")
    .argument("<path>", "data path of a leaf, a container or one list entry")
    .action(async (node: string, path: string, flags: CommitFlags) => {
      const target = resolveTarget(path);
      oneNode(target);
      if (target.isWhole)
        throw new CliError(
          `${formatSegments(target.segments)}: which one? remove needs the keys of one entry`,
          EXIT_USAGE,
        );
      await new RestconfClient(node).send({
        method: "DELETE",
        path: `/restconf/data${restconfPath(target.segments)}`,
        query: commitQuery(flags),
      });
    });
}
