// A process of a benchmark's that waits to be asked for rounds, so that several can take turns: whatever else the machine
// does then meets all of them alike.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { V8_FLAGS } from "../src/gateway/v8-flags.js";

export interface ContenderOptions {
  /** Node's program; default: the one that runs. */
  readonly execPath?: string;
  /** V8's flags; default: a worker's. */
  readonly flags?: readonly string[];
}

export class Contender<Answer> {
  readonly answers: Answer[] = [];
  readonly #name: string;
  readonly #child: ChildProcess;

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
  }

  /**
   * Starts a module of bench/, by its name, which sends one message when it is warm, and then one for each that it gets.
   * @throws when it ends before it is warm
   */
  static async start<Answer>(
    module: string,
    args: readonly string[],
    options: ContenderOptions = {},
  ): Promise<Contender<Answer>> {
    const { execPath = process.execPath, flags = V8_FLAGS } = options;
    const path = fileURLToPath(new URL(`./${module}.js`, import.meta.url));
    const child = fork(path, args, { execPath, execArgv: [...flags] });
    const contender = new Contender<Answer>(`${module} ${args.join(" ")}`, child);
    try {
      await contender.#answer();
    } catch (error) {
      contender.stop();
      throw error;
    }
    return contender;
  }

  async #answer(): Promise<Answer> {
    const end = new AbortController();
    const { signal } = end;
    try {
      const answer = once(this.#child, "message", { signal });
      const gone = once(this.#child, "exit", { signal }).then(() => {
        throw new Error(`${this.#name} ended before its time`);
      });
      answer.catch(() => {});
      gone.catch(() => {});
      return ((await Promise.race([answer, gone])) as [Answer])[0];
    } finally {
      end.abort();
    }
  }

  /** Asks for one round, of so many packets. */
  async round(packets: number): Promise<void> {
    this.#child.send(packets);
    this.answers.push(await this.#answer());
  }

  stop(): void {
    this.#child.kill();
  }
}

/** The other side: what a contender does. @param warmUp answers a number that tells nothing to anybody */
export function answerRounds<Answer>(round: (packets: number) => Answer, warmUp: number): void {
  process.on("message", (packets: number) => process.send?.(round(packets)));
  process.send?.(round(warmUp));
}
