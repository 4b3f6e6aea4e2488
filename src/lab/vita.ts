// Vita on a gateway of a lab: its configuration file, `vita run` in the gateway's namespace, and a look at its state.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { WrittenConfiguration } from "../config/configuration.js";
import { type NodeState, readState } from "../gateway/state.js";
import { until } from "./command.js";
import { type Lab, runFolder } from "./lab.js";
import type { Child } from "./process.js";

/** dist/src/cli/vita.js, seen from dist/src/lab/. */
export const vitaProgram = join(dirname(dirname(fileURLToPath(import.meta.url))), "cli", "vita.js");

/** A configuration as an operator writes it: what is left out has its default. */
export type VitaConfiguration = WrittenConfiguration;

/** The configuration that a file's text is; the module's name before its leaves may be there or not. */
function written(text: string): VitaConfiguration {
  const leaves = Object.entries(JSON.parse(text) as Record<string, unknown>);
  return Object.fromEntries(
    leaves.map(([name, value]) => [name.replace(/^vita-gateway:/, ""), value]),
  ) as VitaConfiguration;
}

export class Vita {
  readonly process: Child;
  readonly node: string;
  readonly charonSocket: string;
  /** The one that is in force. */
  configuration: VitaConfiguration;
  readonly #runDirectory: string;
  readonly #file: string;

  private constructor(process: Child, configuration: VitaConfiguration, runDirectory: string, file: string) {
    const { node } = configuration;
    this.process = process;
    this.configuration = configuration;
    this.node = node;
    this.charonSocket = join(runDirectory, node, "charon.sock");
    this.#runDirectory = runDirectory;
    this.#file = file;
  }

  /** Where the Vitas of a lab keep their run files. */
  static runDirectory(lab: Lab): string {
    return lab.path(runFolder);
  }

  /**
   * Starts Vita and waits until its workers forward packets.
   * @param name of the process, where it is not the first of its node
   * @param options further ones of `vita run`
   */
  static start(
    lab: Lab,
    namespace: string,
    configuration: VitaConfiguration,
    name?: string,
    options: readonly string[] = [],
  ): Promise<Vita> {
    return Vita.startText(lab, namespace, `${JSON.stringify(configuration, null, 2)}\n`, name, options);
  }

  /** The same with a configuration file's text as it is, in any spelling that `vita run` takes. */
  static async startText(
    lab: Lab,
    namespace: string,
    text: string,
    name?: string,
    options: readonly string[] = [],
  ): Promise<Vita> {
    if (!existsSync(vitaProgram))
      throw new Error(`${vitaProgram} is missing: build Vita first (npm run setup)`);
    const configuration = written(text);
    const { node } = configuration;
    const runDirectory = Vita.runDirectory(lab);
    mkdirSync(runDirectory, { recursive: true, mode: 0o700 });
    const file = lab.path(`${node}.json`);
    writeFileSync(file, text, { mode: 0o600 });
    // What a killed predecessor left would look like readiness.
    rmSync(join(runDirectory, node, "ready"), { force: true });
    const env = { ...process.env, VITA_RUN_DIR: runDirectory, VITA_STATE_DIR: lab.path("state") };
    const child = lab.start(
      process.execPath,
      ["--enable-source-maps", "--max-semi-space-size=16", vitaProgram, "run", "--config", file, ...options],
      { name: name ?? `${node}-vita`, namespace, env },
    );
    const vita = new Vita(child, configuration, runDirectory, file);
    await until(
      `${node}: Vita's workers`,
      () => {
        child.assertRunning();
        return existsSync(join(runDirectory, node, "ready"));
      },
      20_000,
      10,
    );
    return vita;
  }

  /**
   * Changes the configuration while the node runs, as an operator does who edits the file.
   * @throws Error with the words of a refusal
   */
  async change(configuration: VitaConfiguration): Promise<void> {
    writeFileSync(this.#file, `${JSON.stringify(configuration, null, 2)}\n`);
    await this.reload();
    this.configuration = configuration;
  }

  /** Has the node read its configuration's file. @throws Error with the words of a refusal */
  async reload(): Promise<void> {
    const before = readFileSync(this.process.log, "utf8").length;
    this.process.signal("SIGHUP");
    const outcome = await until(
      `${this.node}: the change`,
      () => {
        this.process.assertRunning();
        const said = readFileSync(this.process.log, "utf8").slice(before);
        // A line may have been written in part.
        return /vita: the configuration (is in force|stays as it was: .*(?=\n))/.exec(said)?.[1];
      },
      30_000,
      5,
    );
    if (outcome !== "is in force") throw new Error(outcome);
  }

  /** Read from the node's shared files, like `vita state` does. */
  state(): NodeState {
    return readState(this.node, this.#runDirectory);
  }

  /** Packets that were dropped, by the name of the drop. */
  drops(): Record<string, number> {
    return dropsOf(this.state());
  }
}

/** The drop counters of a state that have counted something: `decapsulate.drop.replayed`, and so on. */
export function dropsOf(state: Pick<NodeState, "counters">): Record<string, number> {
  const drops: Record<string, number> = {};
  for (const [name, value] of Object.entries(state.counters)) {
    if (name.includes("drop.") && value > 0) drops[name] = value;
  }
  return drops;
}
