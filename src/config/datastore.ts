// The datastores of a node (RFC 8342): startup, the file that it began with and begins with the next time, and running,
// what is in force. Everybody reads and changes them here; how a change comes into force is told in commits.ts.

import { EventEmitter } from "node:events";
import type { CarryOut } from "./carrier.js";
import type { CommitOptions, CommitResult } from "./commit-options.js";
import { type Changed, Commits, type Confirmed } from "./commits.js";
import type { Configuration } from "./configuration.js";
import { Tagger } from "./etag.js";
import { History, type HistoryEntry } from "./history.js";
import { messageOf, refusal } from "./refusal.js";
import type { Schema } from "./schema.js";
import { Startup } from "./startup.js";
import { type Edit, Tree } from "./tree.js";
import { makeVersion, type Version } from "./version.js";

export type { Changed, CommitOptions, CommitResult, Confirmed, HistoryEntry };

export interface DatastoreOptions {
  schema: Schema;
  startupFile: string;
  /** Where the node's history is; made if need be. Known perhaps only once the node's name is. */
  stateDirectory: string | ((node: string) => string);
  /** Told of what goes wrong and has nobody else to be told. */
  warn?: (text: string) => void;
  /** Longest time (ms) that a change may take to be carried out. */
  carryOutLimit?: number;
  /** Time (ms) after which going back from what was not confirmed is tried again. */
  retry?: number;
}

export class Datastore extends EventEmitter<{ changed: [Changed]; confirmed: [Confirmed] }> {
  readonly schema: Schema;
  readonly #startup: Startup;
  readonly #history: History;
  readonly #tagger: Tagger;
  readonly #commits: Commits;

  /** Reads the startup file. What is wrong with the history hinders nothing. @throws ConfigurationError */
  static open(options: DatastoreOptions): Datastore {
    return new Datastore(options);
  }

  private constructor(options: DatastoreOptions) {
    super();
    const { schema, startupFile, stateDirectory } = options;
    const warn = options.warn ?? ((text) => process.stderr.write(`${text}\n`));
    this.schema = schema;
    this.#startup = new Startup(schema, startupFile);
    const running = makeVersion(this.#startup.read(), startupFile);
    const { node } = running.configuration;
    const folder = typeof stateDirectory === "string" ? stateDirectory : stateDirectory(node);
    this.#history = new History(folder, warn);
    this.#tagger = Tagger.open(folder, warn);
    this.#commits = new Commits({
      running: { ...running, isStored: true },
      startup: this.#startup,
      history: this.#history,
      warn,
      changed: (event) => this.emit("changed", event),
      confirmed: (event) => this.emit("confirmed", event),
      carryOutLimit: options.carryOutLimit ?? 60_000,
      retry: options.retry ?? 10_000,
    });
  }

  /** Carries a change out; whatever it throws, `from` is in force in full when it has. Never called twice at a time. */
  get carryOut(): CarryOut {
    return this.#commits.carrier.carryOut;
  }

  set carryOut(carryOut: CarryOut) {
    this.#commits.carrier.carryOut = carryOut;
  }

  /** What is in force. To be used at once: another commit frees it. */
  get running(): Tree {
    return this.#commits.running.tree;
  }

  get configuration(): Configuration {
    return this.#commits.running.configuration;
  }

  /** Without quotation marks. It follows from the content alone. */
  get etag(): string {
    const { running } = this.#commits;
    running.etag ??= this.#tagger.tag(running.text);
    return running.etag;
  }

  get lastModified(): Date {
    return this.#commits.running.time;
  }

  /** Of the running configuration, in the history. */
  get number(): number {
    return this.#commits.running.number;
  }

  /** When the running configuration is rolled back unless it is confirmed. */
  get confirmBy(): Date | undefined {
    return this.#commits.confirmBy;
  }

  read(...[path, options]: Parameters<Tree["print"]>): string | undefined {
    return this.running.print(path, options);
  }

  /** The last configurations that were in force, the newest first. */
  history(): HistoryEntry[] {
    return this.#history.entries;
  }

  /** A configuration in the history, JSON, secrets included. @throws ConfigurationError */
  configurationOf(number: number): string {
    const at = ["/rollback/number", String(number)] as const;
    let text: string | undefined;
    try {
      text = this.#history.text(number);
    } catch (error) {
      throw refusal("operation-failed", `cannot be read: ${messageOf(error)}`, ...at);
    }
    if (text !== undefined) return text;
    const numbers = this.#history.entries.map((entry) => entry.number);
    throw refusal("invalid-value", `is not in the history, which has ${numbers.join(", ")}`, ...at);
  }

  /** Writes what is in force to another file, secrets included. @param file absolute @throws ConfigurationError */
  save(file: string): void {
    this.#startup.saveCopy(file, this.#commits.running);
  }

  /** Would these edits be accepted? Changes nothing. @returns paths of what they change @throws ConfigurationError */
  check(edits: readonly Edit[]): string[] {
    const next = this.#candidate(() => this.#edited(edits));
    try {
      return this.running.diff(next.tree);
    } finally {
      next.tree.free();
    }
  }

  /** Changes the configuration, all or nothing. @throws ConfigurationError */
  commit(edits: readonly Edit[], options: CommitOptions): Promise<CommitResult> {
    return this.#change(() => this.#edited(edits), options);
  }

  /**
   * Brings an earlier configuration into force again, as a commit of its own.
   * @param number in the history; the one before the running one when left out
   * @throws ConfigurationError
   */
  rollback(number: number | undefined, options: CommitOptions): Promise<CommitResult> {
    return this.#change(() => {
      const which = number ?? this.#history.before(this.number)?.number;
      if (which === undefined) throw refusal("data-missing", "there is none before this one", "/rollback");
      const source = `configuration ${which} of the history`;
      return Tree.parse(this.schema, this.configurationOf(which), "json", { source });
    }, options);
  }

  /** Keeps what was to be confirmed; it is on the disk then. @throws ConfigurationError; the time-out goes on */
  confirm(user: string): void {
    this.#commits.confirm(user);
  }

  /** Rolls back now what was to be confirmed. @throws ConfigurationError; the time-out goes on */
  cancel(user: string): Promise<void> {
    return this.#commits.cancel(user);
  }

  /** Ends the time-out, and refuses commits from now on. */
  close(): void {
    this.#commits.close();
  }

  #edited(edits: readonly Edit[]): Tree {
    const tree = this.running.clone();
    try {
      for (const edit of edits) tree.apply(edit);
      return tree;
    } catch (error) {
      tree.free();
      throw error;
    }
  }

  #candidate(make: () => Tree): Version {
    const next = makeVersion(make());
    const { node } = next.configuration;
    if (node === this.configuration.node) return next;
    next.tree.free();
    const advice = `end it, and change ${this.#startup.path}`;
    throw refusal("invalid-value", `cannot be changed while the node runs: ${advice}`, "/node", node);
  }

  #change(make: () => Tree, options: CommitOptions): Promise<CommitResult> {
    return this.#commits.take(async () => {
      if (options.expect !== undefined && options.expect !== this.etag)
        throw refusal(
          "precondition-failed",
          "is not the tag of what is in force by now",
          "/",
          options.expect,
        );
      const next = this.#candidate(make);
      const changed = this.running.diff(next.tree);
      if (changed.length > 0) await this.#commits.bringIn(next, changed, options);
      else {
        next.tree.free();
        this.#commits.repeat(options);
      }
      return { number: this.number, etag: this.etag, changed };
    });
  }
}
