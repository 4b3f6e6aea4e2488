// YANG Patch (RFC 8072): an ordered list of edits, all of them or none. The answer says for which edit it failed.

import type { Schema } from "../config/schema.js";
import type { Edit, Format } from "../config/tree.js";
import { checkIsTarget, childInJson, childInXml } from "./body.js";
import type { Editing } from "./edit.js";
import { requireOrder } from "./edit.js";
import { errorList } from "./error-document.js";
import { failure, invalidValue, malformed, RestconfError, restconfErrorOf } from "./errors.js";
import { decodeUtf8, isObject, type Json, type JsonObject, parseJsonObject } from "./json.js";
import { bodyFormat, yangPatch } from "./media.js";
import { parentOf, parseTarget, type Target } from "./path.js";
import { validatorHeaders } from "./preconditions.js";
import { editReaders, readQuery } from "./query.js";
import type { Answer, DataService, DataTree, Request } from "./service.js";
import { childOf, parseXml, type XmlElement } from "./xml-read.js";

/** Each is made by itself, while nothing else is done; what is more comes faster as a PUT or a plain PATCH. */
const mostEdits = 1_000;
const operations = ["create", "delete", "insert", "merge", "move", "replace", "remove"] as const;
const places = ["before", "after", "first", "last"] as const;

interface Entry {
  id: string;
  operation: string;
  target: string;
  where: string | undefined;
  point: string | undefined;
  value: Json | XmlElement | undefined;
}

interface Patch {
  id: string;
  entries: Entry[];
}

export function isYangPatch(contentType: string | undefined): boolean {
  return bodyFormat(contentType, yangPatch) !== undefined;
}

export async function yangPatchAnswer(
  service: DataService,
  editing: Editing,
  request: Request,
  target: Target,
): Promise<Answer> {
  const format = bodyFormat(request.headers["content-type"], yangPatch) as Format;
  const query = readQuery(request.query, editReaders);
  editing.checkConditions(request, target);
  const patch = readPatch(decodeUtf8(request.body), format);
  const { datastore } = service;
  const edits: Edit[] = [];
  for (const entry of patch.entries) {
    try {
      edits.push(editOf(datastore.schema, editing, target, entry));
    } catch (error) {
      return failedPatch(patch, failedEdit(entry, error), error);
    }
  }
  try {
    const dry = await editing.commit(edits, request, query);
    if (dry) return dry;
  } catch (error) {
    const failed = firstFailure(datastore.running, edits);
    if (failed)
      return failedPatch(patch, failedEdit(patch.entries[failed.index] as Entry, failed.error), failed.error);
    return failedPatch(patch, { errors: errorList(restconfErrorOf(error).failures) }, error);
  }
  return { status: 200, headers: validatorHeaders(datastore), document: status(patch, { ok: [null] }) };
}

/** The edit that cannot be made after those before it; undefined when only the whole is refused. */
function firstFailure(
  running: DataTree,
  edits: readonly Edit[],
): { index: number; error: unknown } | undefined {
  const trial = running.clone();
  let index = 0;
  try {
    for (const edit of edits) {
      trial.apply(edit);
      index += 1;
    }
    return undefined;
  } catch (error) {
    return { index, error };
  } finally {
    trial.free();
  }
}

function failedEdit({ id }: Entry, error: unknown): JsonObject {
  return { "edit-status": { edit: [{ "edit-id": id, errors: errorList(restconfErrorOf(error).failures) }] } };
}

function status(patch: Patch, outcome: JsonObject): JsonObject {
  return { "ietf-yang-patch:yang-patch-status": { "patch-id": patch.id, ...outcome } };
}

function failedPatch(patch: Patch, outcome: JsonObject, error: unknown): Answer {
  return { status: restconfErrorOf(error).status, document: status(patch, outcome) };
}

function editOf(schema: Pick<Schema, "modules">, editing: Editing, base: Target, entry: Entry): Edit {
  const operation = operations.find((name) => name === entry.operation);
  if (!operation) throw invalidValue(`operation "${entry.operation.slice(0, 64)}" is none of YANG Patch`);
  const target = parseTarget(schema, entry.target, base);
  if (target.whole) throw invalidValue("the target names a list, but not one of its entries", target.path);
  if (target.node && !target.node.config) throw invalidValue("the target is state", target.path);
  const isPlaced = operation === "insert" || operation === "move";
  if (!isPlaced && (entry.where !== undefined || entry.point !== undefined)) {
    throw invalidValue(`"where" and "point" are not for operation "${operation}"`);
  }
  const needsValue = operation !== "delete" && operation !== "remove" && operation !== "move";
  if (needsValue !== (entry.value !== undefined)) {
    throw invalidValue(`operation "${operation}" ${needsValue ? "needs a" : "has no"} value`);
  }
  return {
    operation: operation === "insert" ? "create" : operation,
    target: target.path,
    ...(isPlaced && position(editing, base, target, entry)),
    ...(entry.value !== undefined && { value: editValue(schema, target, entry.value) }),
  };
}

