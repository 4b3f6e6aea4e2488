// `/route`, `/inbound-sa`, `/outbound-sa` and `/security-policy`, carried out: what the configuration asks for is compared with
// what is there, and the pseudo-kernel is called for what differs, as a key manager would call it. SAs that come in are
// there before those that go out, and those before the policies that lead to them; they go the other way round.
//
// A change that is refused half way is taken back. SAs and policies belong to the configuration's own session, which no
// sweep touches; the next supervisor finds them, keeps what is still wanted, and changes the rest under the traffic.

import type { Configuration } from "../config/configuration.js";
import { ConfigurationError } from "../config/problem.js";
import { messageOf } from "../config/refusal.js";
import type { AddSaRequest, Answer, PolicyRequest, SequenceStart } from "../ipsec/kernel.js";
import { Status } from "../ipsec/kernel.js";
import type { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { readSa } from "../ipsec/read-sa.js";
import { topSequence } from "../ipsec/replay.js";
import type { Sad } from "../ipsec/sad.js";
import type { IpAddress } from "../net/address.js";
import { Breather } from "./breather.js";
import type { Logger } from "./log.js";
import { publicAddresses } from "./public-addresses.js";
import type { SequenceMarks } from "./sequence-marks.js";
import { saKey } from "./static-keys.js";
import { Installed, type Plan, planChanges, type WantedPolicy } from "./static-plan.js";
import { problem } from "./static-problem.js";
import { saPath } from "./static-sa.js";
import { StaticSequence } from "./static-sequence.js";
import { staticUnits, type Wanted, type WantedSa } from "./static-units.js";

/** Whose SAs and policies those of the configuration are (sad-layout.ts, spd-layout.ts). */
export const STATIC_SESSION = 0n;

export interface StaticSecurityParts {
  kernel: PseudoKernel;
  sad: Sad;
  /** One for all that the node has: other tables draw from the same marks. */
  marks: SequenceMarks;
  logger: Logger;
  /** Seconds, counted up. */
  now(): number;
  /** Addresses that tunnels can begin at; those of the public interfaces when left out. */
  addresses?(configuration: Configuration): IpAddress[];
}

type Undo = () => void | Promise<void>;

export class StaticSecurity {
  readonly #kernel: PseudoKernel;
  readonly #sad: Sad;
  readonly #log: Logger;
  readonly #sequence: StaticSequence;
  readonly #addresses: (configuration: Configuration) => IpAddress[];
  /** What is there. Undefined until it was looked up. */
  #installed: Installed | undefined;
  #reqids: Map<string, number> = new Map();
  /** One change, or one check, after the other. */
  #turn: Promise<void> = Promise.resolve();
  #isChecking = false;

  constructor(parts: StaticSecurityParts) {
    this.#kernel = parts.kernel;
    this.#sad = parts.sad;
    this.#log = parts.logger;
    this.#sequence = new StaticSequence(parts);
    this.#addresses =
      parts.addresses ?? ((configuration) => publicAddresses(configuration["public-interface"]));
  }

  /**
   * Brings what `to` asks for into force. What is there counts, not what `from` says; without `from` the node is starting.
   * @throws ConfigurationError that names the leaf; everything is as before then
   */
  apply(from: Configuration | undefined, to: Configuration): Promise<void> {
    return this.#inTurn(() => this.#apply(to, from === undefined));
  }

  /** To be called several times a second: sees to it that SAs do not run out of sequence numbers. */
  async check(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    await this.#inTurn(() => this.#sequence.check((key) => this.#renew(key))).finally(() => {
      this.#isChecking = false;
    });
  }

  /** Gives an SA a new slot, which begins behind all that was set aside. */
  async #renew(key: string): Promise<void> {
    const request = this.#installed?.sas.get(key);
    if (!request) return;
    const [start] = await this.#sequence.begin([request]);
    this.#add({ path: saPath(request.inbound, request.id.spi), key, request }, start);
  }

  /** Other tables are about to take the place of these: notes what there is to be known about inbound SAs. */
  note(): Promise<void> {
    return this.#inTurn(() => this.#sequence.note());
  }

  /**
   * The workers have ended, for good: notes which sequence numbers they have used. The SAs are left to the SAD, which no
   * worker must use any more.
   */
  settle(): Promise<void> {
    return this.#inTurn(() => this.#sequence.settle());
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #apply(to: Configuration, isStart: boolean): Promise<void> {
    const reqids = new Map(this.#reqids);
    const installed = await this.#look();
    const former = installed.units ?? new Map();
    const units = await staticUnits(to, { addresses: () => this.#addresses(to), reqids }, former);
    const plan = planChanges(installed, units);
    const added = [...plan.newSas, ...plan.changedSas.map(({ wanted }) => wanted)];
    if (added.length > 0) await this.#setOut(added, plan, isStart);
    else await this.#changePolicies(plan, []);
    await this.#remove(plan);
    installed.units = units;
    this.#reqids = reqids;
  }

  /** What this or an earlier supervisor has installed. */
  async #look(): Promise<Installed> {
    if (this.#installed) return this.#installed;
    const sas = this.#kernel.sasOf(STATIC_SESSION).map((slot) => {
      const request = readSa(this.#sad, slot);
      this.#sequence.watch(saKey(request), slot, request);
      return request;
    });
    if (sas.length > 0) await this.#ofMarks(sas[0], () => this.#sequence.adopt());
    this.#installed = new Installed(sas, this.#kernel.policiesOf(STATIC_SESSION));
    return this.#installed;
  }

  /** Errors of the marks, told of an SA that needs them. */
  async #ofMarks<Result>({ id, inbound }: AddSaRequest, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ConfigurationError) throw error;
      throw problem(saPath(inbound, id.spi), messageOf(error));
    }
  }

  /** Does all of a plan that can be refused. @throws ConfigurationError when something is; it is undone then */
  async #setOut(added: readonly WantedSa[], plan: Plan, isStart: boolean): Promise<void> {
    const starts = await this.#ofMarks(added[0].request, async () => {
      this.#refuseUsedElsewhere(added);
      this.#refuseExhausted(added, isStart);
      return this.#sequence.begin(added.map(({ request }) => request));
    });
    const undo: Undo[] = [];
    const breather = new Breather();
    try {
      for (const [i, wanted] of plan.newSas.entries()) {
        if (breather.isDue) await breather.breathe();
        this.#add(wanted, starts[i]);
        undo.push(() => this.#delete(wanted.key, wanted.request));
      }
      for (const [i, { wanted, old }] of plan.changedSas.entries()) {
        if (breather.isDue) await breather.breathe();
        this.#add(wanted, this.#since(old, wanted.request, starts[plan.newSas.length + i]));
        undo.push(async () => {
          const [start] = await this.#sequence.begin([old]);
          this.#add({ ...wanted, request: old }, this.#since(wanted.request, old, start));
        });
      }
      await this.#changePolicies(plan, undo);
    } catch (error) {
      for (const step of undo.reverse()) await this.#takeBack(step);
      throw error;
    }
  }

  async #takeBack(step: Undo): Promise<void> {
    try {
      await step();
    } catch (error) {
      // The next change looks at everything.
      if (this.#installed) this.#installed.units = undefined;
      this.#log.warn(`a change that was refused could not be taken back in full: ${messageOf(error)}`);
    }
  }

  #refuseUsedElsewhere(added: readonly WantedSa[]): void {
    for (const [i, file] of this.#sequence.otherUsers(added.map(({ request }) => request)).entries())
      if (file !== undefined)
        throw problem(
          `${added[i].path}/key`,
          `was used by another node of this machine (see ${file}): take another one, on both ends; ` +
            "or rename that folder, if this node was called so and has no folder of its own",
        );
  }

  #refuseExhausted(added: readonly WantedSa[], isStart: boolean): void {
    for (const { request, path } of added) {
      if (!this.#sequence.isExhausted(request)) continue;
      const message = "has used all of its 2^32 sequence numbers: change it, on both ends";
      if (!isStart) throw problem(`${path}/key`, message);
      // The other SAs shall not wait for somebody who changes it.
      this.#log.warn(`${path}/key: ${message}`);
    }
  }

  /** An inbound SA that is changed, but keeps its key, goes on behind what it has seen. */
  #since(
    old: AddSaRequest,
    wanted: AddSaRequest,
    start: SequenceStart | undefined,
  ): SequenceStart | undefined {
    if (!wanted.inbound || Buffer.compare(old.encryptionKey, wanted.encryptionKey) !== 0) return start;
    const slot = this.#kernel.slotOf(old, STATIC_SESSION);
    const top = slot < 0 ? 0 : topSequence(this.#sad.words, this.#sad.offset(slot) >>> 2);
    return { last: Math.max(top, start?.last ?? 0), ceiling: 0 };
  }

  #add({ path, key, request }: Wanted<AddSaRequest>, sequence: SequenceStart | undefined): void {
    const oldSlot = this.#kernel.slotOf(request, STATIC_SESSION);
    const old = this.#installed?.sas.get(key);
    this.#sequence.forget(key);
    const answer = this.#kernel.replaceSa({ ...request, ...(sequence && { sequence }) }, STATIC_SESSION);
    if (answer.status !== Status.success && old) this.#sequence.watch(key, oldSlot, old);
    refuse(path, answer);
    this.#installed?.sas.set(key, request);
    this.#sequence.watch(key, this.#kernel.slotOf(request, STATIC_SESSION), request);
  }

  #delete(key: string, request: AddSaRequest): void {
    this.#sequence.forget(key);
    this.#kernel.removeSa(request, STATIC_SESSION);
    this.#installed?.sas.delete(key);
  }

  async #changePolicies({ newPolicies }: Plan, undo: Undo[]): Promise<void> {
    const mine: WantedPolicy[] = [];
    const takeBack = () => {
      for (const { key, request } of mine.reverse()) this.#deletePolicy(key, request);
    };
    const breather = new Breather();
    try {
      for (const policy of newPolicies) {
        if (breather.isDue) await breather.breathe();
        const { path, key, request } = policy;
        refuse(path, this.#kernel.addPolicy(request, STATIC_SESSION));
        this.#installed?.policies.set(key, request);
        mine.push(policy);
      }
    } catch (error) {
      takeBack();
      throw error;
    }
    undo.push(takeBack);
  }

  #deletePolicy(key: string, request: PolicyRequest): void {
    this.#kernel.deletePolicy(request, STATIC_SESSION);
    this.#installed?.policies.delete(key);
  }

  /** What is not wanted any more. Nothing of this is ever refused. */
  async #remove({ oldPolicies, oldSas }: Plan): Promise<void> {
    const breather = new Breather();
    for (const [key, request] of oldPolicies) {
      if (breather.isDue) await breather.breathe();
      this.#deletePolicy(key, request);
    }
    for (const [key, request] of oldSas) {
      if (breather.isDue) await breather.breathe();
      this.#delete(key, request);
    }
  }
}

function refuse(path: string, { status, reason }: Answer): void {
  if (status !== Status.success) throw problem(path, reason ?? `is refused with status ${status}`);
}
