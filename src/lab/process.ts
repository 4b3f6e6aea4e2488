// A process that stays running inside a lab: started in a namespace, its output in a file, stopped by pid.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { inside } from "./command.js";

export interface ChildOptions {
  /** What to call it in errors. */
  name: string;
  namespace?: string | undefined;
  /** File that takes its standard output and error; nothing of it is shown. */
  log: string;
  /** Its standard output alone goes here, when what it prints is data. */
  output?: string;
  env?: NodeJS.ProcessEnv;
}

export class Child {
  readonly name: string;
  readonly pid: number;
  readonly log: string;
  /** How it ended, in words; undefined while it runs. */
  ended: string | undefined;
  readonly #process: ChildProcess;
  readonly #exit: Promise<void>;

  constructor(command: string, args: string[], options: ChildOptions) {
    this.name = options.name;
    this.log = options.log;
    const [file, fileArgs] = inside(options.namespace, command, args);
    const log = openSync(options.log, "a");
    const output = options.output === undefined ? log : openSync(options.output, "w");
    try {
      // A group of its own: Ctrl-C in the terminal must reach the lab's owner only, which then stops things in order.
      this.#process = spawn(file, fileArgs, {
        stdio: ["ignore", output, log],
        env: options.env ?? process.env,
        detached: true,
      });
    } finally {
      closeSync(log);
      if (output !== log) closeSync(output);
    }
    this.pid = this.#process.pid ?? 0;
    this.#exit = new Promise((resolve) => {
      this.#process.once("error", (error) => {
        this.ended = error.message;
        resolve();
      });
      this.#process.once("exit", (status, signal) => {
        this.ended = signal ? `killed by ${signal}` : `exit code ${status}`;
        resolve();
      });
    });
  }

  get running(): boolean {
    return this.ended === undefined;
  }

  /** Throws, with the end of its log, if it has ended. */
  assertRunning(): void {
    if (!this.running) throw new Error(`${this.name} ended (${this.ended})\n${this.tail()}`);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running && this.pid > 0) this.#process.kill(signal);
  }

  /** Waits for its end; false if it still runs after `timeout` milliseconds. */
  async wait(timeout: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeout);
    });
    await Promise.race([this.#exit, late]);
    // Or else it would keep this process alive for nothing.
    clearTimeout(timer);
    return !this.running;
  }

  /** Asks it to end, and insists after `grace` milliseconds. */
  async stop(signal: NodeJS.Signals = "SIGTERM", grace = 5000): Promise<void> {
    this.signal(signal);
    if (await this.wait(grace)) return;
    this.signal("SIGKILL");
    await this.wait(5000);
  }

  /** The last lines that it wrote. */
  tail(lines = 15): string {
    try {
      return readFileSync(this.log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
    } catch {
      return "";
    }
  }
}
