// ietf-i2nsf-ikeless as a datastore of its own for the API's resources: a view of the running configuration, whose edits
// become edits of that.

import type { CommitOptions, CommitResult, Datastore } from "../../config/datastore.js";
import type { Edit } from "../../config/edit.js";
import { ConfigurationError } from "../../config/problem.js";
import type { SchemaNode } from "../../config/schema.js";
import { isObject, type Json, type JsonObject } from "../json.js";
import type { DataSource } from "../service.js";
import { complete } from "./complete.js";
import { IkelessDocument } from "./document.js";
import { editsBetween } from "./edits.js";
import type { Ikeless } from "./entries.js";
import { childOf, type IkelessNode, ikelessModule, ikelessRoot } from "./model.js";
import { type SaState, withState } from "./state.js";
import { listsOf } from "./translate.js";
import { type Lists, viewOf } from "./view.js";

/** Others may commit while an edit waits for its turn; it is made anew then, so many times. */
const MOST_TRIES = 5;

const nodes = new Map<string, SchemaNode>();
const index = (node: SchemaNode) => {
  nodes.set(node.path, node);
  node.children.forEach(index);
};
index(ikelessRoot);

export class IkelessSource implements DataSource {
  readonly schema = { modules: [ikelessModule], node: (path: string) => nodes.get(path) };
  readonly #datastore: Datastore;
  readonly #sas: readonly SaState[];

  /** @param sas those of `/gateway-state`, where state is asked for */
  constructor(datastore: Datastore, sas: readonly SaState[] = []) {
    this.#datastore = datastore;
    this.#sas = sas;
  }

  get etag(): string {
    return this.#datastore.etag;
  }

  get lastModified(): Date {
    return this.#datastore.lastModified;
  }

  /** What edits begin with; nobody changes it. */
  get running(): IkelessDocument {
    return documentOf(kept(this.#datastore.configuration, false));
  }

  read(...[path, options]: Parameters<Datastore["read"]>): string | undefined {
    const { configuration } = this.#datastore;
    const view = withState(kept(configuration, true), configuration, this.#sas);
    const found = documentOf(view).at(path ?? "/");
    const node = nodes.get((path ?? "/").replace(/\[(?:[\w.-]+)=(?:'[^']*'|"[^"]*")\]/g, ""));
    if (!found || !node) return undefined;
    const { secrets, defaults } = options;
    const [[name, value]] = Object.entries(found) as [[string, Json]];
    const told = tell(node as IkelessNode, value, { secrets, trim: defaults === "trim" });
    return told === undefined ? undefined : JSON.stringify({ [name]: told });
  }

  /** Content of `ipsec-ikeless` with its state, for what lies in state; without secrets. */
  everything(): JsonObject {
    const text =
      this.read(ikelessRoot.path, { format: "json", defaults: "explicit", secrets: false }) ?? "{}";
    return Object.values(JSON.parse(text) as JsonObject)[0] as JsonObject;
  }

  check(edits: readonly Edit[]): string[] {
    return this.#datastore.check(this.#translated(edits));
  }

  async commit(edits: readonly Edit[], options: CommitOptions): Promise<CommitResult> {
    for (let tries = 1; ; tries++) {
      const expect = options.expect ?? this.etag;
      try {
        return await this.#datastore.commit(this.#translated(edits), { ...options, expect });
      } catch (error) {
        const mayRepeat = options.expect === undefined && isOutrun(error) && tries < MOST_TRIES;
        if (!mayRepeat) throw error;
      }
    }
  }

  #translated(edits: readonly Edit[]): Edit[] {
    const { configuration } = this.#datastore;
    const document = documentOf(viewOf(configuration, false));
    for (const edit of edits) document.apply(edit);
    const lists = listsOf(configuration, complete(document.content) as unknown as Ikeless);
    return editsBetween(configuration, lists);
  }
}

const documentOf = (view: Ikeless) => new IkelessDocument(view as unknown as JsonObject);

/** Views of configurations, as long as these are in force: a controller asks many times, and changes seldom. */
const views = { telling: new WeakMap<Lists, Ikeless>(), silent: new WeakMap<Lists, Ikeless>() };

/**
 * The view of a configuration; nobody changes it.
 * @param algorithms shall policies tell what their SAs use? Edits do without: a client that changes policies need not know.
 */
function kept(lists: Lists, algorithms: boolean): Ikeless {
  const known = algorithms ? views.telling : views.silent;
  let view = known.get(lists);
  if (!view) {
    view = viewOf(lists, algorithms);
    known.set(lists, view);
  }
  return view;
}

function isOutrun(error: unknown): boolean {
  return error instanceof ConfigurationError && error.problems[0]?.rule === "precondition-failed";
}

interface Telling {
  secrets: boolean;
  /** Leave out what is implied. */
  trim: boolean;
}

function tell(node: IkelessNode, value: Json, telling: Telling): Json | undefined {
  if (node.denyAll && !telling.secrets) return undefined;
  if (telling.trim && node.implied !== undefined && node.implied === value) return undefined;
  if (Array.isArray(value)) return value.map((entry) => tell(node, entry, telling) ?? null);
  if (!isObject(value)) return value;
  const told: JsonObject = {};
  for (const [name, content] of Object.entries(value)) {
    const child = childOf(node, name);
    const inner = child && tell(child, content, telling);
    if (inner !== undefined) told[name] = inner;
  }
  return told;
}
