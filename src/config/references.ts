// Which entries of long lists refer to which others: leafrefs to keys of lists at the top.

import { isTable } from "./parse.js";
import type { Schema, SchemaNode } from "./schema.js";

export interface Reference {
  /** The list whose entries refer, and the leaf or leaf-list with which they do. */
  readonly list: string;
  readonly leaf: string;
  /** Of that leaf: `/vita-gateway:inbound-sa/route`. */
  readonly path: string;
  /** The list that is referred to, and its key. */
  readonly target: string;
  readonly key: string;
}

const known = new WeakMap<Schema, Reference[]>();

export function referencesOf(schema: Schema): readonly Reference[] {
  let references = known.get(schema);
  if (!references) {
    references = [...schema.top.values()]
      .filter(isTable)
      .flatMap((list) => list.children.flatMap(asReference));
    known.set(schema, references);
  }
  return references;
}

function asReference(node: SchemaNode): Reference[] {
  const match = /^\/(?:[\w-]+:)?([\w-]+)\/(?:[\w-]+:)?([\w-]+)$/.exec(node.type?.path ?? "");
  return match && node.parent
    ? [{ list: node.parent.name, leaf: node.name, path: node.path, target: match[1], key: match[2] }]
    : [];
}
