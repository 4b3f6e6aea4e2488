// GET and HEAD: configuration from the running datastore and state from those who know it, seen as one tree (RFC 8040,
// section 3.4), cut to what was asked for.
//
// The model has its state at the top (`gateway-state`, the YANG library, what RESTCONF tells of itself), never below
// configuration: a target lies in the one or in the other, and only the datastore itself has both.

import type { SchemaNode } from "../config/schema.js";
import type { Format } from "../config/tree.js";
import { accessDenied, invalidValue, notFound } from "./errors.js";
import { isObject, type Json, type JsonObject } from "./json.js";
import { parentOf, type Segment, type Target } from "./path.js";
import { checkPreconditions, validatorHeaders } from "./preconditions.js";
import { parseFields, prune, pruneChildren } from "./prune.js";
import { type GetQuery, getReaders, readQuery } from "./query.js";
import type { Answer, Client, DataService, Request } from "./service.js";

/** Content of the top-level state nodes, by qualified name. */
export type StateSources = ReadonlyMap<string, () => JsonObject | Promise<JsonObject>>;

/** "unified" is RFC 8040's datastore with configuration and state, the others are RFC 8527's. */
export type View = "unified" | "running" | "operational";

export class Retrieval {
  readonly #service: DataService;
  readonly #state: StateSources;

  constructor(service: DataService, state: StateSources) {
    this.#service = service;
    this.#state = state;
  }

  async answer(request: Request, target: Target, view: View, format: Format): Promise<Answer> {
    const query = this.#query(request, view);
    const datastore = this.#service.datastore;
    const isConfiguration = target.node?.config ?? true;
    const headers: Record<string, string> = {
      "cache-control": request.client.secrets ? "no-store" : "no-cache",
    };
    if (isConfiguration) Object.assign(headers, validatorHeaders(datastore));
    const hasState = !isConfiguration || (target.node === undefined && query.content !== "config");
    const state = isConfiguration
      ? checkPreconditions(request.method, request.headers, datastore, () => this.isThere(target))
      : "go on";
    // The entity-tag is the configuration's: it does not say whether state has changed.
    if (state === "not modified" && !hasState) return { status: 304, headers };
    const document = await this.#document(target, query, request.client, view);
    if (!document) throw notFound("there is no such data", target.path);
    if (format === "xml") checkOneRoot(document, target);
    return { status: 200, headers, document, format };
  }

  /** Is the configuration node there? A container without presence is, wherever its parent is. */
  isThere(target: Target): boolean {
    if (!target.node) return true;
    if (target.node.kind === "container" && !target.node.presence) return this.isThere(parentOf(target));
    return this.#service.datastore.running.exists(target.path);
  }

  /** The same for what is in use: a leaf that has its default is there. */
  isInUse(target: Target): boolean {
    const hasDefault = target.node?.kind === "leaf" && target.node.default !== undefined;
    return this.isThere(target) || (hasDefault && this.isThere(parentOf(target)));
  }

  #query(request: Request, view: View): GetQuery {
    const query = readQuery(request.query, getReaders);
    if (view !== "unified" && query.content !== undefined) {
      throw invalidValue('query parameter "content" is not for a datastore of RFC 8527');
    }
    if (view === "running") return { ...query, content: "config" };
    // RFC 8527, section 3.2.2: what is in use has its defaults, unless the client wants it otherwise.
    return view === "operational" ? { "with-defaults": "report-all", ...query } : query;
  }

  async #document(
    target: Target,
    query: GetQuery,
    client: Client,
    view: View,
  ): Promise<JsonObject | undefined> {
    const { node } = target;
    if (node?.denyAll && !client.secrets)
      throw accessDenied("secrets are read with the right `secrets` alone");
    if (view === "running" && node && !node.config) return undefined;
    const content = query.content ?? "all";
    const children =
      node?.children ?? this.#service.datastore.schema.modules.flatMap((module) => module.data);
    const fields = query.fields === undefined ? undefined : parseFields(query.fields, children);
    const cut = { content, depth: query.depth ?? Number.POSITIVE_INFINITY, fields };
    if (!node) {
      const data = await this.#everything(content, query, client);
      return { "ietf-restconf:data": pruneChildren(children, [], data, cut) };
    }
    const whole = node.config
      ? this.#configuration(target, query, client)
      : await this.#stateAt(target.segments);
    const name = `${node.module}:${node.name}`;
    const left = whole?.[name] === undefined ? undefined : prune(node, whole[name], cut);
    return left === undefined ? undefined : { [name]: left };
  }

  async #everything(content: string, query: GetQuery, client: Client): Promise<JsonObject> {
    const data: JsonObject = {};
    if (content !== "nonconfig") Object.assign(data, this.#print(undefined, query, client));
    if (content === "config") return data;
    for (const [name, source] of this.#state) data[name] = await source();
    return data;
  }

  #configuration(target: Target, query: GetQuery, client: Client): JsonObject | undefined {
    const node = target.node as SchemaNode;
    const document = this.#print(target.path, query, client);
    if (document && Object.keys(document).length > 0) return document;
    // RFC 8040, section 3.5.4: a leaf that is not set has its default, whatever the basic mode is.
    if ((node.kind === "leaf" || node.kind === "leaf-list") && !target.whole) {
      return this.#print(target.path, { ...query, "with-defaults": "report-all" }, client);
    }
    const empty = node.kind === "container" && this.isThere(target);
    return empty ? { [`${node.module}:${node.name}`]: {} } : undefined;
  }

  #print(path: string | undefined, query: GetQuery, client: Client): JsonObject | undefined {
    const mode = query["with-defaults"] ?? "explicit";
    const text = this.#service.datastore.read(path, {
      format: "json",
      defaults: mode === "report-all" ? "all" : mode,
      secrets: client.secrets,
    });
    return text === undefined ? undefined : (JSON.parse(text) as JsonObject);
  }

  async #stateAt(segments: readonly Segment[]): Promise<JsonObject | undefined> {
    const top = segments[0]?.node as SchemaNode;
    const name = `${top.module}:${top.name}`;
    const source = this.#state.get(name);
    return source ? walk({ [name]: await source() }, segments) : undefined;
  }
}

/** The node that the segments lead to, as a document of its own. */
function walk(document: JsonObject, segments: readonly Segment[]): JsonObject | undefined {
  let at: Json | undefined = document;
  for (const { node, keys } of segments) {
    if (Array.isArray(at)) at = at[0];
    if (!isObject(at)) return undefined;
    const value: Json | undefined = at[node.name] ?? at[`${node.module}:${node.name}`];
    at = keys.length > 0 && Array.isArray(value) ? entryOf(value, node, keys) : value;
    if (at === undefined) return undefined;
  }
  const last = segments.at(-1)?.node as SchemaNode;
  return { [`${last.module}:${last.name}`]: at };
}

function entryOf(list: Json[], node: SchemaNode, keys: readonly string[]): Json[] | undefined {
  const found = list.find((entry) =>
    node.kind === "leaf-list"
      ? String(entry) === keys[0]
      : isObject(entry) && node.keys.every((key, i) => String(entry[key]) === keys[i]),
  );
  return found === undefined ? undefined : [found];
}

/** RFC 8040, section 4.3: XML has one root, and so no form for several entries. */
function checkOneRoot(document: JsonObject, target: Target): void {
  const [value] = Object.values(document);
  if (Array.isArray(value) && value.length !== 1 && target.node?.kind !== "leaf") {
    throw invalidValue(
      `there are ${value.length} entries, which XML cannot hold without a root: ask for JSON`,
    );
  }
}
