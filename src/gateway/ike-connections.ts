// The configuration's connections, pools, secrets and authorities, in charon: loaded over vici, changed where the
// configuration changes, and loaded again whenever charon begins anew. What somebody else has loaded is left alone, and a
// node without any of these never speaks to charon.
//
//   Configuration ─ entriesOf ─▶ entries ─ planOf ─▶ plan ─ IkeLoader ─▶ charon
//
// charon need not be there: what is to be loaded is remembered, and loaded when it comes. Only what can be known without
// it (files that are missing) fails then; what charon refuses later is in the log and in `status`.

import { Vici } from "../charon/vici.js";
import { ViciConnection, ViciUnreachable } from "../charon/vici-connection.js";
import type { Configuration } from "../config/configuration.js";
import { messageOf } from "../config/refusal.js";
import { type ActionTarget, bringUp, rekeyNow, takeDownNow } from "./ike-actions.js";
import { IkeError } from "./ike-error.js";
import { MachineFiles } from "./ike-files.js";
import { concernsCharon, entriesOf, type IkeEntries, type IkePlan, planOf } from "./ike-items.js";
import { IkeLoader } from "./ike-loader.js";
import { IkeMemory } from "./ike-memory.js";
import { type IkeSaState, type IkeState, ikeSas } from "./ike-state.js";
import type { Logger } from "./log.js";

export interface IkeConnectionsOptions {
  logger: Logger;
  /** File in which the names of what charon has of Vita outlive the supervisor. */
  memoryFile?: string;
  /** Milliseconds for which charon may be silent. */
  patience?: number;
}

export interface IkeStatus {
  /** Is there anything for charon in the configuration? */
  concerned: boolean;
  connected: boolean;
  /** Is all of it in charon, but for the problems? */
  loaded: boolean;
  /** What charon, or a file, stood in the way of when charon appeared. */
  problems: readonly string[];
}

/** Milliseconds between looks whether charon still has everything: soon after it was given it, and then at leisure. */
const LOOKS = [500, 1000, 2000, 5000, 10_000];

/** The key of the entry that a path leads into: `connection hq`. */
const entryOf = (path: string) => path.replace(/^\/([a-z]+)\[id="([^"]+)"\].*$/, "$1 $2");

const nothing: IkeEntries = new Map();
const isEmpty = ({ load, unload, childrenGone }: IkePlan) =>
  load.length + unload.length + childrenGone.length === 0;

/** A charon, by its socket. */
interface Charon {
  uri: string;
  vici: Vici;
  loader: IkeLoader;
  /** The connection over which all entries were loaded; a later one finds a charon that may have none. */
  loaded: ViciConnection | undefined;
}

export class IkeConnections {
  readonly #options: IkeConnectionsOptions;
  readonly #log: Logger;
  readonly #memory: IkeMemory;
  #isStarted = false;
  #isClosed = false;
  #configuration: Configuration | undefined;
  #entries: IkeEntries = nothing;
  #charon: Charon | undefined;
  #problems: IkeError[] = [];
  #look: NodeJS.Timeout | undefined;
  /** One change at a time. */
  #tail: Promise<void> = Promise.resolve();

  constructor(options: IkeConnectionsOptions) {
    this.#options = options;
    this.#log = options.logger;
    this.#memory = new IkeMemory(options.memoryFile);
  }

  /** Begins to look for charon, now and whenever it is gone. Before, `apply` only takes note. */
  start(): void {
    this.#isStarted = true;
    const configuration = this.#configuration;
    if (configuration && concernsCharon(configuration)) this.#open(configuration.charon.vici);
  }

  /**
   * Makes charon have what `to` says; returns when it has, or when charon is not there and will be given it later.
   * @param _from what was applied last; undefined the first time
   * @throws IkeError when a file cannot be used or charon refuses something; everything is as before then
   */
  apply(_from: Configuration | undefined, to: Configuration): Promise<void> {
    return this.#inTurn(() => this.#change(to, () => this.#entries));
  }