function position(
  editing: Editing,
  base: Target,
  target: Target,
  entry: Entry,
): Pick<Edit, "where" | "point"> {
  const where = entry.where === undefined ? "last" : places.find((place) => place === entry.where);
  if (!where) throw invalidValue(`"where" is none of ${places.join(", ")}`);
  if ((where === "before" || where === "after") !== (entry.point !== undefined)) {
    throw invalidValue('"point" goes with "before" and "after", and they with it');
  }
  if (!target.node) throw invalidValue("a datastore cannot be moved");
  requireOrder(target.node);
  const { node } = target;
  return entry.point === undefined
    ? { where }
    : { where, point: editing.point(entry.point, node, parentOf(target), base) };
}

function editValue(
  schema: Pick<Schema, "modules">,
  target: Target,
  value: Json | XmlElement,
): NonNullable<Edit["value"]> {
  if (!target.node) throw invalidValue("an edit of the whole datastore is a PUT or a plain PATCH");
  const parent = parentOf(target);
  if (isXml(value)) {
    const [child, ...more] = value.children;
    if (!child || more.length > 0) throw malformed("the value does not hold exactly one data node");
    const body = childInXml(schema, parent, child);
    checkIsTarget(target, body);
    return body.value;
  }
  if (!isObject(value)) throw malformed("the value is not an object");
  const body = childInJson(schema, parent, value);
  checkIsTarget(target, body);
  return body.value;
}

function isXml(value: Json | XmlElement): value is XmlElement {
  return (
    isObject(value as Json) &&
    Array.isArray((value as XmlElement).children) &&
    "namespace" in (value as object)
  );
}

function readPatch(text: string, format: Format): Patch {
  const patch = format === "json" ? patchInJson(parseJsonObject(text)) : patchInXml(parseXml(text));
  const ids = new Set<string>();
  for (const { id } of patch.entries) {
    if (ids.has(id)) throw invalidValue(`edit-id "${id.slice(0, 64)}" comes twice`);
    ids.add(id);
  }
  if (patch.entries.length > mostEdits) throw failure("too-big", `a patch has at most ${mostEdits} edits`);
  return patch;
}

function patchInJson(document: JsonObject): Patch {
  const patch = document["ietf-yang-patch:yang-patch"];
  if (!isObject(patch)) throw malformed('the body is not {"ietf-yang-patch:yang-patch": {…}}');
  const list = patch["edit"] ?? [];
  if (!Array.isArray(list)) throw malformed('"edit" is not an array');
  const entries = list.map((edit): Entry => {
    if (!isObject(edit)) throw malformed("an edit is not an object");
    const text = (name: string) => (typeof edit[name] === "string" ? edit[name] : undefined);
    return {
      id: text("edit-id") ?? missing("edit-id"),
      operation: text("operation") ?? missing("operation"),
      target: text("target") ?? missing("target"),
      where: text("where"),
      point: text("point"),
      value: edit["value"],
    };
  });
  const id = patch["patch-id"];
  return { id: typeof id === "string" ? id : missing("patch-id"), entries };
}

function patchInXml(root: XmlElement): Patch {
  if (root.name !== "yang-patch" || root.namespace !== "urn:ietf:params:xml:ns:yang:ietf-yang-patch") {
    throw malformed("the body is not <yang-patch> of RFC 8072");
  }
  const entries = root.children
    .filter(({ name }) => name === "edit")
    .map((edit): Entry => {
      const text = (name: string) => childOf(edit, name)?.text.trim();
      return {
        id: text("edit-id") ?? missing("edit-id"),
        operation: text("operation") ?? missing("operation"),
        target: text("target") ?? missing("target"),
        where: text("where"),
        point: text("point"),
        value: childOf(edit, "value"),
      };
    });
  return { id: childOf(root, "patch-id")?.text.trim() ?? missing("patch-id"), entries };
}

function missing(name: string): never {
  throw new RestconfError(400, [
    { type: "protocol", tag: "missing-element", message: `the patch is without "${name}"` },
  ]);
}
