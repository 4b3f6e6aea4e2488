// A configuration as charon sees it: entries (connections, pools, secrets, authorities), and the items that each of them
// is in charon, every one loaded by a command of its own. Two entries may share an item: a key file that two connections
// name is one key.

import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { encodeMessage, type ViciFields, ViciFormatError } from "../charon/vici-message.js";
import type { Configuration, Connection } from "../config/configuration.js";
import { entryPath, IkeError } from "./ike-error.js";
import type { IkeFiles } from "./ike-files.js";
import {
  authorityFields,
  chainOf,
  connectionFields,
  connectionSecretName,
  poolFields,
  preSharedKeyFields,
  secretFields,
  secretName,
} from "./ike-messages.js";
import { sameData } from "./same-data.js";

/** In the order of loading: what others need comes before them. */
const itemKinds = ["authority", "certificate", "key", "secret", "pool", "connection"] as const;
export type ItemKind = (typeof itemKinds)[number];

const loadCommands: Record<ItemKind, string> = {
  authority: "load-authority",
  certificate: "load-cert",
  key: "load-key",
  secret: "load-shared",
  pool: "load-pool",
  connection: "load-conn",
};

export interface IkeItem {
  readonly kind: ItemKind;
  /** In charon, except a key's and a certificate's: these have the digest of their contents. */
  readonly name: string;
  /** Where it stands in the configuration. */
  readonly path: string;
  readonly command: string;
  /** Encoded. */
  readonly message: Buffer;
  /** Does charon take it at once, so that others may be in the same command? */
  readonly isQuick?: boolean;
}

type Entries = Pick<Configuration, "connection" | "pool" | "secret" | "authority">;
export type EntryList = keyof Entries;
const entryLists = ["authority", "secret", "pool", "connection"] as const satisfies readonly EntryList[];

export interface IkeEntry {
  readonly list: EntryList;
  readonly id: string;
  /** As the configuration has it. */
  readonly source: Entries[EntryList][number];
  readonly items: readonly IkeItem[];
}

export const itemKey = ({ kind, name }: Pick<IkeItem, "kind" | "name">) => `${kind} ${name}`;

/** Is there anything for charon? */
export function concernsCharon(configuration: Configuration | undefined): boolean {
  return configuration !== undefined && entryLists.some((list) => configuration[list].length > 0);
}

function item(kind: ItemKind, name: string, path: string, fields: ViciFields): IkeItem {
  try {
    return { kind, name, path, command: loadCommands[kind], message: encodeMessage(fields) };
  } catch (error) {
    if (error instanceof ViciFormatError) throw new IkeError(path, error.message);
    throw error;
  }
}

const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** charon may ask for a host's address when it lays a trap or begins to negotiate, and nobody knows how long that takes. */
function namesHosts(connection: Connection): boolean {
  const ends = [...connection["local-address"], ...connection["remote-address"]];
  return ends.some((text) => isIP(text.split(/[-/]/, 1)[0]) === 0 && !text.startsWith("%any"));
}

function connectionItems(connection: Connection, files: IkeFiles): IkeItem[] {
  const path = entryPath("connection", connection.id);
  const items: IkeItem[] = [];
  for (const data of chainOf(connection, files)) {
    const fields = { type: "X509", flag: "NONE", data };
    items.push(item("certificate", digest(data), `${path}/local/certificate`, fields));
  }
  const keyFile = connection.local["private-key"];
  if (keyFile !== undefined) {
    const keyPath = `${path}/local/private-key`;
    const data = files.privateKey(keyPath, keyFile);
    items.push(item("key", digest(data), keyPath, { type: "any", data }));
  }
  const secret = preSharedKeyFields(connection);
  if (secret)
    items.push(item("secret", connectionSecretName(connection.id), `${path}/pre-shared-key`, secret));
  const isQuick = !namesHosts(connection);
  items.push({ ...item("connection", connection.id, path, connectionFields(connection, files)), isQuick });
  return items;
}

function itemsOf(list: EntryList, entry: Entries[EntryList][number], files: IkeFiles): IkeItem[] {
  const path = entryPath(list, entry.id);
  switch (list) {
    case "connection":
      return connectionItems(entry as Entries["connection"][number], files);
    case "pool":
      return [item("pool", entry.id, path, poolFields(entry as Entries["pool"][number]))];
    case "secret": {
      const fields = secretFields(entry as Entries["secret"][number]);
      return [item("secret", secretName(entry.id), path, fields)];
    }
    case "authority": {
      const fields = authorityFields(entry as Entries["authority"][number], files);
      return [item("authority", entry.id, `${path}/ca-certificate`, fields)];
    }
  }
}

