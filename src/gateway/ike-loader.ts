// Loads items into charon and takes them away again, over one vici connection. Commands go out many at a time, since charon
// answers them in order. What was done up to a refusal is undone, the last first.
//
// A command costs charon about 60 µs, whatever it says: threads hand it to each other. So connections are loaded many at a
// time as well. charon loads all sections of a `load-conn`, and stops at the first that it refuses without a word of which
// one that was: then each of them is loaded by itself.

import { setTimeout as sleep } from "node:timers/promises";
import { type ViciConnection, ViciRefusal } from "../charon/vici-connection.js";
import type { ViciFields } from "../charon/vici-message.js";
import type { Connection } from "../config/configuration.js";
import { IkeError } from "./ike-error.js";
import {
  type IkeEntries,
  type IkeEntry,
  type IkeItem,
  type IkePlan,
  type ItemKind,
  itemKey,
  planOf,
} from "./ike-items.js";
import { type IkeMemory, type RememberedKind, rememberedKinds } from "./ike-memory.js";
import { refusalOf } from "./ike-refusal.js";
import { takeDown } from "./ike-take-down.js";
import type { Logger } from "./log.js";

/** Commands that are sent in one piece. Two of these are under way, so that charon need not wait. */
const PIECE = 512;

/** Connections, and bytes of them, that are loaded with one command. */
const TOGETHER = { items: 32, bytes: 64 * 1024 };

/** charon takes a pool's addresses back a moment after it has said that their IKE_SAs are gone: looks, and ms between them. */
const LEASE_TRIES = 20;
const LEASE_PAUSE = 50;

const listings: Record<RememberedKind, { command: string; list: string }> = {
  connection: { command: "get-conns", list: "conns" },
  pool: { command: "get-pools", list: "" },
  secret: { command: "get-shared", list: "keys" },
  key: { command: "get-keys", list: "keys" },
  authority: { command: "get-authorities", list: "authorities" },
};

/** Bytes of names up to which charon is asked for a list: an answer that is too large for a packet, it never sends. */
const LISTING_MAX = 256 * 1024;

const unloading: Record<ItemKind, ((name: string) => [command: string, fields: ViciFields]) | undefined> = {
  connection: (name) => ["unload-conn", { name }],
  pool: (name) => ["unload-pool", { name }],
  authority: (name) => ["unload-authority", { name }],
  secret: (id) => ["unload-shared", { id }],
  key: (id) => ["unload-key", { id }],
  // charon has no command for it.
  certificate: undefined,
};

/** Does something with each item, many at a time and in order. After the first failure no further piece is begun. */
async function inOrder<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let failure: PromiseRejectedResult | undefined;
  const end = async (piece: Promise<PromiseSettledResult<void>[]>) => {
    for (const outcome of await piece) if (outcome.status === "rejected") failure ??= outcome;
  };
  let before: Promise<PromiseSettledResult<void>[]> = Promise.resolve([]);
  for (let at = 0; at < items.length && !failure; at += PIECE) {
    const piece = Promise.allSettled(items.slice(at, at + PIECE).map(work));
    await end(before);
    before = piece;
  }
  await end(before);
  if (failure) throw failure.reason;
}

/** In their order, those together that one command can load. */
function together<Step extends { item: IkeItem }>(steps: readonly Step[]): Step[][] {
  const groups: Step[][] = [];
  let bytes = 0;
  for (const step of steps) {
    const { kind, isQuick, message } = step.item;
    const group = groups.at(-1);
    const mayJoin =
      kind === "connection" && isQuick && group?.[0].item.kind === kind && group[0].item.isQuick;
    bytes += message.length;
    if (mayJoin && group.length < TOGETHER.items && bytes <= TOGETHER.bytes) group.push(step);
    else {
      groups.push([step]);
      bytes = message.length;
    }
  }
  return groups;
}

/** Kinds whose names in charon are those of the items. */
function isNamed(kind: ItemKind): kind is Exclude<RememberedKind, "key"> {
  return kind !== "key" && kind !== "certificate";
}

export class IkeLoader {
  readonly #memory: IkeMemory;
  readonly #log: Logger;
  /** charon's names of keys, by the item's. */
  readonly #keys = new Map<string, string>();
  /** What charon did not take when it was given everything. */
  readonly #refused = new Set<string>();

  constructor(memory: IkeMemory, log: Logger) {
    this.#memory = memory;
    this.#log = log;
  }

