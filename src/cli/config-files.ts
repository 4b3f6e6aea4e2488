// `vita config validate | diff | load | save`: whole configurations in files.

import { Command } from "commander";
import { differenceText } from "../config/difference.js";
import { parseConfiguration } from "../config/load.js";
import { Schema } from "../config/schema.js";
import { Tree } from "../config/tree.js";
import { type CommitFlags, commitQuery, withCommitFlags } from "./commit-flags.js";
import { datastoreDocument, type PlainDocument, plainDocument } from "./config-value.js";
import { CliError, EXIT_UNREACHABLE } from "./exit-codes.js";
import { readFile } from "./input.js";
import { type Answer, RestconfClient } from "./restconf-client.js";
import { writePrivate } from "./write-private.js";

export function fileCommands(): Command[] {
  return [validateCommand(), diffCommand(), loadCommand(), saveCommand()];
}

function read(file: string): PlainDocument {
  return plainDocument(readFile(file), nameOf(file));
}

function nameOf(file: string): string {
  return file === "-" ? "standard input" : file;
}

function put(
  node: string,
  document: PlainDocument,
  query: Record<string, string | undefined>,
): Promise<Answer> {
  const { text, contentType } = datastoreDocument(document);
  return new RestconfClient(node).send({
    method: "PUT",
    path: "/restconf/data",
    query,
    body: text,
    contentType,
  });
}

function validateCommand(): Command {
  return new Command("validate")
    .description("checks a configuration file; nothing is changed")
    .argument("<node>", "the node that it is for; it need not run")
    .argument("<file>", "JSON, XML or statements; - for standard input")
    .action(async (node: string, file: string) => {
      const document = read(file);
      try {
        await put(node, document, { "vita-dry-run": "" });
      } catch (error) {
        if (!(error instanceof CliError) || error.exitCode !== EXIT_UNREACHABLE) throw error;
        const configuration = parseConfiguration(document.text, nameOf(file), document.format);
        if (configuration.node !== node)
          throw new CliError(`${nameOf(file)}: /node: is ${configuration.node}, not ${node}`);
      }
      process.stdout.write("valid\n");
    });
}

function diffCommand(): Command {
  return new Command("diff")
    .description("what loading a file would change")
    .argument("<node>")
    .argument("<file>", "JSON, XML or statements; - for standard input")
    .option("--json", "as JSON")
    .action(async (node: string, file: string, { json }: { json?: boolean }) => {
      const schema = Schema.load();
      const running = Tree.parse(schema, await runningText(node), "json");
      const { text, format } = read(file);
      const other = Tree.parse(schema, text, format, { source: nameOf(file) });
      const found = running.differences(other);
      if (json) process.stdout.write(`${JSON.stringify(found)}\n`);
      else process.stdout.write(found.map((one) => `${differenceText(one)}\n`).join(""));
    });
}

function loadCommand(): Command {
  return withCommitFlags(new Command("load"))
    .description("puts a whole configuration from a file in the place of the running one")
    .argument("<node>")
    .argument("<file>", "JSON, XML or statements; - for standard input")
    .action(async (node: string, file: string, flags: CommitFlags) => {
      await put(node, read(file), commitQuery(flags));
    });
}

function saveCommand(): Command {
  return new Command("save")
    .description("writes the running configuration, with its secrets, to a file that only its owner can read")
    .argument("<node>")
    .argument("<file>", "- for standard output")
    .action(async (node: string, file: string) => {
      const text = await runningText(node);
      if (file === "-") process.stdout.write(text);
      else writePrivate(file, text);
    });
}

/** The running configuration as JSON that `load` and `vita run` read. */
async function runningText(node: string): Promise<string> {
  const { body } = await new RestconfClient(node).send({
    method: "GET",
    path: "/restconf/data",
    query: { content: "config", "with-defaults": "explicit" },
  });
  const data = (JSON.parse(body) as Record<string, unknown>)["ietf-restconf:data"] ?? {};
  return `${JSON.stringify(data, null, 2)}\n`;
}
