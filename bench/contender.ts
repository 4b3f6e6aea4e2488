// A process of a benchmark's that waits to be asked for rounds, so that several can take turns: whatever else the machine
// does then meets all of them alike.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { V8_FLAGS } from "../src/gateway/v8-flags.js";

/** One that takes longer for a round hangs, milliseconds. */
const LONGEST_ROUND = 40_000;

export interface ContenderOptions {
  /** Node's program; default: the one that runs. */
  readonly execPath?: string;
  /** V8's flags; default: a worker's. */
  readonly flags?: readonly string[];
  /** Its directory; default: ours. */
  readonly cwd?: string;
}

/** @typeParam Question what a round is asked for with: mostly a number of packets */
export class Contender<Answer, Question extends number | object = number> {
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
  static async start<Answer, Question extends number | object = number>(
    module: string,
    args: readonly string[],
    options: ContenderOptions = {},
  ): Promise<Contender<Answer, Question>> {
    const { execPath = process.execPath, flags = V8_FLAGS, cwd = process.cwd() } = options;
    const path = fileURLToPath(new URL(`./${module}.js`, import.meta.url));
    const child = fork(path, args, { execPath, execArgv: [...flags], cwd });
    const contender = new Contender<Answer, Question>(`${module} ${args.join(" ")}`, child);
    try {
      await contender.#answer();
    } catch (error) {
      contender.stop();
      throw error;
    }
    return contender;
  }

  async #answer(): Promise<Answer> {
    const timer = setTimeout(() => this.stop(), LONGEST_ROUND);
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
      clearTimeout(timer);
      end.abort();
    }
  }

  /** Asks for one round. */
  async round(question: Question): Promise<Answer> {
    this.#child.send(question);
    const answer = await this.#answer();
    this.answers.push(answer);
    return answer;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.#name} was not started`);
    return pid;
  }

  stop(): void {
    this.#child.kill();
    // Of one that ended while it was stepped (stepper.ts), libuv never hears.
    this.#child.unref();
  }
}

/** The other side: what a contender does. @param warmUp answers a number that tells nothing to anybody */
export function answerRounds<Answer, Question = number>(
  round: (question: Question) => Answer | Promise<Answer>,
  warmUp: Question,
): void {
  const answer = async (question: Question) => {
    process.send?.(await round(question));
  };
  process.on("message", answer);
  answer(warmUp);
}