  /**
   * Carries a plan out.
   * @param entries those that the plan leads to
   * @throws IkeError when charon refuses something, and all is undone; ViciUnreachable
   */
  async carryOut(connection: ViciConnection, plan: IkePlan, entries: IkeEntries): Promise<void> {
    this.#remember(plan.load.map(({ item }) => item));
    const undo: (() => Promise<void>)[] = [];
    try {
      await inOrder(together(plan.load), (steps) =>
        this.#loadTogether(connection, steps, entries, ({ item, former }) =>
          undo.push(() =>
            former ? this.#load(connection, former, entries) : this.#unload(connection, item),
          ),
        ),
      );
      const isConnection = ({ kind }: IkeItem) => kind === "connection";
      const away = async (item: IkeItem) => {
        await this.#unload(connection, item);
        undo.push(() => this.#load(connection, item, entries));
      };
      const connections = plan.unload.filter(isConnection);
      await inOrder(connections, away);
      // Before its pools are taken away: they must have no leases.
      const names = connections.map(({ name }) => name);
      await takeDown(connection, names, plan.childrenGone, this.#log);
      await inOrder(
        plan.unload.filter((item) => !isConnection(item)),
        away,
      );
    } catch (error) {
      if (connection.isOpen) {
        await this.#undo(undo.reverse());
        for (const { item, former } of plan.load) if (!former) this.#forget(item);
      }
      throw error;
    } finally {
      this.#memory.save();
    }
  }

  async #undo(steps: readonly (() => Promise<void>)[]): Promise<void> {
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        this.#log.warn(`while a change was undone: ${(error as Error).message}`);
      }
    }
  }

  /**
   * Gives a charon that has just appeared everything.
   * @param refused is told what charon refuses; the others are loaded all the same
   * @throws ViciUnreachable
   */
  async loadAll(
    connection: ViciConnection,
    entries: IkeEntries,
    refused: (error: IkeError) => void,
  ): Promise<void> {
    const { load } = planOf(new Map(), entries);
    this.#remember(load.map(({ item }) => item));
    await inOrder(together(load), (steps) =>
      this.#loadTogether(
        connection,
        steps,
        entries,
        () => {},
        (item, error) => {
          this.#refused.add(itemKey(item));
          refused(error);
        },
      ),
    );
    this.#memory.save();
  }

  /**
   * Takes away what is left in charon of another configuration that Vita has loaded there.
   * @param entries what is wanted, all of it loaded
   * @throws ViciUnreachable
   */
  async removeLeft(connection: ViciConnection, entries: IkeEntries): Promise<void> {
    const wanted = new Set([...entries.values()].flatMap(({ items }) => items.map(itemKey)));
    const wantedKeys = new Set(this.#keys.values());
    const isWanted = (kind: ItemKind, name: string) =>
      kind === "key" ? wantedKeys.has(name) : wanted.has(itemKey({ kind, name }));
    for (const kind of rememberedKinds) {
      const left = [...this.#memory.names(kind)].filter((name) => !isWanted(kind, name));
      const taken: string[] = [];
      await inOrder(left, async (name) => {
        if (await this.#removeOne(connection, kind, name)) taken.push(name);
      });
      // There may be thousands.
      const more = taken.length > 1 ? `, and ${taken.length - 1} more like it` : "";
      if (taken.length > 0)
        this.#log.info(`took ${kind} "${taken[0]}" away from charon, which is no longer configured${more}`);
      if (kind === "connection") await takeDown(connection, left, [], this.#log);
    }
    this.#memory.save();
  }

  /** @returns whether charon had it, and does not have it any more */
  async #removeOne(connection: ViciConnection, kind: RememberedKind, name: string): Promise<boolean> {
    try {
      const wasThere = await this.#request(connection, kind, name);
      this.#memory.delete(kind, name);
      return wasThere;
    } catch (error) {
      if (!(error instanceof ViciRefusal)) throw error;
      this.#log.warn(`charon keeps ${kind} "${name}", which is no longer configured: ${error.message}`);
      return false;
    }
  }

  /**
   * What charon should have, and has no longer: somebody else took it away. Of very many items, it is looked for the first
   * connection only.
   */
  async missing(connection: ViciConnection, entries: IkeEntries): Promise<IkeItem[]> {
    let size = 0;
    for (const { items } of entries.values()) for (const { name } of items) size += name.length + 3;
    if (size > LISTING_MAX) return this.#firstMissing(connection, entries);
    const present = new Map<ItemKind, Set<string>>();
    for (const kind of rememberedKinds) {
      const { command, list } = listings[kind];
      const answer = await connection.request(command);
      present.set(kind, new Set(kind === "pool" ? answer.sections.keys() : answer.texts(list)));
    }
    const items = [...entries.values()].flatMap((entry) => entry.items);
    return items.filter((item) => {
      const name = item.kind === "key" ? this.#keys.get(item.name) : item.name;
      const there = present.get(item.kind);
      return there && !this.#refused.has(itemKey(item)) && !(name !== undefined && there.has(name));
    });
  }

  async #firstMissing(connection: ViciConnection, entries: IkeEntries): Promise<IkeItem[]> {
    let first: IkeItem | undefined;
    for (const { items } of entries.values()) {
      first = items.find((item) => item.kind === "connection" && !this.#refused.has(itemKey(item)));
      if (first) break;
    }
    if (!first) return [];
    let isThere = false;
    await connection.stream("list-conns", { ike: first.name }, "list-conn", () => {
      isThere = true;
    });
    return isThere ? [] : [first];
  }

  /** Has charon not taken something of this entry when it was given everything, nor since? */
  hasRefused({ items }: IkeEntry): boolean {
    return items.some((item) => this.#refused.has(itemKey(item)));
  }

  /** Notes that charon has these. */
  remember(entries: IkeEntries): void {
    this.#remember([...entries.values()].flatMap(({ items }) => items));
    for (const id of this.#keys.values()) this.#memory.add("key", id);
    this.#memory.save();
  }

  #remember(items: readonly IkeItem[]): void {
    for (const { kind, name } of items) if (isNamed(kind)) this.#memory.add(kind, name);
    this.#memory.save();
  }

  #forget({ kind, name }: IkeItem): void {
    if (isNamed(kind)) this.#memory.delete(kind, name);
  }

  /**
   * Loads what is to be loaded with one command.
   * @param done told of each item that charon has taken
   * @param refused told of each that it has refused; without it, the first refusal is thrown
   * @throws IkeError, ViciUnreachable
   */
  async #loadTogether<Step extends { item: IkeItem }>(
    connection: ViciConnection,
    steps: readonly Step[],
    entries: IkeEntries,
    done: (step: Step) => void,
    refused?: (item: IkeItem, error: IkeError) => void,
  ): Promise<void> {
    if (steps.length > 1) {
      const messages = steps.map(({ item }) => item.message);
      try {
        await connection.request(steps[0].item.command, Buffer.concat(messages));
        for (const step of steps) {
          this.#hasLoaded(step.item);
          done(step);
        }
        return;
      } catch (error) {
        if (!(error instanceof ViciRefusal)) throw error;
      }
    }
    for (const step of steps) {
      try {
        await this.#load(connection, step.item, entries);
        done(step);
      } catch (error) {
        if (!refused || !(error instanceof IkeError)) throw error;
        refused(step.item, error);
      }
    }
  }

  #hasLoaded(item: IkeItem): void {
    this.#refused.delete(itemKey(item));
    if (isNamed(item.kind)) this.#memory.add(item.kind, item.name);
  }

  async #load(connection: ViciConnection, item: IkeItem, entries: IkeEntries): Promise<void> {
    try {
      const answer = await connection.request(item.command, item.message);
      this.#hasLoaded(item);
      const id = answer.text("id");
      if (item.kind === "key" && id !== undefined) {
        this.#keys.set(item.name, id);
        this.#memory.add("key", id);
      }
    } catch (error) {
      if (!(error instanceof ViciRefusal)) throw error;
      const source = entries.get(`connection ${item.name}`)?.source as Connection | undefined;
      throw refusalOf(item, source, error.message);
    }
  }

  /** @throws IkeError when charon refuses, and not because it has no such thing */
  async #unload(connection: ViciConnection, item: IkeItem): Promise<void> {
    const name = item.kind === "key" ? this.#keys.get(item.name) : item.name;
    if (name === undefined) return;
    try {
      await this.#request(connection, item.kind, name);
    } catch (error) {
      if (!(error instanceof ViciRefusal)) throw error;
      throw refusalOf(item, undefined, error.message);
    }
    if (item.kind === "key") this.#keys.delete(item.name);
    if (item.kind === "key" || isNamed(item.kind)) this.#memory.delete(item.kind, name);
  }

  /** @returns whether charon had it; of secrets it does not tell */
  async #request(connection: ViciConnection, kind: ItemKind, name: string): Promise<boolean> {
    const command = unloading[kind]?.(name);
    if (!command) return false;
    for (let tries = 1; ; tries++) {
      try {
        await connection.request(...command);
        return true;
      } catch (error) {
        if (!(error instanceof ViciRefusal)) throw error;
        // Somebody else has taken it away, or charon has begun anew.
        if (error.message.endsWith("not found")) return false;
        if (tries === LEASE_TRIES || !error.message.includes("has online leases")) throw error;
        await sleep(LEASE_PAUSE);
      }
    }
  }
}
