// One worker process as the supervisor sees it: started, adopted, watched, replaced when it died. A spare process stands by
// to take its place, so that little more than the ports' opening time passes without it.

import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { messageOf } from "../config/refusal.js";
import type { Sad } from "../ipsec/sad.js";
import { tieTo, usableCores } from "../native/affinity.js";
import type { Logger } from "./log.js";
import type { PidWatch } from "./pid-watch.js";
import type { ConfigurationFile } from "./run-configuration.js";
import type { RunDirectory } from "./run-directory.js";
import { Spare, spawnWorker, WORKER_PROGRAM, workerLog } from "./worker-spawn.js";

/** A worker that dies younger than this (milliseconds) is a young death. */
const INFANCY = 2000;
/** After so many young deaths one behind the other, workers are started again only after a pause (ms) that grows. */
const PATIENCE = 2;
const SHORTEST_PAUSE = 250;
const LONGEST_PAUSE = 5000;
/** Milliseconds between two looks whether a new worker moves packets, so that its spare may take some CPU time. */
const READY_LOOK = 50;
/** Milliseconds for a worker to end when it was told to. */
const END_LIMIT = 1000;

/** What the workers of a node have in common. */
export interface WorkerParts {
  readonly sad: Sad;
  readonly run: RunDirectory;
  /** Tells of the end of workers that are not our children. */
  readonly watch: PidWatch;
  readonly log: Logger;
}

export class WorkerProcess {
  readonly index: number;
  /** The configuration that it works by, and those that follow it. */
  file: ConfigurationFile = "config.json";
  readonly #sad: Sad;
  readonly #run: RunDirectory;
  readonly #log: Logger;
  readonly #watch: PidWatch;
  readonly #spare: Spare;
  #pid = 0;
  #startedAt = 0;
  #youngDeaths = 0;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;
  #spareTimer: NodeJS.Timeout | undefined;
  #unwatch: (() => void) | undefined;
  #deaths = 0;
  /** The processor that it is bound to. */
  #cpu: number | undefined;

