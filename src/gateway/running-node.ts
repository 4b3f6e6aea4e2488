// What a supervisor holds of a node that runs. A change of the configuration puts others in the place of some of it.

import { join } from "node:path";
import type { Configuration } from "../config/configuration.js";
import { close, write } from "../native/libc.js";
import type { CharonSide } from "./charon-side.js";
import { clock, type Databases } from "./databases.js";
import { openEventPipe } from "./event-pipe.js";
import { IkeConnections } from "./ike-connections.js";
import type { InterfaceClaims } from "./interface-claims.js";
import type { Logger } from "./log.js";
import type { NodeEvents } from "./node-events.js";
import type { PidWatch } from "./pid-watch.js";
import type { ConfigurationFile } from "./run-configuration.js";
import type { RunDirectory } from "./run-directory.js";
import type { RunFiles } from "./run-files.js";
import { SaEvents } from "./sa-events.js";
import { SequenceMarks, stateDirectory } from "./sequence-marks.js";
import { StaticSecurity } from "./static-security.js";
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

export class RunningNode {
  configuration!: Configuration;
  databases!: Databases;
  system!: SystemSide;
  workers: WorkerSet | undefined;
  /** Static SAs, and policies. */
  security!: StaticSecurity;
  /** What charon is told. */
  readonly connections: IkeConnections;
  /** Who listens to clients, once somebody does. */
  api: ConfigurationPart | undefined;
  /** How far static SAs have come. */
  readonly marks: SequenceMarks;
  /** Pipes by which workers with waiting packets are woken, by worker. */
  readonly #wakes: number[] = [];
  /** Have there been changes since the workers were woken? Undefined: they were not, in this turn of the event loop. */
  #areMore: boolean | undefined;
  readonly #saEvents: SaEvents;

  constructor(
    readonly run: RunDirectory,
    readonly log: Logger,
    readonly watch: PidWatch,
    readonly files: RunFiles,
    readonly claims: InterfaceClaims,
    readonly charon: CharonSide,
    readonly events: NodeEvents,
  ) {
    this.#saEvents = new SaEvents(events);
    const state = stateDirectory(run.node);
    this.marks = new SequenceMarks(state);
    this.connections = new IkeConnections({ logger: log, memoryFile: join(state, "charon.json") });
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
    const { kernel, sad } = databases;
    this.security = new StaticSecurity({ kernel, sad, marks: this.marks, logger: this.log, now: clock() });
  }

  /** Has databases at work again in whose place others were. */
  returnTo(databases: Databases, security: StaticSecurity): void {
    this.databases = databases;
    this.security = security;
    this.#saEvents.begin(databases.sad);
    databases.resume();
  }

  /** Sees to it that there are pipes to so many workers. */
  openWakes(workers: number): void {
    for (let i = this.#wakes.length; i < workers; i++) this.#wakes.push(openEventPipe(this.run.wakePipe(i)));
  }

  /** For the first of many changes at once, and when they are through: each nudge is a system call. */
  #wake(): void {
    if (this.#areMore !== undefined) {
      this.#areMore = true;
      return;
    }
    this.#areMore = false;
    this.#nudge();
    setImmediate(() => {
      if (this.#areMore) this.#nudge();
      this.#areMore = undefined;
    });
  }

  #nudge(): void {
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
