// What a supervisor holds of a node that runs. A change of the configuration puts others in the place of some of it.

import type { Configuration } from "../config/datastore.js";
import type { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { close, write } from "../native/libc.js";
import type { CharonSide } from "./charon-side.js";
import type { Databases } from "./databases.js";
import { openEventPipe } from "./event-pipe.js";
import type { Logger } from "./log.js";
import type { NodeEvents } from "./node-events.js";
import type { PidWatch } from "./pid-watch.js";
import type { ConfigurationFile } from "./run-configuration.js";
import type { RunDirectory } from "./run-directory.js";
import type { RunFiles } from "./run-files.js";
import { SaEvents } from "./sa-events.js";
import type { SystemSide } from "./system-side.js";
import { WorkerSet } from "./worker-set.js";

/** A part of the configuration that is none of the workers' business, and who carries its changes out. */
export interface ConfigurationPart {
  /**
   * Carries a change out, and touches only what differs.
   * @param from what is in force; undefined at the start, when an earlier run may have left something
   * @throws Error with what is wrong; it has undone then what it did
   */
  apply(from: Configuration | undefined, to: Configuration): Promise<void>;
}

/** The parts, in the order in which they are applied. */
export interface NodeParts {
  /** Static SAs, and policies. */
  security?: (kernel: PseudoKernel) => ConfigurationPart;
  /** What charon is told. */
  connections?: ConfigurationPart;
}

export class RunningNode {
  configuration!: Configuration;
  databases!: Databases;
  system!: SystemSide;
  workers: WorkerSet | undefined;
  security: ConfigurationPart | undefined;
  /** Pipes by which workers with waiting packets are woken, by worker. */
  readonly #wakes: number[] = [];
  readonly #saEvents: SaEvents;

  constructor(
    readonly run: RunDirectory,
    readonly log: Logger,
    readonly watch: PidWatch,
    readonly files: RunFiles,
    readonly charon: CharonSide,
    readonly parts: NodeParts,
    readonly events: NodeEvents,
  ) {
    this.#saEvents = new SaEvents(events);
  }

  /** @param file in which the workers find the configuration */
  workerSet(configuration: Configuration, file?: ConfigurationFile): WorkerSet {
    const { run, watch, log } = this;
    return new WorkerSet(configuration, { sad: this.databases.sad, run, watch, log }, file);
  }

  /** Has the databases at work, and who depends on them. */
  begin(databases: Databases, configuration: Configuration): void {
    this.databases = databases;
    this.#saEvents.begin(databases.sad);
    databases.begin(configuration, {
      saChanged: (slot, present) => this.#saEvents.change(slot, present),
      send: (event) => this.charon.send(event),
      policyChanged: (request, present) => this.system.change(request, present),
      wake: () => this.#wake(),
    });
    this.security = this.parts.security?.(databases.kernel);
  }

  /** Has databases at work again in whose place others were. */
  returnTo(databases: Databases, security: ConfigurationPart | undefined): void {
    this.databases = databases;
    this.security = security;
    this.#saEvents.begin(databases.sad);
    databases.resume();
  }

  /** Sees to it that there are pipes to so many workers. */
  openWakes(workers: number): void {
    for (let i = this.#wakes.length; i < workers; i++) this.#wakes.push(openEventPipe(this.run.wakePipe(i)));
  }

  #wake(): void {
    // A full pipe is one that nobody waits at.
    for (const pipe of this.#wakes) write(pipe, NUDGE, 1);
  }

  /** Begins to look after the files that are there now. */
  watchFiles(): void {
    const names = ["config.json", "sad", "spd", "frames", "ports", "events"];
    if (this.charon.isOpen) names.push("charon.sock");
    this.files.watch([...names, ...this.#wakes.map((_, i) => `wake-${i}`)]);
  }

  closeWakes(): void {
    for (const pipe of this.#wakes.splice(0)) close(pipe);
  }
}

const NUDGE = Uint8Array.of(1);
