// How worker processes are started: those that begin at once, and spares that wait for a word (see worker.ts).

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CounterFile } from "../engine/counters.js";
import type { RunDirectory } from "./run-directory.js";
import { V8_FLAGS } from "./v8-flags.js";

export const WORKER_PROGRAM = fileURLToPath(new URL("./worker-main.js", import.meta.url));

/** The file that takes what a worker says. */
export function workerLog(run: RunDirectory, index: number): string {
  return run.file(`worker-${index}.log`);
}

export function spawnWorker(run: RunDirectory, index: number, isSpare: boolean): ChildProcess {
  const counters = run.shared(`counters-${index}`);
  try {
    CounterFile.open(counters, "read").close();
  } catch {
    CounterFile.create(run.fresh(`counters-${index}`)).close();
  }
  const log = openSync(workerLog(run, index), "a", 0o600);
  try {
    const words = [run.node, String(index), ...(isSpare ? ["spare"] : [])];
    const child = spawn(process.execPath, [...V8_FLAGS, WORKER_PROGRAM, ...words], {
      // A process group of its own: it does not die with the terminal of the supervisor.
      detached: true,
      stdio: [isSpare ? "pipe" : "ignore", "ignore", log],
      env: { ...process.env, VITA_RUN_DIR: run.base },
    });
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

/** A spare that dies is followed by another one after a pause (ms), which doubles up to the longest while they die young. */
const SHORTEST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const INFANCY = 5000;

/**
 * The spare of one worker. It ends by itself when this process ends, because its standard input does. If it ends before, it
 * is replaced: the worker's next death would have no spare.
 */
export class Spare {
  readonly #run: RunDirectory;
  readonly #index: number;
  #child: ChildProcess | undefined;
  #pause = SHORTEST_PAUSE;
  #timer: NodeJS.Timeout | undefined;

  constructor(run: RunDirectory, index: number) {
    this.#run = run;
    this.#index = index;
  }

  /** Process id of the spare that waits, or 0. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Sees to it that there is one. */
  start(): void {
    clearTimeout(this.#timer);
    if (this.#child) return;
    const begun = Date.now();
    const again = () => {
      const isYoung = Date.now() - begun < INFANCY;
      this.#pause = isYoung ? Math.min(2 * this.#pause, LONGEST_PAUSE) : SHORTEST_PAUSE;
      this.#timer = setTimeout(() => this.start(), this.#pause);
    };
    let child: ChildProcess;
    try {
      child = spawnWorker(this.#run, this.#index, true);
    } catch {
      // Somebody has removed the node's files: it ends in a moment, or goes on without a spare until they are back.
      again();
      return;
    }
    this.#child = child;
    const gone = () => {
      if (this.#child !== child) return;
      this.#child = undefined;
      again();
    };
    child.once("error", gone);
    child.once("exit", gone);
    // A word to one that has just died is lost with it; its end is told all the same.
    child.stdin?.on("error", () => {});
  }

  /** Has the spare begin as a worker, when there is one, and hands it over. */
  take(): ChildProcess | undefined {
    clearTimeout(this.#timer);
    const child = this.#child;
    this.#child = undefined;
    if (!child?.stdin || child.exitCode !== null || child.signalCode !== null) return undefined;
    child.removeAllListeners("exit");
    child.removeAllListeners("error");
    child.stdin.end("!");
    return child;
  }

  stop(): void {
    clearTimeout(this.#timer);
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGKILL");
  }
}
