// The supervisor: `vita run`. It owns the shared files, serves charon as its kernel, and keeps the workers running. It
// moves no packets; when it dies the workers go on, and the next supervisor finds everything where this one left it.

import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { CharonService } from "../charon/service.js";
import type { Configuration } from "../config/configuration.js";
import { withoutSecrets } from "../config/secrets.js";
import type { AeadEngine } from "../ipsec/aead.js";
import { KernelFeature } from "../ipsec/kernel.js";
import { Lifetimes } from "../ipsec/lifetimes.js";
import { Lingering } from "../ipsec/lingering.js";
import { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { Sad } from "../ipsec/sad.js";
import { MAX_WORKERS } from "../ipsec/sad-layout.js";
import { Spd } from "../ipsec/spd.js";
import { close, tryLock, write } from "../native/libc.js";
import { MonotonicClock } from "./clock.js";
import { chooseEngine, makeEngine } from "./engines.js";
import { openEventPipe } from "./event-pipe.js";
import { forWorkers, hostInterface, readFormer } from "./former-run.js";
import { HostSide } from "./host-side.js";
import { type Logger, messageOf } from "./log.js";
import { MadeDevices } from "./made-devices.js";
import { OwnedInterfaces } from "./owned-interfaces.js";
import { makePacketMemory } from "./packet-memory.js";
import { PidWatch } from "./pid-watch.js";
import { RunDirectory } from "./run-directory.js";
import { RunFiles } from "./run-files.js";
import { SequenceMarks, stateDirectory } from "./sequence-marks.js";
import { StaticSecurity } from "./static-security.js";
import { WorkerEvents } from "./worker-events.js";
import { endWorkersOf, WorkerProcess } from "./worker-process.js";

/** Milliseconds for the workers to open their ports. */
const START_LIMIT = 15_000;
/** Milliseconds between two looks for what has timed out. */
const SWEEP = 1000;
/** Milliseconds between two looks at the SAs' lifetimes, and at the devices that were made. */
const LIFETIMES = 200;

const FEATURES = KernelFeature.espV3Tfc | KernelFeature.policySpi | KernelFeature.saUseTime;

export class Supervisor {
  readonly #log: Logger;
  readonly #run: RunDirectory;
  readonly #configuration: Configuration;
  readonly #lock: number;
  readonly #files: RunFiles;
  #sad!: Sad;
  #spd!: Spd;
  #engine!: AeadEngine;
  #kernel!: PseudoKernel;
  #workers: WorkerProcess[] = [];
  readonly #watch = new PidWatch();
  #events: WorkerEvents | undefined;
  /** Pipes by which workers with waiting packets are woken, by worker. */
  #wakes: number[] = [];
  #owned: OwnedInterfaces | undefined;
  #host: HostSide | undefined;
  #devices: MadeDevices | undefined;
  readonly #marks: SequenceMarks;
  #static: StaticSecurity | undefined;
  #service: CharonService | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #lifetimes: NodeJS.Timeout | undefined;
  #isOver = () => {};
  /** Resolves when the node cannot go on and should be stopped; why is in the log. */
  readonly over = new Promise<void>((resolve) => {
    this.#isOver = resolve;
  });

  private constructor(configuration: Configuration, run: RunDirectory, lock: number, log: Logger) {
    this.#configuration = configuration;
    this.#run = run;
    this.#lock = lock;
    this.#files = new RunFiles(run, lock);
    this.#log = log;
    this.#marks = new SequenceMarks(stateDirectory(configuration.node));
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
    const supervisor = new Supervisor(configuration, run, lock, log);
    try {
      await supervisor.#start();
    } catch (error) {
      await supervisor.stop();
      throw error;
    }
    return supervisor;
  }

  async #start(): Promise<void> {
    const configuration = this.#configuration;
    rmSync(this.#run.ready, { force: true });
    const engine = chooseEngine(configuration.engine, this.#log);
    const keep = this.#openShared(engine);
    if (!keep) endWorkersOf(this.#run);
    const former = readFormer(this.#run.file("config.json"));
    this.#owned = new OwnedInterfaces(configuration, former, this.#log);
    this.#host = new HostSide(configuration, former, this.#log);
    // Whoever reads it has no use for keys.
    const told = JSON.stringify(withoutSecrets(configuration), null, 2);
    const isSame =
      former !== undefined && isDeepStrictEqual(forWorkers(former), forWorkers(JSON.parse(told)));
    writeFileSync(this.#run.file("config.json"), `${told}\n`, {
      mode: 0o600,
    });

    // What was made for another number of workers cannot be taken over while they have it.
    if (former?.workers !== configuration.workers) await this.#stopWorkers();
    this.#host.open(keep);
    this.#owned.open();

    this.#engine = makeEngine(this.#sad);
    const clock = new MonotonicClock();
    const now = () => {
      clock.read();
      return clock.seconds;
    };
    const lingering = new Lingering(this.#sad);
    const lifetimes = new Lifetimes(this.#sad, now, ({ dst, ...expiry }) => {
      const host = { address: dst, port: 0 };
      return (this.#service?.sendEvent({ event: "expire", ...expiry, dst: host }) ?? 0) > 0;
    });
    this.#kernel = new PseudoKernel({
      sad: this.#sad,
      spd: this.#spd,
      engine: this.#engine,
      now,
      hasHost: hostInterface(configuration) !== undefined,
      interfaces: configuration["public-interface"].map(({ name }) => name),
      lingering,
      orphanSeconds: configuration.limits["orphan-seconds"],
      policyChanged: (request, present) => {
        this.#host?.change(request, present);
        this.#events?.policyChanged(request);
      },
      saChanged: (slot, present) => (present ? lifetimes.watch(slot) : lifetimes.forget(slot)),
    });
    this.#events = new WorkerEvents(this.#run.eventPipe, {
      sad: this.#sad,
      spd: this.#spd,
      now,
      send: (event) => (this.#service?.sendEvent(event) ?? 0) > 0,
      logger: this.#log,
    });

    for (let i = 0; i < configuration.workers; i++) this.#wakes.push(openEventPipe(this.#run.wakePipe(i)));
    const nudge = Uint8Array.of(1);
    this.#spd.onChange = () => {
      // A full pipe is one that nobody waits at.
      for (const pipe of this.#wakes) write(pipe, nudge, 1);
    };

    await this.#startWorkers(keep && isSame);
    this.#devices = new MadeDevices([...this.#host.devices, ...this.#owned.devices], this.#log);
    this.#owned.forgetFormer();
    this.#host.forgetFormer();
    await this.#workersReady();

    this.#static = new StaticSecurity({
      kernel: this.#kernel,
      sad: this.#sad,
      marks: this.#marks,
      now,
      logger: this.#log,
    });
    await this.#static.apply(undefined, configuration);
    if (!configuration["data-plane"]) this.#listenToCharon();
    const wakes = this.#wakes.map((_, i) => `wake-${i}`);
    const socket = this.#service ? ["charon.sock"] : [];
    this.#files.watch(["config.json", "sad", "spd", "frames", "ports", "events", ...wakes, ...socket]);
    this.#sweeper = setInterval(() => {
      this.#kernel.sweep();
      this.#checkFiles();
    }, SWEEP);
    this.#lifetimes = setInterval(() => {
      lifetimes.check();
      lingering.end();
      this.#devices?.check();
      void this.#static?.check();
    }, LIFETIMES);
    writeFileSync(this.#run.ready, "");
    const keys = this.#service ? `charon's socket is ${this.#run.charonSocket}` : "it has static SAs only";
    this.#log.info(`node ${configuration.node} is up; ${keys}`);
  }

  #listenToCharon(): void {
    this.#service = CharonService.listen({
      path: this.#run.charonSocket,
      kernel: this.#kernel,
      features: FEATURES,
      bootId: this.#sad.bootId,
      logger: this.#log,
    });
  }

  #worker(index: number): WorkerProcess {
    return new WorkerProcess(index, this.#sad, this.#run, this.#watch, this.#log);
  }

  /** Ends those of an earlier run: all at once, because they have devices in common. */
  async #stopWorkers(): Promise<void> {
    await Promise.all(Array.from({ length: MAX_WORKERS }, (_, i) => this.#worker(i).stop()));
  }

  /** @param keep those of an earlier run go on, as many as there are */
  async #startWorkers(keep: boolean): Promise<void> {
    this.#workers = Array.from({ length: this.#configuration.workers }, (_, i) => this.#worker(i));
    const living = keep ? this.#workers.filter((worker) => worker.adopt()) : [];
    for (const { index, pid } of living) this.#log.info(`worker ${index} (process ${pid}) goes on`);
    if (living.length === 0) {
      await this.#stopWorkers();
      makePacketMemory(this.#run, this.#configuration);
    }
    for (const worker of this.#workers) if (!living.includes(worker)) worker.start();
  }

  /** Opens the SAD and the SPD that an earlier run left, or makes new ones. @returns whether the old ones serve */
  #openShared(engine: number): boolean {
    const { sas, policies } = this.#configuration.limits;
    try {
      this.#sad = Sad.open(this.#run.shared("sad"), "write");
      this.#spd = Spd.open(this.#run.shared("spd"), "write");
      if (this.#sad.slotCount !== sas || this.#spd.capacity !== policies || this.#sad.engine !== engine)
        throw new Error("its size or its engine has changed");
      this.#log.info("the SAD of an earlier run is taken over");
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        this.#log.warn(
          `the SAD of an earlier run cannot be used, and all its SAs are lost: ${messageOf(error)}`,
        );
    }
    this.#sad = Sad.create(this.#run.fresh("sad"), sas, engine);
    this.#spd = Spd.create(this.#run.fresh("spd"), policies);
    return false;
  }

  #checkFiles(): void {
    if (!this.#files.isOurs) {
      this.#log.warn(
        `${this.#run.path} was removed while node ${this.#configuration.node} runs; it ends now`,
      );
      this.#isOver();
      return;
    }
    for (const name of this.#files.lost())
      this.#log.warn(
        `${this.#run.file(name)} was removed or replaced: traffic goes on, but end this run soon and start another one`,
      );
  }

  async #workersReady(): Promise<void> {
    for (let waited = 0; !this.#workers.every(({ ready }) => ready); waited += 10) {
      const dead = this.#workers.find(({ deaths }) => deaths > 0);
      if (dead) throw new Error(`worker ${dead.index} cannot start${dead.lastWords()} (see ${dead.logFile})`);
      if (waited >= START_LIMIT) throw new Error(`the workers did not start within ${START_LIMIT / 1000} s`);
      await sleep(10);
    }
  }

  /** Ends everything and removes what it made. The SAs are gone then; charon's calls fail. */
  async stop(): Promise<void> {
    clearInterval(this.#sweeper);
    clearInterval(this.#lifetimes);
    await this.#service?.stop();
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.#static?.settle();
    await this.#marks.close();
    this.#watch.close();
    this.#events?.close();
    for (const pipe of this.#wakes.splice(0)) close(pipe);
    this.#devices?.close();
    this.#host?.close();
    this.#owned?.close();
    this.#engine?.close();
    // Keys do not outlive their use, not even in pages that wait to be handed out again.
    this.#sad?.wipe();
    this.#sad?.close();
    this.#spd?.close();
    // Another run may have begun where this one has lost its directory.
    if (!this.#files.isTaken) this.#run.remove();
    closeSync(this.#lock);
  }
}
