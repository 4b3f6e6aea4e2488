// `vita completion SHELL`: a script for the shell, which asks `vita complete-words` for candidates: commands, options, nodes
// that run, and data paths of the model with the keys that the node has.

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Command, type Option } from "commander";
import type { SchemaNode } from "../config/schema.js";
import { MODULE_NAME, Schema } from "../config/schema.js";
import { DEFAULT_RUN_DIRECTORY } from "../gateway/run-directory.js";
import { getData } from "./config-get.js";
import { CliError, EXIT_USAGE } from "./exit-codes.js";

const scripts: Record<string, string> = {
  // Words with brackets and slashes are words of their own only when neither ends one: COMP_WORDBREAKS loses '='.
  bash: `_vita() {
  local COMP_WORDBREAKS="\${COMP_WORDBREAKS//[=:]/}" IFS=$'\\n'
  COMPREPLY=($(vita complete-words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ \${COMPREPLY[0]} == */ || \${COMPREPLY[0]} == *= ]] && compopt -o nospace
  [[ \${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
}
complete -F _vita vita
`,
  zsh: `#compdef vita
_vita() {
  local -a found
  found=(\${(f)"$(vita complete-words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  (( \${#found} )) && compadd -Q -S '' -a found || _files
}
compdef _vita vita
`,
  fish: `function __vita_complete
  set -l words (commandline -opc) (commandline -ct)
  vita complete-words -- $words[2..-1] 2>/dev/null
end
complete -c vita -f -a '(__vita_complete)'
`,
};

export function completionCommands(program: Command): Command[] {
  return [
    new Command("completion")
      .description("prints a completion script: source <(vita completion bash)")
      .argument("<shell>", "bash, zsh or fish")
      .action((shell: string) => {
        const script = scripts[shell];
        if (!script) throw new CliError(`${shell} is none of bash, zsh and fish`, EXIT_USAGE);
        process.stdout.write(script);
      }),
    new Command("complete-words")
      .description("prints candidates for the last word of a command line")
      .argument("[words...]")
      .action(async (words: string[]) => {
        const candidates = await complete(program, words);
        process.stdout.write(candidates.map((word) => `${word}\n`).join(""));
      }),
  ];
}

/** Candidates for the last of the words behind `vita`. */
export async function complete(program: Command, words: readonly string[]): Promise<string[]> {
  const current = words.at(-1) ?? "";
  let command = program;
  const given: string[] = [];
  let open: Option | undefined;
  for (const word of words.slice(0, -1)) {
    const sub = given.length === 0 ? command.commands.find((one) => one.name() === word) : undefined;
    if (open) open = undefined;
    else if (word.startsWith("-"))
      open = command.options.find(
        ({ long, short, required }) => required && (word === long || word === short),
      );
    else if (sub) command = sub;
    else given.push(word);
  }
  const matching = (candidates: readonly string[]) => candidates.filter((one) => one.startsWith(current));
  if (open) return [];
  if (current.startsWith("-")) return matching(command.options.map(({ long }) => long ?? ""));
  if (command.commands.length > 0)
    return matching(command.commands.map((one) => one.name()).filter((name) => name !== "complete-words"));
  const argument = command.registeredArguments[given.length]?.name();
  if (argument === "node") return matching(runningNodes());
  if (argument === "path") return matching(await paths(given[0], current, command.name() === "state"));
  if (argument === "id") return matching(await keysOf(given[0], "/connection", "id"));
  return [];
}

function runningNodes(): string[] {
  const base = process.env["VITA_RUN_DIR"] ?? DEFAULT_RUN_DIRECTORY;
  try {
    return readdirSync(base).filter(
      (name) => statSync(join(base, name, "ready"), { throwIfNoEntry: false }) !== undefined,
    );
  } catch {
    return [];
  }
}

/** Data paths that go one step further than what is written. */
async function paths(node: string, current: string, isState: boolean): Promise<string[]> {
  const top = Schema.load().modules.find(({ name }) => name === MODULE_NAME)?.data ?? [];
  const parent = current.slice(0, current.lastIndexOf("/") + 1) || "/";
  let children: readonly SchemaNode[] = top;
  for (const [, name] of parent.matchAll(/\/([A-Za-z_][\w.-]*)(?=[/[])/g))
    children = children.find((child) => child.name === name)?.children ?? [];
  const candidates: string[] = [];
  for (const child of children) {
    if (isState === child.config) continue;
    const path = `${parent}${child.name}`;
    candidates.push(path);
    const [key] = child.keys;
    if (child.kind === "list" && child.keys.length === 1 && current.startsWith(path))
      for (const value of await keysOf(node, path, key)) candidates.push(`${path}[${key}=${value}]`);
  }
  return candidates;
}

/** Keys of the entries that a node has; none when it does not answer. */
async function keysOf(node: string, path: string, key: string): Promise<string[]> {
  try {
    const content = path.startsWith("/gateway-state") ? "nonconfig" : "config";
    const [entries] = Object.values(JSON.parse(await getData(node, path, content, { json: true })) as object);
    return (entries as Record<string, unknown>[]).map((entry) => String(entry[key]));
  } catch {
    return [];
  }
}