  /**
   * Reads all files again, and gives charon what has changed in them.
   * @throws as `apply`
   */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#configuration) await this.#change(this.#configuration, () => nothing);
    });
  }

  status(): IkeStatus {
    const connection = this.#charon?.vici.connection;
    return {
      concerned: concernsCharon(this.#configuration),
      connected: connection !== undefined,
      loaded: connection !== undefined && this.#charon?.loaded === connection,
      problems: this.#problems.map(({ message }) => message),
    };
  }

  /** What charon has, whoever loaded it: the model's `gateway-state/ike`. */
  async ikeState(): Promise<IkeState> {
    const sas: IkeSaState[] = [];
    const { concerned, loaded, problems } = this.status();
    const own = { ...(concerned && { loaded }), ...(problems.length > 0 && { problem: problems }) };
    const uri = this.#configuration?.charon.vici;
    if (uri === undefined) return { connected: false, "ike-sa": [] };
    let connection: ViciConnection | undefined;
    try {
      connection = await ViciConnection.open(uri, this.#patience);
      const [version] = await Promise.all([
        connection.request("version"),
        connection.stream("list-sas", {}, "list-sa", (event) => sas.push(...ikeSas(event))),
      ]);
      return { connected: true, version: version.text("version") ?? "", ...own, "ike-sa": sas };
    } catch (error) {
      if (error instanceof ViciUnreachable) return { connected: false, ...own, "ike-sa": [] };
      throw error;
    } finally {
      connection?.close();
    }
  }

  /** Negotiates a connection's children, or one of them; returns when they are up. @throws IkeError, ViciUnreachable */
  up(connection: string, child: string | undefined, seconds: number): Promise<void> {
    return bringUp(this.#target(connection, child, seconds));
  }

  /** Ends a connection's SAs, or those of a child. @throws IkeError, ViciUnreachable */
  down(connection: string, child: string | undefined, seconds: number): Promise<void> {
    return takeDownNow(this.#target(connection, child, seconds));
  }

  /** Rekeys a connection's SAs, or those of a child; returns when there are new ones. @throws IkeError, ViciUnreachable */
  rekey(connection: string, child: string | undefined, seconds: number, reauth = false): Promise<void> {
    return rekeyNow(this.#target(connection, child, seconds), reauth);
  }

  /** Lets go of charon, which keeps what it has. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#look);
    this.#charon?.vici.close();
    await this.#tail;
  }

  get #patience(): { patience?: number } {
    return this.#options.patience === undefined ? {} : { patience: this.#options.patience };
  }

  #target(connection: string, child: string | undefined, seconds: number): ActionTarget {
    const configuration = this.#configuration;
    if (!configuration) throw new Error("there is no configuration yet");
    if (configuration["data-plane"]) throw new IkeError("/data-plane", "is true: the node has no IKE");
    return { uri: configuration.charon.vici, connection, child, seconds };
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }

  /** @param former entries whose files need not be read again when they have not changed */
  async #change(to: Configuration, former: () => IkeEntries): Promise<void> {
    if (this.#charon && this.#charon.uri !== to.charon.vici) {
      await this.#move(to, entriesOf(to, new MachineFiles(), former()));
      return;
    }
    if (this.#charon) await this.#catchUp(this.#charon);
    const entries = entriesOf(to, new MachineFiles(), former());
    const plan = planOf(this.#entries, entries);
    if (!isEmpty(plan)) {
      if (concernsCharon(to)) this.#open(to.charon.vici);
      if (this.#charon) await this.#carryOut(this.#charon, plan, entries);
    }
    this.#adopt(to, entries);
    if (!concernsCharon(to)) this.#letGo();
  }

  #adopt(to: Configuration, entries: IkeEntries): void {
    const former = this.#entries;
    this.#configuration = to;
    this.#entries = entries;
    // What stood in the way of an entry that is another one now, or gone, does so no longer; nor does a file that has been read.
    this.#problems = this.#problems.filter(({ path }) => {
      const key = entryOf(path);
      const entry = entries.get(key);
      const before = former.get(key);
      if (!entry || !before) return false;
      if (entry === before) return true;
      const isAlike = isEmpty(planOf(new Map([[key, before]]), new Map([[key, entry]])));
      return isAlike && this.#charon?.loader.hasRefused(entry) === true;
    });
  }

  /** Carries a plan out in a charon that is there. One that is not, or goes away meanwhile, is given everything when it comes. */
  async #carryOut(charon: Charon, plan: IkePlan, entries: IkeEntries): Promise<void> {
    await charon.vici.settled();
    const connection = charon.vici.connection;
    if (!connection) {
      this.#log.warn(`charon is not at ${charon.uri}; it is given its connections when it comes`);
      return;
    }
    try {
      await charon.loader.carryOut(connection, plan, entries);
      if (charon.loaded !== connection) await charon.loader.removeLeft(connection, entries);
      this.#hasAll(charon, connection);
    } catch (error) {
      if (!(error instanceof ViciUnreachable)) throw error;
      this.#log.warn(`${error.message}; it is given its connections when it comes back`);
    }
  }

  /** Another charon is to have everything: first that one is given it, then the other one loses it. */
  async #move(to: Configuration, entries: IkeEntries): Promise<void> {
    const former = this.#charon;
    const formerEntries = this.#entries;
    this.#entries = nothing;
    this.#charon = undefined;
    try {
      if (concernsCharon(to)) {
        this.#open(to.charon.vici);
        const now = this.#charon as Charon | undefined;
        if (now) await this.#carryOut(now, planOf(nothing, entries), entries);
      }
    } catch (error) {
      this.#letGo();
      this.#charon = former;
      this.#entries = formerEntries;
      former?.loader.remember(formerEntries);
      throw error;
    }
    this.#adopt(to, entries);
    const connection = former?.vici.connection;
    if (former && connection) {
      await former.loader
        .carryOut(connection, planOf(formerEntries, nothing), nothing)
        .catch((error) => this.#log.warn(`${former.uri} keeps what it was given: ${messageOf(error)}`));
    }
    former?.vici.close();
    this.#remember(entries);
  }

  #remember(entries: IkeEntries): void {
    this.#charon?.loader.remember(entries);
  }

  #letGo(): void {
    clearTimeout(this.#look);
    this.#charon?.vici.close();
    this.#charon = undefined;
    this.#problems = [];
  }

  #open(uri: string): void {
    if (!this.#isStarted || this.#isClosed || this.#charon) return;
    const loader = new IkeLoader(this.#memory, this.#log);
    const vici = new Vici({
      uri,
      ...this.#patience,
      connected: () => void this.#inTurn(() => this.#catchUp(charon)),
      lost: (why) => this.#log.warn(`charon cannot be reached: ${why.message}`),
    });
    const charon: Charon = { uri, vici, loader, loaded: undefined };
    this.#charon = charon;
  }

  /** Gives everything to a charon that is there and does not have it. */
  async #catchUp(charon: Charon): Promise<void> {
    await charon.vici.settled();
    const connection = charon.vici.connection;
    if (!connection || charon.loaded === connection || !this.#configuration || this.#charon !== charon)
      return;
    try {
      await this.#loadAll(charon, connection);
      await charon.loader.removeLeft(connection, this.#entries);
    } catch (error) {
      this.#log.warn(`charon was not given everything: ${messageOf(error)}`);
      // It is tried again from the beginning.
      connection.close();
      return;
    }
    this.#hasAll(charon, connection);
    const count = [...this.#entries.values()].filter(
      (entry) => entry.list === "connection" && !charon.loader.hasRefused(entry),
    ).length;
    this.#log.info(`charon at ${charon.uri} has been given everything, ${count} connections among it`);
  }

  #hasAll(charon: Charon, connection: ViciConnection): void {
    charon.loaded = connection;
    this.#lookLater(charon, connection, 0);
  }

  /**
   * Looks now and then whether charon still has what it was given: `swanctl --load-all` takes away whatever is not in
   * swanctl.conf, and Debian's unit calls it when charon has just started.
   */
  #lookLater(charon: Charon, connection: ViciConnection, times: number): void {
    clearTimeout(this.#look);
    if (this.#isClosed) return;
    this.#look = setTimeout(
      () => {
        void this.#inTurn(async () => {
          if (charon.loaded !== connection || this.#charon !== charon || !connection.isOpen) return;
          const isComplete = await this.#complete(charon, connection);
          this.#lookLater(charon, connection, isComplete ? times + 1 : 0);
        }).catch((error) => this.#log.warn(`while looking at what charon has: ${messageOf(error)}`));
      },
      LOOKS[Math.min(times, LOOKS.length - 1)],
    );
  }

  /** Gives charon again what was taken away from it. @returns whether nothing was */
  async #complete(charon: Charon, connection: ViciConnection): Promise<boolean> {
    const [first, ...others] = await charon.loader.missing(connection, this.#entries);
    if (!first) return true;
    const more = others.length === 0 ? "" : `, and ${others.length} more like it`;
    this.#log.warn(
      `somebody took ${first.kind} "${first.name}" away from charon${more}: all is given to it again (swanctl --load-all takes away what is not in swanctl.conf)`,
    );
    await this.#loadAll(charon, connection);
    return false;
  }

  /** Gives charon all entries, their files read anew. What cannot be read now is as it was when it could be. */
  async #loadAll(charon: Charon, connection: ViciConnection): Promise<void> {
    const problems: IkeError[] = [];
    const note = (error: IkeError) => {
      problems.push(error);
      this.#log.warn(error.message);
    };
    if (charon.loaded) {
      const read = entriesOf(this.#configuration, new MachineFiles(), nothing, note);
      this.#entries = new Map([...this.#entries].map(([key, entry]) => [key, read.get(key) ?? entry]));
    }
    await charon.loader.loadAll(connection, this.#entries, note);
    this.#problems = problems;
  }
}
