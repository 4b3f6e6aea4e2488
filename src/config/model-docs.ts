// docs/configuration.md, from the model: every leaf with its type, its default and what it means. The worked examples in it
// are the files in docs/examples/, which a test runs.

import type { SchemaNode } from "./schema.js";

/** The parts of the page that stand for themselves. */
export interface ModelDocs {
  readonly data: readonly SchemaNode[];
  readonly rpcs: readonly SchemaNode[];
  readonly notifications: readonly SchemaNode[];
}

/** Tables of the configuration, of operational state, of operations and notifications: Markdown. */
function modelTables({ data, rpcs, notifications }: ModelDocs): string {
  const configuration = data.filter(({ config }) => config);
  const state = data.filter(({ config }) => !config);
  const scalars = configuration.filter(isLeaf);
  return [
    "## Every leaf\n",
    "Mandatory leaves are marked with *. Lists have their keys in brackets. 🔒 marks secrets: they are never shown without the\nright to see them.\n",
    "### The node\n",
    table(scalars),
    ...configuration.filter((node) => !isLeaf(node)).map(section),
    "## Operational state\n",
    ...state.map(section),
    "## Operations\n",
    ...rpcs.map(section),
    "## Notifications\n",
    ...notifications.map(section),
  ].join("\n");
}

function isLeaf({ kind }: SchemaNode): boolean {
  return kind === "leaf" || kind === "leaf-list";
}

function section(node: SchemaNode): string {
  const leaves = [...below(node)];
  return [
    `### \`${heading(node)}\`\n`,
    `${oneLine(node.description)}\n`,
    ...(leaves.length === 0 ? [] : [table(leaves, node)]),
  ].join("\n");
}

function heading(node: SchemaNode): string {
  const slash = node.kind === "rpc" || node.kind === "notification" ? "" : "/";
  return `${slash}${segment(node)}`;
}

function segment(node: SchemaNode): string {
  return node.kind === "list" && node.keys.length > 0 ? `${node.name}[${node.keys.join(",")}]` : node.name;
}

/** What stands in a container or list, however deep, in the model's order. */
function* below(node: SchemaNode): Generator<SchemaNode> {
  for (const child of node.children) {
    if (child.kind === "output") continue;
    if (child.kind !== "input" && child.kind !== "choice" && child.kind !== "case") yield child;
    if (!isLeaf(child)) yield* below(child);
  }
}

function table(nodes: readonly SchemaNode[], root?: SchemaNode): string {
  const rows = nodes.map((node) => {
    const name = `\`${relative(node, root)}\`${node.mandatory ? " *" : ""}${node.denyAll ? " 🔒" : ""}`;
    return `| ${name} | ${typeText(node)} | ${defaultText(node)} | ${meaning(node)} |`;
  });
  return ["| leaf | type | default | what it is |", "| --- | --- | --- | --- |", ...rows, ""].join("\n");
}

function relative(node: SchemaNode, root: SchemaNode | undefined): string {
  const parts = [segment(node)];
  for (let at = node.parent; at && at !== root; at = at.parent)
    if (at.kind !== "input" && at.kind !== "choice" && at.kind !== "case") parts.unshift(segment(at));
  return parts.join("/");
}

function typeText(node: SchemaNode): string {
  if (node.kind === "container") return node.presence ? "container, by its presence" : "container";
  if (node.kind === "list") return counted(node, "list");
  const { type } = node;
  if (!type) return "";
  const text = scalarType(type);
  return escapeCell(node.kind === "leaf-list" ? counted(node, `list of ${text}`) : text);
}

function scalarType(type: NonNullable<SchemaNode["type"]>): string {
  if (type.path) return `reference to ${type.path.replace(/[\w-]+:/g, "")}`;
  if (type.enums) return type.enums.map(({ name }) => `\`${name}\``).join(", ");
  const name = type.typedef ?? type.base;
  if (!type.ranges) return name;
  const ranges = type.ranges.map(([min, max]) => (min === max ? String(min) : `${min} to ${max}`));
  return `${name}, ${ranges.join(" or ")}`;
}

function counted({ minElements, maxElements }: SchemaNode, what: string): string {
  const max = maxElements === undefined ? "" : String(maxElements);
  if (minElements === 0 && max === "") return what;
  return `${what}, ${max === "" ? `at least ${minElements}` : minElements === 0 ? `at most ${max}` : `${minElements} to ${max}`}`;
}

function defaultText({ default: values, units }: SchemaNode): string {
  if (!values || values.length === 0) return "";
  return `${values.map((value) => `\`${value}\``).join(", ")}${units && values[0] !== "0" ? ` ${units}` : ""}`;
}

/** The description, and those of an enumeration's values. */
function meaning({ description, type, units, default: values }: SchemaNode): string {
  const enums = (type?.enums ?? [])
    .filter((one) => one.description)
    .map((one) => `\`${one.name}\`: ${oneLine(one.description)}`);
  const unit = units && !values?.length ? ` (${units})` : "";
  return escapeCell([oneLine(description) + unit, ...enums].join(" "));
}

function oneLine(text: string | undefined): string {
  return (text ?? "").replace(/\s+/g, " ").trim();
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}

const marker = /<!-- (model|example ([\w./-]+)) -->\n[\s\S]*?<!-- \/\1 -->/g;

/**
 * A page with its generated parts written anew: what stands between `<!-- model -->` and `<!-- /model -->`, and between
 * `<!-- example FILE -->` and `<!-- /example FILE -->`.
 * @param example text of an example, by its path below docs/examples/
 */
export function fillPage(page: string, model: ModelDocs, example: (file: string) => string): string {
  return page.replace(marker, (_, name: string, file: string | undefined) => {
    const content =
      file === undefined ? modelTables(model) : `\`\`\`json\n${example(file).trimEnd()}\n\`\`\`\n`;
    return `<!-- ${name} -->\n${content}<!-- /${name} -->`;
  });
}
