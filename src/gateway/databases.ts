// The SAD and the SPD of a node, and all in the supervisor that works on them: the kernel that charon talks to, lifetimes, and
// what the workers tell. A change of their size, or of the engine whose expanded keys the SAD holds, makes new ones.

import type { Event } from "../charon/protocol.js";
import type { Configuration } from "../config/configuration.js";
import { messageOf } from "../config/refusal.js";
import type { AeadEngine } from "../ipsec/aead.js";
import type { PolicyRequest } from "../ipsec/kernel.js";
import { Lifetimes } from "../ipsec/lifetimes.js";
import { Lingering } from "../ipsec/lingering.js";
import { PseudoKernel, type PseudoKernelSettings } from "../ipsec/pseudo-kernel.js";
import { Sad } from "../ipsec/sad.js";
import { Spd } from "../ipsec/spd.js";
import { MonotonicClock } from "./clock.js";
import { makeEngine } from "./engines.js";
import { hostInterface } from "./former-run.js";
import type { Logger } from "./log.js";
import type { RunDirectory } from "./run-directory.js";
import { WorkerEvents } from "./worker-events.js";

export interface DatabasesHooks {
  /** Hands an event to charon; false when it is not there. */
  send(event: Event): boolean;
  policyChanged(request: PolicyRequest, present: boolean): void;
  /** An SA can be used, or is about to be deleted. */
  saChanged(slot: number, present: boolean): void;
  /** Policies have changed: workers with packets that wait want to know. */
  wake(): void;
}

/** What decides whether databases serve a configuration. */
export interface DatabasesSize {
  sas: number;
  policies: number;
  /** Number of the engine. */
  engine: number;
}

export class Databases {
  readonly sad: Sad;
  readonly spd: Spd;
  /** Does it hold what an earlier run left? */
  readonly isAdopted: boolean;
  readonly #run: RunDirectory;
  readonly #log: Logger;
  #engine: AeadEngine | undefined;
  #kernel: PseudoKernel | undefined;
  #lifetimes: Lifetimes | undefined;
  #lingering: Lingering | undefined;
  #events: WorkerEvents | undefined;
  #hooks: DatabasesHooks | undefined;

  private constructor(run: RunDirectory, log: Logger, sad: Sad, spd: Spd, isAdopted: boolean) {
    this.#run = run;
    this.#log = log;
    this.sad = sad;
    this.spd = spd;
    this.isAdopted = isAdopted;
  }

  /** Opens what an earlier run left, or makes new ones. */
  static open(run: RunDirectory, size: DatabasesSize, log: Logger): Databases {
    try {
      const sad = Sad.open(run.shared("sad"), "write");
      const spd = Spd.open(run.shared("spd"), "write");
      if (sad.slotCount !== size.sas || spd.capacity !== size.policies || sad.engine !== size.engine)
        throw new Error("its size or its engine has changed");
      log.info("the SAD of an earlier run is taken over");
      return new Databases(run, log, sad, spd, true);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        log.warn(`the SAD of an earlier run cannot be used, and all its SAs are lost: ${messageOf(error)}`);
    }
    return Databases.create(run, size, log);
  }

  /** Makes new ones. */
  static create(run: RunDirectory, { sas, policies, engine }: DatabasesSize, log: Logger): Databases {
    const sad = Sad.create(run.fresh("sad"), sas, engine);
    const spd = Spd.create(run.fresh("spd"), policies);
    return new Databases(run, log, sad, spd, false);
  }

  get kernel(): PseudoKernel {
    if (!this.#kernel) throw new Error("the kernel has not begun yet");
    return this.#kernel;
  }

  /** Begins to work on them; tells of all policies that there are. */
  begin(configuration: Configuration, hooks: DatabasesHooks): void {
    const { sad, spd } = this;
    this.#hooks = hooks;
    this.#engine = makeEngine(sad);
    const now = clock();
    this.#lingering = new Lingering(sad);
    const lifetimes = new Lifetimes(sad, now, ({ dst, ...expiry }) => {
      const host = { address: dst, port: 0 };
      return hooks.send({ event: "expire", ...expiry, dst: host });
    });
    this.#lifetimes = lifetimes;
    this.#kernel = new PseudoKernel({
      sad,
      spd,
      engine: this.#engine,
      now,
      ...kernelSettings(configuration),
      lingering: this.#lingering,
      policyChanged: (request, present) => {
        hooks.policyChanged(request, present);
        this.#events?.policyChanged(request);
      },
      saChanged: (slot, present) => {
        if (present) lifetimes.watch(slot);
        else lifetimes.forget(slot);
        hooks.saChanged(slot, present);
      },
    });
    this.resume();
  }

  /** Listens to the workers. */
  resume(): void {
    const { sad, spd } = this;
    const hooks = this.#hooks;
    if (!hooks) return;
    this.#events = new WorkerEvents(this.#run.eventPipe, {
      sad,
      spd,
      now: clock(),
      send: hooks.send,
      logger: this.#log,
    });
    spd.onChange = hooks.wake;
  }

  /** Leaves the workers to others that listen to them. */
  suspend(): void {
    this.#events?.close();
    this.#events = undefined;
  }

  /** To be called once a second: gives up what has timed out. */
  sweep(): void {
    this.#kernel?.sweep();
  }

  /** To be called several times a second: looks at lifetimes. */
  check(): void {
    this.#lifetimes?.check();
    this.#lingering?.end();
  }

  /** Destroys all keys, and closes everything. The workers must have ended. */
  close(): void {
    this.suspend();
    this.#engine?.close();
    // Keys do not outlive their use, not even in pages that wait to be handed out again.
    this.sad.wipe();
    this.sad.close();
    this.spd.close();
  }
}

/** CLOCK_MONOTONIC in whole seconds. */
export function clock(): () => number {
  const monotonic = new MonotonicClock();
  return () => {
    monotonic.read();
    return monotonic.seconds;
  };
}

export function kernelSettings(configuration: Configuration): PseudoKernelSettings {
  return {
    orphanSeconds: configuration.limits["orphan-seconds"],
    hasHost: hostInterface(configuration) !== undefined,
    interfaces: configuration["public-interface"].map(({ name }) => name),
  };
}
