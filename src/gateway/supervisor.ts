// The supervisor: `vita run`. It owns the shared files, serves charon as its kernel, and keeps the workers running. It
// moves no packets; when it dies the workers go on, and the next supervisor finds everything where this one left it.
// What it holds of the node is in running-node.ts; how it changes that while the node runs, in reconfiguration.ts.

import { closeSync, existsSync, openSync, rmSync, writeFileSync } from "node:fs";
import type { Configuration } from "../config/configuration.js";
import { tryLock } from "../native/libc.js";
import { sameForWorkers } from "./change.js";
import { CharonSide } from "./charon-side.js";
import { Databases } from "./databases.js";
import { chooseEngine } from "./engines.js";
import { readFormer } from "./former-run.js";
import type { IkeConnections } from "./ike-connections.js";
import { InterfaceClaims } from "./interface-claims.js";
import { LinkEvents } from "./link-events.js";
import type { Logger } from "./log.js";
import { NodeEvents } from "./node-events.js";
import { makePacketMemory } from "./packet-memory.js";
import { PidWatch } from "./pid-watch.js";
import { Reconfiguration, SET_ASIDE } from "./reconfiguration.js";
import { nextIsGivenUp, writeConfiguration } from "./run-configuration.js";
import { RunDirectory } from "./run-directory.js";
import { RunFiles } from "./run-files.js";
import { type ConfigurationPart, RunningNode } from "./running-node.js";
import { SystemSide } from "./system-side.js";
import { endWorkersOf } from "./worker-process.js";
import { WorkerSet } from "./worker-set.js";

/** Milliseconds between two looks for what has timed out. */
const SWEEP = 1000;
/** Milliseconds between two looks at the SAs' lifetimes, and at the devices that were made. */
const LIFETIMES = 200;

export class Supervisor {
  readonly #log: Logger;
  readonly run: RunDirectory;
  readonly #lock: number;
  readonly #files: RunFiles;
  readonly #watch = new PidWatch();
  readonly #node: RunningNode;
  /** What happens in the node. */
  readonly events = new NodeEvents();
  #links: LinkEvents | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #lifetimes: NodeJS.Timeout | undefined;
  /** The last change that was asked for; settles with it. */
  #changed: Promise<void> = Promise.resolve();
  /** A change replaces files. */
  #isChanging = false;
  #isEnding = false;
  #isOver = () => {};
  /** Resolves when the node cannot go on and should be stopped; why is in the log. */
  readonly over = new Promise<void>((resolve) => {
    this.#isOver = resolve;
  });

  private constructor(run: RunDirectory, lock: number, claims: InterfaceClaims, log: Logger) {
    this.run = run;
    this.#lock = lock;
    this.#files = new RunFiles(run, lock);
    this.#log = log;
    const charon = new CharonSide(run, log);
    this.#node = new RunningNode(run, log, this.#watch, this.#files, claims, charon, this.events);
  }

  /**
   * Brings a node up; returns when it forwards packets and charon can connect.
   * @throws Error with what to do about it; nothing is left running then
   */
  static async start(configuration: Configuration, log: Logger): Promise<Supervisor> {
    const run = new RunDirectory(configuration.node);
    run.make();
    const lock = openSync(run.file("lock"), "w", 0o600);
    if (!tryLock(lock)) {
      closeSync(lock);
      throw new Error(`node ${configuration.node} runs already (it holds ${run.file("lock")})`);
    }
    const claims = new InterfaceClaims(run);
    try {
      claims.claim(configuration);
    } catch (error) {
      // What an earlier run has left, workers that go on perhaps, stays as it is.
      if (!existsSync(run.file("config.json"))) run.remove();
      closeSync(lock);
      throw error;
    }
    const supervisor = new Supervisor(run, lock, claims, log);
    try {
      await supervisor.#start(configuration);
    } catch (error) {
      await supervisor.stop();
      throw error;
    }
    return supervisor;
  }

