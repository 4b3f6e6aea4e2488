// The workers of one configuration. Because of a change another set takes a set's place: the new one's processes are made
// ready beside those that work, and then change places with them, all at once or one after the other. What the old ones
// would need to come back is kept until the change is made.

import { setTimeout as sleep } from "node:timers/promises";
import type { Configuration } from "../config/configuration.js";
import { MAX_WORKERS } from "../ipsec/sad-layout.js";
import type { ConfigurationFile } from "./run-configuration.js";
import { type WorkerParts, WorkerProcess } from "./worker-process.js";

/** Milliseconds for the workers to open their ports. */
const START_LIMIT = 15_000;
/** Milliseconds between two looks whether they have. */
const LOOK = 5;

export class WorkerSet {
  readonly #workers: readonly WorkerProcess[];

  /** @param file in which the workers find their configuration */
  constructor(
    { workers, "worker-cpu": cpus }: Configuration,
    parts: WorkerParts,
    file: ConfigurationFile = "config.json",
  ) {
    this.#workers = Array.from({ length: workers }, (_, i) => new WorkerProcess(i, parts));
    this.isIn(file);
    this.bind(cpus);
  }

  /** Ends those of an earlier run: all at once, because they have devices in common. */
  static async stopFormer(parts: WorkerParts): Promise<void> {
    const all = Array.from({ length: MAX_WORKERS }, (_, i) => new WorkerProcess(i, parts));
    await Promise.all(all.map((worker) => worker.stopFormer()));
  }

  /** Takes over those of an earlier run that live. @returns them */
  adopt(): { index: number; pid: number }[] {
    return this.#workers.filter((worker) => worker.adopt());
  }

  /** Starts those that do not run. */
  start(): void {
    for (const worker of this.#workers) if (worker.pid === 0) worker.start();
  }

  /** Waits until all move packets. @throws Error with what is in the way */
  async ready(which: readonly WorkerProcess[] = this.#workers): Promise<void> {
    for (const begun = performance.now(); !which.every(({ ready }) => ready); await sleep(LOOK)) {
      const dead = which.find(({ deaths }) => deaths > 0);
      if (dead) throw new Error(`worker ${dead.index} cannot start${dead.lastWords()} (see ${dead.logFile})`);
      if (performance.now() - begun >= START_LIMIT)
        throw new Error(`the workers did not start within ${START_LIMIT / 1000} s`);
    }
  }

  /** Has all ready to start. @throws Error with what is in the way */
  async prepare(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.prepare()));
  }

  /** Binds the workers to processors, the first one to the first and so on; those without one run where the kernel sees fit. */
  bind(cpus: readonly number[]): void {
    for (const worker of this.#workers) worker.bind(cpus[worker.index]);
  }

  /** Takes the place of another set of as many workers, one by one: the others move packets meanwhile. */
  async replaceOneByOne(other: WorkerSet): Promise<void> {
    for (const worker of this.#workers) {
      await other.#workers[worker.index].rest();
      worker.start();
      await this.ready([worker]);
    }
  }

  /** Takes the place of another set that has taken this one's, as far as it has, one by one. */
  async returnOneByOne(other: WorkerSet): Promise<void> {
    for (const worker of this.#workers) {
      const theirs = other.#workers[worker.index];
      if (theirs.pid === 0 && worker.ready) continue;
      await theirs.stop();
      worker.resume();
      await this.ready([worker]);
    }
  }

  /** Ends them all; see `resume`. */
  async rest(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.rest()));
  }

  /** Starts them again after `rest`. */
  async resume(): Promise<void> {
    for (const worker of this.#workers) worker.resume();
    await this.ready();
  }

  /** The configuration that they work by stands in this file. */
  isIn(file: ConfigurationFile): void {
    for (const worker of this.#workers) worker.file = file;
  }

  /** Ends what waits to take the place of those that have been stopped, or have never started. */
  dismiss(): void {
    for (const worker of this.#workers) worker.dismiss();
  }

  /** Ends them all, for good. */
  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }
}
