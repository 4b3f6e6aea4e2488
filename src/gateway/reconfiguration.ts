// Carries a change of the configuration out in a running node: what differs is turned into steps, and the steps are taken in
// order. Only what has changed is touched. If a step fails those before it are taken back, and the old configuration is in
// force in full.
//
//   refuse      what can be known in advance is said before anything is touched
//   workers     new ones are made ready beside the old ones; then they change places
//   parts       static SAs and policies; charon's socket; what charon is told. Static SAs are put in while charon works
//   at last     what the old configuration would have needed to come back is thrown away
//
// Where charon is to go (`data-plane`) it is told so first. Traffic stands still only while workers change places, for as
// long as it takes to end those that have the ports and to open the ports for the others; what the devices' queues hold
// meanwhile is not lost. When they are exchanged one by one, the others have the traffic.
//
// A supervisor that is killed in the middle leaves `next.json` (run-configuration.ts).

import type { Configuration } from "../config/configuration.js";
import { refusal } from "../config/refusal.js";
import type { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { usableCores } from "../native/affinity.js";
import { type Change, changeOf } from "./change.js";
import { Databases, kernelSettings } from "./databases.js";
import { chooseEngine } from "./engines.js";
import { makePacketMemory } from "./packet-memory.js";
import { requireDevices } from "./require-device.js";
import { nextIsGivenUp, nextIsReached, writeConfiguration } from "./run-configuration.js";
import type { SharedName } from "./run-directory.js";
import type { ConfigurationPart, RunningNode } from "./running-node.js";
import type { StaticSecurity } from "./static-security.js";
import { Steps } from "./steps.js";
import { SystemSide } from "./system-side.js";
import type { WorkerSet } from "./worker-set.js";

const MEMORY: readonly SharedName[] = ["frames", "ports"];
const DATABASES: readonly SharedName[] = ["sad", "spd"];
/** Shared files that a change may set aside. */
export const SET_ASIDE = [...MEMORY, ...DATABASES];

export class Reconfiguration {
  readonly #node: RunningNode;
  readonly #steps: Steps;
  readonly #from: Configuration;
  readonly #to: Configuration;
  readonly #change: Change;
  /** The kernel that the old configuration has. */
  readonly #kernel: PseudoKernel;
  readonly #security: StaticSecurity;

  /** @throws Error when the machine cannot do what is asked */
  constructor(node: RunningNode, to: Configuration) {
    this.#node = node;
    this.#steps = new Steps(node.log);
    this.#from = node.configuration;
    this.#kernel = node.databases.kernel;
    this.#security = node.security;
    this.#to = to;
    this.#change = changeOf(this.#from, to, ({ engine }) => chooseEngine(engine, node.log));
  }

  /** @throws Error with what is wrong; the old configuration is in force then */
  async carryOut(): Promise<void> {
    const change = this.#change;
    const steps = this.#steps;
    const node = this.#node;
    const to = this.#to;
    this.#refuse();
    // charon's socket, say, is another file when it has been closed and opened again.
    steps.orElse(() => node.watchFiles());
    steps.orElse(() => node.claims.keep(this.#from));
    await steps.run(async () => {
      node.claims.claim(to);
      const isStructural = change.workers !== "go on" || change.system;
      if (isStructural) {
        steps.orElse(() => nextIsGivenUp(node.run));
        writeConfiguration(node.run, "next.json", to);
      }
      if (change.charon) await this.#closeCharon();
      if (change.workers !== "go on") await this.#exchange();
      else if (change.system) this.#openSystem();
      if (change.system) steps.atLast(() => node.system.forgetFormer());
      if (change.cpus) this.#bind();
      if (change.kernel && !change.databases) this.#setKernel();
      const security = change.databases ? [] : [node.security];
      const connections = to["data-plane"] ? [] : [node.connections];
      if (change.charon) {
        await this.#apply(...security);
        this.#openCharon();
        await this.#apply(...connections);
      } else await this.#apply(...connections, ...security);
      if (node.api) await this.#apply(node.api);
      if (isStructural) nextIsReached(node.run);
      else writeConfiguration(node.run, "config.json", to);
      node.configuration = to;
      steps.atLast(() => {
        node.watchFiles();
        node.claims.keep(to);
      });
    });
  }

  // ---- what can be known in advance --------------------------------------------------------------------------------

  #refuse(): void {
    const [from, to, change] = [this.#from, this.#to, this.#change];
    const cores = usableCores();
    const absent = change.cpus ? to["worker-cpu"].find((cpu) => !cores.includes(cpu)) : undefined;
    if (absent !== undefined)
      throw refusal(
        "operation-failed",
        `is no processor that this node may use: ${cores.join(", ")}`,
        "/worker-cpu",
        String(absent),
      );
    if (change.workers !== "go on") requireDevices(to);
    if (change.system) SystemSide.refuse(to, from);
  }

  // ---- workers -----------------------------------------------------------------------------------------------------

  async #exchange(): Promise<void> {
    const change = this.#change;
    const steps = this.#steps;
    const node = this.#node;
    const old = node.workers as WorkerSet;
    let next: WorkerSet | undefined;
    let back: (() => Promise<void>) | undefined;
    steps.orElse(() => old.release());
    old.hold();
    steps.orElse(() => next?.dismiss());
    steps.orElse(() => back?.());
    if (change.memory) this.#makeMemory();
    if (change.databases) this.#makeDatabases();
    node.openWakes(this.#to.workers);
    next = node.workerSet(this.#to, "next.json");
    await next.prepare();
    steps.orElse(() => {
      node.workers = old;
    });
    node.workers = next;
    if (change.workers === "one by one") {
      if (change.system) this.#openSystem();
      back = () => old.returnOneByOne(next);
      await next.replaceOneByOne(old);
    } else {
      // A device that was made for one worker cannot be taken over for several as long as that one has it, nor the other
      // way round.
      const isFreeFirst = this.#from.workers > 1 !== this.#to.workers > 1;
      if (change.system && !isFreeFirst) this.#openSystem();
      back = () => old.resume();
      await old.rest();
      if (change.databases) await this.#fillDatabases();
      if (change.system && isFreeFirst) this.#openSystem();
      steps.orElse(() => next.stop());
      next.start();
      await next.ready();
    }
    steps.atLast(() => {
      next.isIn("config.json");
      old.dismiss();
    });
  }

  #makeMemory(): void {
    const { run } = this.#node;
    this.#setAside(MEMORY);
    makePacketMemory(run, this.#to);
  }

  #setAside(names: readonly SharedName[]): void {
    const { run } = this.#node;
    for (const name of names) {
      this.#steps.orElse(() => {
        run.takeBack(name);
      });
      run.setAside(name);
      this.#steps.atLast(() => run.forgetAside(name));
    }
  }

  /** New ones, with none of the SAs: charon's plugin sets those up again, because the boot id is another one. */
  #makeDatabases(): void {
    const node = this.#node;
    const { databases: old } = node;
    const security = this.#security;
    const { sas, policies } = this.#to.limits;
    this.#setAside(DATABASES);
    old.suspend();
    this.#steps.orElse(() => {
      if (node.databases !== old) node.databases.close();
      node.returnTo(old, security);
    });
    const engine = chooseEngine(this.#to.engine, node.log);
    const made = Databases.create(node.run, { sas, policies, engine }, node.log);
    node.begin(made, this.#to);
    this.#steps.atLast(() => old.close());
  }

  /** Static SAs go on behind what the workers, which have ended, have used of their sequence numbers. */
  async #fillDatabases(): Promise<void> {
    await this.#security.note();
    await this.#node.security.apply(undefined, this.#to);
  }

  // ---- the rest ----------------------------------------------------------------------------------------------------

  #openSystem(): void {
    const node = this.#node;
    const open = (
      configuration: Configuration,
      former: Configuration,
      kernel: PseudoKernel,
      keep: boolean,
    ) => {
      node.system.release();
      node.system = new SystemSide(configuration, [former], node.log);
      node.system.open(keep);
      for (const policy of kernel.policiesOf()) node.system.change(policy, true);
    };
    this.#steps.orElse(() => {
      open(this.#from, this.#to, this.#kernel, true);
      node.system.forgetFormer();
      node.system.watch();
    });
    open(this.#to, this.#from, node.databases.kernel, !this.#change.databases);
    this.#steps.atLast(() => node.system.watch());
  }

  #bind(): void {
    const node = this.#node;
    this.#steps.orElse(() => node.workers?.bind(this.#from["worker-cpu"]));
    node.workers?.bind(this.#to["worker-cpu"]);
  }

  #setKernel(): void {
    const kernel = this.#kernel;
    this.#steps.orElse(() => kernel.set(kernelSettings(this.#from)));
    kernel.set(kernelSettings(this.#to));
  }

  /** Parts that have nothing to do with each other work at the same time. */
  async #apply(...parts: ConfigurationPart[]): Promise<void> {
    const outcomes = await Promise.allSettled(parts.map((part) => part.apply(this.#from, this.#to)));
    for (const [i, { status }] of outcomes.entries())
      if (status === "fulfilled") this.#steps.orElse(() => parts[i].apply(this.#to, this.#from));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  async #closeCharon(): Promise<void> {
    const node = this.#node;
    if (this.#to["data-plane"]) await this.#apply(node.connections);
    if (!node.charon.isOpen) return;
    this.#steps.orElse(() => node.charon.open(node.databases));
    await node.charon.close();
  }

  #openCharon(): void {
    const node = this.#node;
    if (this.#to["data-plane"]) return;
    this.#steps.orElse(() => node.charon.close());
    node.charon.open(node.databases);
  }
}