  async #start(configuration: Configuration): Promise<void> {
    const run = this.run;
    const node = this.#node;
    rmSync(run.ready, { force: true });
    const engine = chooseEngine(configuration.engine, this.#log);
    const former = readFormer(run, "config.json");
    const next = readFormer(run, "next.json");
    // What a change has set aside is what goes on, unless the change was made.
    for (const name of SET_ASIDE) if (next) run.takeBack(name);
    for (const name of SET_ASIDE) run.forgetAside(name);
    const databases = Databases.open(run, { ...configuration.limits, engine }, this.#log);
    const keep = databases.isAdopted;
    node.databases = databases;
    // In the middle of a change nobody knows whose the workers are.
    if (!keep || next) endWorkersOf(run);
    const formers = [former, next].filter((each) => each !== undefined);
    node.system = new SystemSide(configuration, formers, this.#log);
    writeConfiguration(run, "config.json", configuration);
    nextIsGivenUp(run);
    node.configuration = configuration;

    // What was made for another number of workers cannot be taken over while they have it.
    if (former?.workers !== configuration.workers || next) await this.#stopFormerWorkers();
    node.system.open(keep);
    node.begin(databases, configuration);
    node.openWakes(configuration.workers);

    await this.#startWorkers(keep && !next && former !== undefined && sameForWorkers(former, configuration));
    node.system.watch();
    node.system.forgetFormer();
    await node.workers?.ready();

    await node.security.apply(undefined, configuration);
    if (!configuration["data-plane"]) node.charon.open(databases);
    await node.connections.apply(undefined, configuration);
    node.connections.start();
    node.watchFiles();
    this.#links = new LinkEvents(configuration, this.events);
    this.#sweeper = setInterval(() => {
      node.databases.sweep();
      this.#checkFiles();
    }, SWEEP);
    this.#lifetimes = setInterval(() => {
      node.databases.check();
      node.system.check();
      void node.security.check();
      this.#links?.check();
    }, LIFETIMES);
    writeFileSync(run.ready, "");
    const keys = node.charon.isOpen ? `charon's socket is ${run.charonSocket}` : "it has static SAs only";
    this.#log.info(`node ${configuration.node} is up; ${keys}`);
  }

  /**
   * Carries a change of the configuration out, behind those that were asked for before.
   * @throws Error with what is wrong; the old configuration is in force in full then
   */
  reconfigure(to: Configuration): Promise<void> {
    const change = this.#changed.then(async () => {
      if (this.#isEnding) throw new Error("the node ends");
      this.#isChanging = true;
      try {
        await new Reconfiguration(this.#node, to).carryOut();
        this.#links?.watch(to);
      } finally {
        this.#isChanging = false;
      }
    });
    this.#changed = change.catch(() => {});
    return change;
  }

  /** Has a part carry out its share of changes, behind all others. */
  setApi(part: ConfigurationPart): void {
    this.#node.api = part;
  }

  /** What charon is told, and asked. */
  get connections(): IkeConnections {
    return this.#node.connections;
  }

  #stopFormerWorkers(): Promise<void> {
    const { databases, run, watch, log } = this.#node;
    return WorkerSet.stopFormer({ sad: databases.sad, run, watch, log });
  }

  /** @param keep those of an earlier run go on, as many as there are */
  async #startWorkers(keep: boolean): Promise<void> {
    const node = this.#node;
    const workers = node.workerSet(node.configuration);
    node.workers = workers;
    const living = keep ? workers.adopt() : [];
    for (const { index, pid } of living) this.#log.info(`worker ${index} (process ${pid}) goes on`);
    if (living.length === 0) {
      await this.#stopFormerWorkers();
      makePacketMemory(this.run, node.configuration);
    }
    workers.start();
  }

  #checkFiles(): void {
    if (!this.#files.isOurs) {
      this.#log.warn(`${this.run.path} was removed while node ${this.run.node} runs; it ends now`);
      this.#isOver();
      return;
    }
    if (this.#isChanging) return;
    for (const name of this.#files.lost())
      this.#log.warn(
        `${this.run.file(name)} was removed or replaced: traffic goes on, but end this run soon and start another one`,
      );
  }

  /** Ends everything and removes what it made. The SAs are gone then; charon's calls fail. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    await this.#changed;
    clearInterval(this.#sweeper);
    clearInterval(this.#lifetimes);
    this.#links?.close();
    const node = this.#node;
    await node.connections.close();
    await node.charon.close();
    if (node.workers) await node.workers.stop();
    else if (node.databases) await this.#stopFormerWorkers();
    await node.security?.settle();
    await node.marks.close();
    this.#watch.close();
    node.databases?.suspend();
    node.closeWakes();
    node.system?.close();
    node.databases?.close();
    node.claims.close();
    // Another run may have begun where this one has lost its directory.
    if (!this.#files.isTaken) this.run.remove();
    closeSync(this.#lock);
  }
}
