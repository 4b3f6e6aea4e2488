// What is in force, and the only way by which something else comes into force. A commit, all or nothing, one after the other:
//
//   clone of running → edits → validate → carryOut(from, to) → startup file → history → running → "changed"
//
// Nothing has happened before `carryOut`, which keeps `from` in force when it throws. When the startup file cannot be
// written, carryOut(to, from) brings the old configuration back. So the one that is in force is always the one that the
// next start has, but for these:
// - A confirmed commit (RFC 6241, section 8.4) is written only once it is confirmed: by `confirm`, or by any commit that
//   need not be confirmed itself, whoever makes it (RFC 8040, section 1.4). Another confirmed commit begins the time-out
//   anew. At the end of it, or with `cancel`, what was in force before the first of them comes back; likewise when the
//   node ends before. When coming back fails, it is tried again every few seconds.
// - The startup file cannot be written, and the old configuration cannot be brought back. The new one stays in force then,
//   and says so ("rollback-failed"); the next commit that goes through writes everything.
//
// carryOut may hang. After a minute the commit fails, but nobody knows then what is in force, and a second change beside the
// first would only make it worse. So nothing else is let in until it has ended: all that wait and all that come are refused
// ("in-use"). When it ends well after all, what it did is undone, for the commit was told to have failed; when it throws,
// nothing is left to do. Should it never end, the node goes on as it is, and its next start has the old configuration.
//
// Somebody may edit the startup file while the node runs. It is not written over unless it says the same as what is in
// force, or as what is about to be: the commit is refused before anything has happened.

import { Carrier } from "./carrier.js";
import type { CommitOptions } from "./commit-options.js";
import type { History } from "./history.js";
import { PendingCommit } from "./pending-commit.js";
import { messageOf, reasonOf, refusal } from "./refusal.js";
import type { Startup } from "./startup.js";
import type { Tree } from "./tree.js";
import { NoTurn, Turns } from "./turns.js";
import type { Version } from "./version.js";

/** How many commits may wait for their turn. */
const MAX_WAITING = 64;

/** Another configuration is in force. */
export interface Changed {
  number: number;
  user: string;
  confirmBy?: Date;
  changed: string[];
}

/** The one in force needs no confirmation any more. */
export interface Confirmed {
  number: number;
  user: string;
}

interface Surroundings {
  /** What the startup file says. */
  running: Version;
  startup: Startup;
  history: History;
  warn: (text: string) => void;
  changed: (event: Changed) => void;
  confirmed: (event: Confirmed) => void;
  /** Both in ms. */
  carryOutLimit: number;
  retry: number;
}

export class Commits {
  readonly carrier: Carrier;
  readonly #around: Surroundings;
  readonly #turns = new Turns(MAX_WAITING);
  #running: Version;
  #pending: PendingCommit | undefined;
  #isClosed = false;

  constructor(around: Surroundings) {
    this.#around = around;
    this.carrier = new Carrier(this.#turns, around.carryOutLimit, around.warn);
    this.#running = around.running;
    this.#findInHistory();
  }

  /** What was read at the start was in force at the end, or it is new: edited by hand, or the last was not confirmed. */
  #findInHistory(): void {
    const { history } = this.#around;
    const { newest } = history;
    if (newest && history.endsWith(this.#running.text)) {
      this.#running.number = newest.number;
      this.#running.time = newest.time;
    } else {
      this.#enter(this.#running, { user: "startup", comment: newest ? "found in the startup file" : "" });
    }
  }

  get running(): Version {
    return this.#running;
  }

  get confirmBy(): Date | undefined {
    return this.#pending?.by;
  }

  close(): void {
    this.#isClosed = true;
    this.#pending?.stop();
  }

  /** One after the other. @throws ConfigurationError */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw refusal("in-use", "the node is ending");
    try {
      return await this.#turns.take(work);
    } catch (error) {
      throw error instanceof NoTurn ? refusal("in-use", error.message) : error;
    }
  }

