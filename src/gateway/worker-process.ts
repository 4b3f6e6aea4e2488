// One worker process as the supervisor sees it: started, adopted, watched, started again when it died.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CounterFile } from "../engine/counters.js";
import type { Sad } from "../ipsec/sad.js";
import type { Logger } from "./log.js";
import type { RunDirectory } from "./run-directory.js";
import { V8_FLAGS } from "./v8-flags.js";

const PROGRAM = fileURLToPath(new URL("./worker-main.js", import.meta.url));

/** Milliseconds between two looks whether a worker that is not our child still lives. */
const WATCH = 100;
/** A worker that dies younger than this (milliseconds) is started again after a pause that grows. */
const INFANCY = 2000;
const LONGEST_PAUSE = 5000;

export class WorkerProcess {
  readonly index: number;
  readonly #sad: Sad;
  readonly #run: RunDirectory;
  readonly #log: Logger;
  #pid = 0;
  #startedAt = 0;
  #pause = 0;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;
  #deaths = 0;

  constructor(index: number, sad: Sad, run: RunDirectory, log: Logger) {
    this.index = index;
    this.#sad = sad;
    this.#run = run;
    this.#log = log;
  }

  get pid(): number {
    return this.#pid;
  }

  /** How often this worker has died under this supervisor. */
  get deaths(): number {
    return this.#deaths;
  }

  /** Has it announced that it moves packets? */
  get ready(): boolean {
    return this.#pid !== 0 && this.#sad.workerPid(this.index) === this.#pid;
  }

  get logFile(): string {
    return this.#run.file(`worker-${this.index}.log`);
  }

  /** Takes over a worker that an earlier supervisor started. False when there is none alive. */
  adopt(): boolean {
    const pid = this.#sad.workerPid(this.index);
    if (pid === 0 || !isWorker(pid, this.#run.node, this.index)) return false;
    this.#pid = pid;
    this.#startedAt = Date.now() - INFANCY;
    this.#watch(pid);
    return true;
  }

  start(): void {
    if (this.#stopping) return;
    const counters = this.#run.shared(`counters-${this.index}`);
    try {
      CounterFile.open(counters, "read").close();
    } catch {
      CounterFile.create(this.#run.fresh(`counters-${this.index}`)).close();
    }
    this.#sad.announceWorker(this.index, 0);
    const log = openSync(this.logFile, "a", 0o600);
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, [...V8_FLAGS, PROGRAM, this.#run.node, String(this.index)], {
        // A process group of its own: it does not die with the terminal of the supervisor.
        detached: true,
        stdio: ["ignore", "ignore", log],
        env: { ...process.env, VITA_RUN_DIR: this.#run.base },
      });
    } finally {
      closeSync(log);
    }
    child.unref();
    this.#startedAt = Date.now();
    this.#pid = child.pid ?? 0;
    child.once("error", (error) => this.#died(`cannot be started: ${error.message}`));
    child.once("exit", (code, signal) =>
      this.#died(signal ? `was killed (${signal})` : `ended with status ${code}`),
    );
  }

  /** Watches a process that is not our child. */
  #watch(pid: number): void {
    this.#timer = setInterval(() => {
      if (isWorker(pid, this.#run.node, this.index)) return;
      clearInterval(this.#timer);
      this.#died("is gone");
    }, WATCH);
  }

  #died(how: string): void {
    this.#pid = 0;
    this.#sad.announceWorker(this.index, 0);
    this.#sad.leave(this.index);
    if (this.#stopping) return;
    this.#deaths++;
    const young = Date.now() - this.#startedAt < INFANCY;
    this.#pause = young ? Math.min(LONGEST_PAUSE, Math.max(250, 2 * this.#pause)) : 0;
    this.#log.warn(
      `worker ${this.index} ${how}${this.lastWords()}; starting it again${this.#pause ? ` in ${this.#pause} ms` : ""}`,
    );
    if (this.#pause === 0) this.start();
    else this.#timer = setTimeout(() => this.start(), this.#pause);
  }

  /** The last line of its log that is not about success, for the supervisor's own log. */
  lastWords(): string {
    try {
      const lines = readFileSync(this.logFile, "utf8").trimEnd().split("\n");
      const last = lines.at(-1) ?? "";
      const warning = / warn worker \d+: (.*)$/.exec(last);
      return warning ? `: ${warning[1]}` : "";
    } catch {
      return "";
    }
  }

  /** Ends the worker and waits until it is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    clearInterval(this.#timer);
    const pid = this.#pid || this.#sad.workerPid(this.index);
    if (pid === 0 || !isWorker(pid, this.#run.node, this.index)) return;
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      process.kill(pid, signal);
      for (let waited = 0; waited < 1000; waited += 10) {
        if (!isWorker(pid, this.#run.node, this.index)) {
          this.#sad.announceWorker(this.index, 0);
          this.#sad.leave(this.index);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }
}

/** Ends the workers of a node that no file tells about any more. */
export function endWorkersOf(run: RunDirectory): void {
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || !isWorker(pid, run.node) || runDirectoryOf(pid) !== run.base) continue;
    process.kill(pid, "SIGKILL");
  }
}

/** VITA_RUN_DIR of a process. */
function runDirectoryOf(pid: number): string | undefined {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    return variables.find((text) => text.startsWith("VITA_RUN_DIR="))?.slice("VITA_RUN_DIR=".length);
  } catch {
    return undefined;
  }
}

/** Is this process a worker of that node, and not another one that has the number by now? Zombies do not count. */
export function isWorker(pid: number, node: string, index?: number): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const at = words.indexOf(PROGRAM);
    return at > 0 && words[at + 1] === node && (index === undefined || words[at + 2] === String(index));
  } catch {
    return false;
  }
}
