// How worker processes are started: those that begin at once, and spares that wait for a word (see worker.ts).

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CounterFile } from "../engine/counters.js";
import type { ConfigurationFile } from "./run-configuration.js";
import type { RunDirectory } from "./run-directory.js";
import { V8_FLAGS } from "./v8-flags.js";

export const WORKER_PROGRAM = fileURLToPath(new URL("./worker-main.js", import.meta.url));

/** The file that takes what a worker says. */
export function workerLog(run: RunDirectory, index: number): string {
  return run.file(`worker-${index}.log`);
}

/** @param file the configuration that it works by */
export function spawnWorker(
  run: RunDirectory,
  index: number,
  isSpare: boolean,
  file: ConfigurationFile,
): ChildProcess {
  const counters = run.shared(`counters-${index}`);
  try {
    CounterFile.open(counters, "read").close();
  } catch {
    CounterFile.create(run.fresh(`counters-${index}`)).close();
  }
  const log = openSync(workerLog(run, index), "a", 0o600);
  try {
    const words = [run.node, String(index)];
    if (isSpare) words.push("spare");
    if (file === "next.json") words.push("next");
    const child = spawn(process.execPath, [...V8_FLAGS, WORKER_PROGRAM, ...words], {
      // A process group of its own: it does not die with the terminal of the supervisor.
      detached: true,
      stdio: isSpare ? ["pipe", "pipe", log] : ["ignore", "ignore", log],
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
  readonly #file: () => ConfigurationFile;
  #child: ChildProcess | undefined;
  #pause = SHORTEST_PAUSE;
  #timer: NodeJS.Timeout | undefined;
  /** Called when the spare has everything that it waits with, or has ended. */
  #told: ((isReady: boolean) => void) | undefined;
  #isReady = false;

  /** @param file the configuration that a spare which is started now is to work by */
  constructor(run: RunDirectory, index: number, file: () => ConfigurationFile) {
    this.#run = run;
    this.#index = index;
    this.#file = file;
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
      this.#told?.(false);
    };
    let child: ChildProcess;
    try {
      child = spawnWorker(this.#run, this.#index, true, this.#file());
    } catch {
      // Somebody has removed the node's files: it ends in a moment, or goes on without a spare until they are back.
      again();
      return;
    }
    this.#child = child;
    this.#isReady = false;
    const gone = () => {
      if (this.#child !== child) return;
      this.#child = undefined;
      again();
    };
    child.once("error", gone);
    child.once("exit", gone);
    child.stdout?.once("data", () => {
      child.stdout?.destroy();
      if (this.#child !== child) return;
      this.#isReady = true;
      this.#told?.(true);
    });
    // A word to one that has just died is lost with it; its end is told all the same.
    for (const pipe of [child.stdin, child.stdout]) pipe?.on("error", () => {});
  }

  /** Starts it, and waits until all that is left to do is to open the ports. @returns false when it has ended before */
  prepare(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#told = (isReady) => {
        this.#told = undefined;
        resolve(isReady);
      };
      this.start();
      if (this.#child && this.#isReady) this.#told(true);
    });
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
    this.#told?.(false);
  }
}