  /** A commit of what is in force already. In turn. @throws ConfigurationError */
  repeat(options: CommitOptions): void {
    if (options.confirmSeconds === undefined) {
      if (!this.#running.isStored) this.#keep(options.user);
    } else if (this.#pending) {
      this.#await(this.#pending.base, options.confirmSeconds);
    }
  }

  /** A commit of something else; `next` is ours then. In turn. @throws ConfigurationError */
  async bringIn(next: Version, changed: string[], options: CommitOptions): Promise<void> {
    const { confirmSeconds } = options;
    const { configuration } = this.#running;
    const free = () => next.tree.free();
    /** Brings the old configuration back; `next` is what stays in force when that fails. */
    const undo = async () => {
      const failed = () => this.#putInForce(next, changed, options);
      await this.carrier.carry(next.configuration, configuration, { late: free, failed });
      free();
    };
    try {
      this.#refuseHandEdits(next.tree);
    } catch (error) {
      free();
      throw error;
    }
    await this.carrier.carry(configuration, next.configuration, { late: undo, failed: free });
    if (confirmSeconds === undefined) {
      await this.#storeOr(undo, next);
      this.#endPending();
    } else {
      // Only now: the former one may have been confirmed meanwhile.
      this.#await(this.#pending?.base ?? this.#running, confirmSeconds);
    }
    this.#putInForce(next, changed, options);
  }

  async #storeOr(undo: () => Promise<void>, next: Version): Promise<void> {
    try {
      this.#around.startup.store(next);
    } catch (error) {
      const reason = await undo().catch(reasonOf);
      if (reason === undefined) throw error;
      throw refusal("rollback-failed", `${reasonOf(error)}; going back: ${reason}`);
    }
  }

  #refuseHandEdits(next?: Tree): void {
    const harmless = [this.#running.tree, this.#pending?.base.tree, next];
    this.#around.startup.refuseHandEdits(harmless.filter((tree) => tree !== undefined));
  }

  /** Out of turn. @throws ConfigurationError */
  confirm(user: string): void {
    if (this.#pending === undefined) throw nothingPending();
    this.#keep(user);
  }

  cancel(user: string): Promise<void> {
    return this.take(() => this.#revert(user, `commit ${this.#running.number} was cancelled`));
  }

  /** Makes sure that what is in force is what the startup file says; whatever was to be confirmed is so then. */
  #keep(user: string): void {
    if (this.#pending?.isReverting) throw refusal("in-use", "it is being rolled back already");
    this.#refuseHandEdits();
    this.#around.startup.store(this.#running);
    if (this.#pending === undefined) return;
    this.#endPending();
    this.#tell(() => this.#around.confirmed({ number: this.#running.number, user }));
  }

  /** Goes back to what was in force before the commit that is to be confirmed. @throws ConfigurationError */
  async #revert(user: string, comment: string): Promise<void> {
    const pending = this.#pending;
    if (pending === undefined) throw nothingPending();
    const { base } = pending;
    const changed = this.#running.tree.diff(base.tree);
    const done = () => {
      pending.stop();
      this.#pending = undefined;
      this.#putInForce(base, changed, { user, comment });
    };
    const failed = () => {
      pending.isReverting = false;
    };
    pending.isReverting = true;
    // Later commits may have brought everything back already.
    if (changed.length > 0)
      await this.carrier.carry(this.#running.configuration, base.configuration, { late: done, failed });
    done();
  }

  #await(base: Version, seconds: number): void {
    this.#pending?.stop();
    const pending = new PendingCommit(base, seconds, () => this.#goBack(pending));
    this.#pending = pending;
    if (this.#isClosed) pending.stop();
  }

  async #goBack(pending: PendingCommit): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.#turns.take(async () => {
        if (this.#pending === pending)
          await this.#revert("vita", `commit ${this.#running.number} was not confirmed in time`);
      });
    } catch (error) {
      if (this.#pending !== pending) return;
      if (!(error instanceof NoTurn))
        this.#around.warn(`what was not confirmed cannot be rolled back yet: ${reasonOf(error)}`);
      pending.again(this.#around.retry);
    }
  }

  /** What was to be confirmed is so. */
  #endPending(): void {
    this.#pending?.stop();
    this.#pending?.base.tree.free();
    this.#pending = undefined;
  }

  #putInForce(next: Version, changed: string[], options: CommitOptions): void {
    const former = this.#running;
    this.#running = next;
    if (former !== this.#pending?.base) former.tree.free();
    this.#enter(next, options);
    const { number } = next;
    const confirmBy = this.#pending?.by;
    const event = { number, user: options.user, ...(confirmBy && { confirmBy }), changed };
    this.#tell(() => this.#around.changed(event));
  }

  #enter(version: Version, { user, comment = "" }: CommitOptions): void {
    version.time = new Date();
    version.number = this.#around.history.add(version.text, { time: version.time, user, comment });
  }

  /** A listener that throws changes nothing any more. */
  #tell(emit: () => void): void {
    try {
      emit();
    } catch (error) {
      this.#around.warn(`telling of another configuration: ${messageOf(error)}`);
    }
  }
}

function nothingPending(): Error {
  return refusal("data-missing", "no commit is waiting to be confirmed");
}
