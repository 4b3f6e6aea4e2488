// `vita config get NODE [PATH]`, and `vita state NODE PATH`.

import { Command } from "commander";
import { restconfPath } from "./data-path.js";
import { CliError, EXIT_NO_DATA } from "./exit-codes.js";
import { RestconfClient } from "./restconf-client.js";
import { printStatements } from "./statements.js";
import { resolveTarget } from "./target.js";

interface Flags {
  readonly json?: boolean;
  readonly xml?: boolean;
  readonly defaults?: boolean;
}

export function getCommand(): Command {
  return new Command("get")
    .description("prints the running configuration, or what a path leads to")
    .argument("<node>")
    .argument("[path]", "data path", "/")
    .option("--json", "as JSON (RFC 7951), not as statements")
    .option("--xml", "as XML")
    .option("--defaults", "with the values of leaves that are left out")
    .action(async (node: string, path: string, flags: Flags) => {
      process.stdout.write(await getData(node, path, "config", flags));
    });
}

/** What a path leads to, as text. @throws CliError */
export async function getData(
  node: string,
  path: string,
  content: "config" | "nonconfig",
  { json, xml, defaults }: Flags,
): Promise<string> {
  const target = resolveTarget(path);
  const { segments, last } = target;
  // A list as a whole is no resource: its parent is asked for this field alone.
  const resource = target.isWhole ? segments.slice(0, -1) : segments;
  const { body } = await new RestconfClient(node).send({
    method: "GET",
    path: `/restconf/data${restconfPath(resource)}`,
    query: {
      content,
      "with-defaults": defaults ? "report-all" : "explicit",
      fields:
        target.isWhole && last
          ? segments.length === 1
            ? `vita-gateway:${last.name}`
            : last.name
          : undefined,
    },
    accept: xml ? "application/yang-data+xml" : "application/yang-data+json",
  });
  if (xml) return `${body.trimEnd()}\n`;
  const document = body === "" ? {} : (JSON.parse(body) as Record<string, unknown>);
  const nothing = () => new CliError(`${path}: there is no such data`, EXIT_NO_DATA);
  if (segments.length === 0) {
    const data = (document["ietf-restconf:data"] ?? {}) as Record<string, unknown>;
    return json ? `${JSON.stringify(data, null, 2)}\n` : printStatements(data);
  }
  const found = target.isWhole ? field(document, last?.name ?? "") : document;
  if (found === undefined || Object.keys(found).length === 0) throw nothing();
  if (json) return `${JSON.stringify(found, null, 2)}\n`;
  const [value] = Object.values(found);
  if (typeof value !== "object" || value === null) return `${String(value)}\n`;
  if (Array.isArray(value) && !target.isWhole) {
    const [entry] = value as unknown[];
    return typeof entry === "object" && entry !== null
      ? printStatements(entry as Record<string, unknown>)
      : `${String(entry)}\n`;
  }
  return Array.isArray(value) ? printStatements(found) : printStatements(value as Record<string, unknown>);
}

/** The one member of a parent that was asked for, however the parent is wrapped. */
function field(document: Record<string, unknown>, name: string): Record<string, unknown> | undefined {
  const [outer] = Object.values(document);
  const parent = (Array.isArray(outer) ? outer[0] : outer) as Record<string, unknown> | undefined;
  const member = Object.keys(parent ?? {}).find((key) => key.slice(key.indexOf(":") + 1) === name);
  return parent && member ? { [member]: parent[member] } : undefined;
}
