// From the lists that are in force to those that are wanted, as edits that touch only what differs.

import { isDeepStrictEqual } from "node:util";
import type { StaticSa } from "../../config/configuration.js";
import type { Edit } from "../../config/edit.js";
import { MODULE_NAME } from "../../config/schema.js";
import type { Lists } from "./view.js";

export function editsBetween(from: Lists, to: Lists): Edit[] {
  return [
    ...making(from, to),
    ...replacing("route", "id", from.route, to.route),
    ...replacing("security-policy", "id", from["security-policy"], to["security-policy"]),
    ...changingSas("inbound-sa", from["inbound-sa"], to["inbound-sa"]),
    ...changingSas("outbound-sa", from["outbound-sa"], to["outbound-sa"]),
  ];
}

type List = keyof Lists;

/** All new entries at once: thousands of edits would take long. */
function making(from: Lists, to: Lists): Edit[] {
  const made = (list: List, key: string): [string, object[]][] => {
    const keyOf = (entry: object) => (entry as Record<string, unknown>)[key];
    const known = new Set((from[list] as object[]).map(keyOf));
    const entries = (to[list] as object[]).filter((entry) => !known.has(keyOf(entry)));
    return entries.length === 0 ? [] : [[`${MODULE_NAME}:${list}`, entries.map(written)]];
  };
  const document = Object.fromEntries([
    ...made("route", "id"),
    ...made("security-policy", "id"),
    ...made("inbound-sa", "spi"),
    ...made("outbound-sa", "spi"),
  ]);
  if (Object.keys(document).length === 0) return [];
  return [{ operation: "merge", target: "/", value: { text: JSON.stringify(document), format: "json" } }];
}

/** Entries that are shown have nothing that is not. */
function replacing<Entry extends { id: string }>(
  list: List,
  key: "id",
  from: readonly Entry[],
  to: readonly Entry[],
): Edit[] {
  return compare(list, key, from, to, (target, entry) => [
    { operation: "replace", target, value: documentOf(list, entry) },
  ]);
}

/** An SA may have leaves that the shape of the configuration leaves out: only what is known to be gone goes. */
function changingSas<Sa extends StaticSa>(list: List, from: readonly Sa[], to: readonly Sa[]): Edit[] {
  return compare(list, "spi", from, to, (target, sa, former) => [
    ...(["salt", "integrity-key"] as const)
      .filter((leaf) => former[leaf] !== undefined && sa[leaf] === undefined)
      .map((leaf): Edit => ({ operation: "remove", target: `${target}/${leaf}` })),
    { operation: "merge", target, value: documentOf(list, sa) },
  ]);
}

function compare<Key extends string, Entry extends { [Name in Key]: string | number }>(
  list: List,
  key: Key,
  from: readonly Entry[],
  to: readonly Entry[],
  change: (target: string, entry: Entry, former: Entry) => Edit[],
): Edit[] {
  const pathOf = (entry: Entry) => `/${MODULE_NAME}:${list}[${key}='${entry[key]}']`;
  const former = new Map(from.map((entry) => [entry[key], entry]));
  const kept = new Set(to.map((entry) => entry[key]));
  const gone = from.filter((entry) => !kept.has(entry[key]));
  return [
    ...gone.map((entry): Edit => ({ operation: "delete", target: pathOf(entry) })),
    ...to.flatMap((entry): Edit[] => {
      const old = former.get(entry[key]);
      return !old || old === entry || isDeepStrictEqual(old, entry) ? [] : change(pathOf(entry), entry, old);
    }),
  ];
}

function documentOf(list: List, entry: object): NonNullable<Edit["value"]> {
  return { text: JSON.stringify({ [`${MODULE_NAME}:${list}`]: [written(entry)] }), format: "json" };
}

/** As an operator writes it: without what every such entry has. */
function written(entry: object): object {
  const isPlain = ([name, value]: [string, unknown]) =>
    ((name === "if-id" || name === "mark") && value === 0) || (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(entry).filter((member) => !isPlain(member)));
}