  constructor(index: number, { sad, run, watch, log }: WorkerParts) {
    this.index = index;
    this.#sad = sad;
    this.#run = run;
    this.#watch = watch;
    this.#spare = new Spare(run, index, () => this.file);
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
    return workerLog(this.#run, this.index);
  }

  /** Takes over a worker that an earlier supervisor started. False when there is none alive. */
  adopt(): boolean {
    const pid = this.#sad.workerPid(this.index);
    if (pid === 0 || !isWorker(pid, this.#run.node, this.index)) return false;
    this.#pid = pid;
    this.#startedAt = Date.now() - INFANCY;
    this.#unwatch = this.#watch.add(pid, () => this.#died("is gone"));
    this.#startSpare();
    return true;
  }

  /**
   * Has everything ready but for the ports, so that `start` takes little time.
   * @throws Error with what is in the way
   */
  async prepare(): Promise<void> {
    if (!(await this.#spare.prepare()))
      throw new Error(`worker ${this.index} cannot start${this.lastWords()} (see ${this.logFile})`);
  }

  /** Has no spare started until `release`; the one that waits stays. */
  hold(): void {
    this.#spare.hold();
  }

  release(): void {
    this.#spare.release();
  }

  /** Binds it to a processor, or to none. */
  bind(cpu: number | undefined): void {
    const wasBound = this.#cpu !== undefined;
    this.#cpu = cpu;
    if (this.#pid !== 0 && (wasBound || cpu !== undefined)) this.#tie();
  }

  /** Binds the thread that moves packets. */
  #tie(): void {
    try {
      tieTo(this.#pid, this.#cpu === undefined ? usableCores() : [this.#cpu]);
    } catch (error) {
      this.#log.warn(`worker ${this.index} runs on any processor: ${messageOf(error)}`);
    }
  }

  start(): void {
    if (this.#stopping) return;
    this.#sad.announceWorker(this.index, 0);
    this.#startedAt = Date.now();
    let child: ChildProcess;
    try {
      child = this.#spare.take() ?? spawnWorker(this.#run, this.index, false, this.file);
    } catch (error) {
      // Its files or descriptors are missing; it is tried again, as if it had died young.
      setImmediate(() => this.#died(`cannot be started: ${messageOf(error)}`));
      return;
    }
    this.#pid = child.pid ?? 0;
    if (this.#pid !== 0 && this.#cpu !== undefined) this.#tie();
    const { pid } = this;
    // Another one may have been started by the time that a child's end is told.
    const ended = (how: string) => {
      if (this.#pid === pid) this.#died(how);
    };
    child.once("error", (error) => ended(`cannot be started: ${error.message}`));
    child.once("exit", (code, signal) =>
      ended(signal ? `was killed (${signal})` : `ended with status ${code}`),
    );
    this.#startSpare();
  }

  /** Starts the spare once the worker moves packets. */
  #startSpare(): void {
    clearInterval(this.#spareTimer);
    this.#spareTimer = setInterval(() => {
      if (!this.ready) return;
      clearInterval(this.#spareTimer);
      this.#spare.start();
    }, READY_LOOK);
  }

  #died(how: string): void {
    this.#pid = 0;
    // Who stops it sees to the rest, and may have closed the SAD by the time that a child's end is told.
    if (this.#stopping) return;
    this.#sad.announceWorker(this.index, 0);
    this.#sad.leave(this.index);
    this.#deaths++;
    clearInterval(this.#spareTimer);
    const young = Date.now() - this.#startedAt < INFANCY;
    this.#youngDeaths = young ? this.#youngDeaths + 1 : 0;
    const beyond = this.#youngDeaths - PATIENCE;
    const pause = beyond <= 0 ? 0 : Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** (beyond - 1));
    if (pause === 0) this.start();
    else this.#timer = setTimeout(() => this.start(), pause);
    // Behind the start: reading the log and writing to it takes time.
    this.#log.warn(
      `worker ${this.index} ${how}${this.lastWords()}; starting it again${pause ? ` in ${pause} ms` : ""}`,
    );
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

  /** Ends the worker for good, and waits until it is gone. */
  async stop(): Promise<void> {
    this.#spare.stop();
    await this.rest();
  }

  /** Ends the worker, and waits until it is gone; the spare stays, for `resume`. */
  async rest(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    clearInterval(this.#spareTimer);
    this.#unwatch?.();
    const pid = this.#pid;
    this.#pid = 0;
    if (pid === 0 || !isWorker(pid, this.#run.node, this.index)) return;
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      if (!(await this.#end(pid, signal))) continue;
      this.#sad.announceWorker(this.index, 0);
      this.#sad.leave(this.index);
      return;
    }
  }

  /** Ends the worker that an earlier supervisor started, if there is one. */
  async stopFormer(): Promise<void> {
    this.#pid = this.#sad.workerPid(this.index);
    await this.stop();
  }

  /** Starts again after `rest`. */
  resume(): void {
    this.#stopping = false;
    this.#deaths = 0;
    this.start();
  }

  /** Ends what waits to take its place: for one that has been stopped, or was never started. */
  dismiss(): void {
    this.#stopping = true;
    clearTimeout(this.#timer);
    clearInterval(this.#spareTimer);
    this.#spare.stop();
  }

  /**
   * Sends a signal and waits for the process to end altogether: only then has the kernel taken back its sockets, its XDP
   * programs and its hold on devices. @returns whether it has ended
   */
  async #end(pid: number, signal: NodeJS.Signals): Promise<boolean> {
    let unwatch = () => {};
    let timer: NodeJS.Timeout | undefined;
    const ended = new Promise<boolean>((resolve) => {
      unwatch = this.#watch.add(pid, () => resolve(true));
      timer = setTimeout(() => resolve(false), END_LIMIT);
    });
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself, and will be told.
    }
    const hasEnded = await ended;
    clearTimeout(timer);
    unwatch();
    return hasEnded;
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
    const at = words.indexOf(WORKER_PROGRAM);
    return at > 0 && words[at + 1] === node && (index === undefined || words[at + 2] === String(index));
  } catch {
    return false;
  }
}