export type IkeEntries = ReadonlyMap<string, IkeEntry>;

/**
 * The entries of a configuration. Those that are as in `former` are taken over from there, and their files not read.
 * @param broken is told what is wrong with an entry, which is left out then, or is as in `former`; without it, it is thrown
 * @throws IkeError
 */
export function entriesOf(
  configuration: Configuration | undefined,
  files: IkeFiles,
  former: IkeEntries = new Map(),
  broken?: (error: IkeError, entry: string) => void,
): Map<string, IkeEntry> {
  const entries = new Map<string, IkeEntry>();
  if (!configuration) return entries;
  for (const list of entryLists) {
    for (const value of configuration[list]) {
      const key = `${list} ${value.id}`;
      const known = former.get(key);
      if (known && sameData(known.source, value)) {
        entries.set(key, known);
        continue;
      }
      try {
        entries.set(key, { list, id: value.id, source: value, items: itemsOf(list, value, files) });
      } catch (error) {
        if (!(error instanceof IkeError) || !broken) throw error;
        broken(error, key);
      }
    }
  }
  return entries;
}

/** What is to be done in charon to get from one set of entries to another. */
export interface IkePlan {
  /** In this order; with each the item that it takes the place of. */
  readonly load: readonly { item: IkeItem; former: IkeItem | undefined }[];
  /** In this order, after all of `load`. */
  readonly unload: readonly IkeItem[];
  /** Children, by connection and name, that are no longer there while their connection is. */
  readonly childrenGone: readonly (readonly [connection: string, child: string])[];
}

/** Only these can belong to several entries. */
const sharedKinds: readonly ItemKind[] = ["key", "certificate"];

/** The shared items of entries, by their keys. It is only made where one is looked for: most configurations have none. */
function sharedItems(entries: IkeEntries): () => ReadonlyMap<string, IkeItem> {
  let items: Map<string, IkeItem> | undefined;
  return () => {
    items ??= byKey([...entries.values()].flatMap((entry) => entry.items.filter(isShared)));
    return items;
  };
}

const isShared = ({ kind }: IkeItem) => sharedKinds.includes(kind);

function byKey(items: readonly IkeItem[]): Map<string, IkeItem> {
  return new Map(items.map((item) => [itemKey(item), item]));
}

/** Looks items of an entry up in other entries: there they are in the entry of the same key, or anywhere when shared. */
function finder(entries: IkeEntries): (entryKey: string, item: IkeItem) => IkeItem | undefined {
  const shared = sharedItems(entries);
  return (entryKey, item) =>
    isShared(item)
      ? shared().get(itemKey(item))
      : entries.get(entryKey)?.items.find(({ kind }) => kind === item.kind);
}

const rank = ({ kind }: IkeItem) => itemKinds.indexOf(kind);

function childrenOf(entry: IkeEntry): string[] {
  return (entry.source as Connection).child.map(({ id }) => id);
}

/** The first of those that are about the same item. */
function once<T>(steps: readonly T[], itemOf: (step: T) => IkeItem): T[] {
  const seen = new Set<string>();
  return steps.filter((step) => {
    const key = itemKey(itemOf(step));
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

export function planOf(from: IkeEntries, to: IkeEntries): IkePlan {
  const gone = [...from].filter(([key, entry]) => to.get(key) !== entry);
  const come = [...to].filter(([key, entry]) => from.get(key) !== entry);
  const before = finder(from);
  const after = finder(to);
  const load = come
    .flatMap(([key, { items }]) => items.map((item) => ({ item, former: before(key, item) })))
    .filter(({ item, former }) => !former?.message.equals(item.message));
  const unload = gone.flatMap(([key, { items }]) => items.filter((item) => !after(key, item)));
  const childrenGone = gone.flatMap(([key, entry]) => {
    const now = to.get(key);
    if (entry.list !== "connection" || !now) return [];
    const left = new Set(childrenOf(now));
    return childrenOf(entry)
      .filter((child) => !left.has(child))
      .map((child) => [entry.id, child] as const);
  });
  return {
    load: once(load, ({ item }) => item).sort((a, b) => rank(a.item) - rank(b.item)),
    unload: once(unload, (item) => item).sort((a, b) => rank(b) - rank(a)),
    childrenGone,
  };
}
