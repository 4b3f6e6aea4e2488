// POST, PUT, plain PATCH and DELETE on data (RFC 8040, sections 4.4 to 4.7): each is one edit of the running datastore,
// which is written to the startup file before it is answered.

import { ConfigurationError } from "../config/problem.js";
import type { SchemaNode } from "../config/schema.js";
import type { Edit } from "../config/tree.js";
import { readChild, readTarget } from "./body.js";
import { failure, invalidValue, notFound } from "./errors.js";
import { requireBodyFormat } from "./media.js";
import { dataChildren, parentOf, parseTarget, resourceIdentifier, type Target, targetOf } from "./path.js";
import { checkPreconditions, expectedTag, validatorHeaders } from "./preconditions.js";
import { type EditQuery, editReaders, insertReaders, readQuery } from "./query.js";
import type { Retrieval } from "./retrieve.js";
import { guardSecrets } from "./secret-guard.js";
import type { Answer, DataService, Request } from "./service.js";

export class Editing {
  readonly #service: DataService;
  readonly #retrieval: Retrieval;

  constructor(service: DataService, retrieval: Retrieval) {
    this.#service = service;
    this.#retrieval = retrieval;
  }

  /** @param root path of the datastore that the target lies in, for Location */
  async answer(request: Request, target: Target, root: string): Promise<Answer> {
    const query: EditQuery =
      request.method === "POST" || request.method === "PUT"
        ? readQuery(request.query, insertReaders)
        : readQuery(request.query, editReaders);
    this.checkConditions(request, target);
    switch (request.method) {
      case "POST":
        return this.#post(request, target, query, root);
      case "PUT":
        return this.#put(request, target, query);
      case "PATCH":
        return this.#patch(request, target, query);
      default:
        return this.#delete(request, target, query);
    }
  }

  checkConditions(request: Request, target: Target): void {
    checkPreconditions(request.method, request.headers, this.#service.datastore, () =>
      this.#retrieval.isThere(target),
    );
  }

  /** Carries edits out, or only says what they would change. @returns undefined when they are in force */
  async commit(edits: readonly Edit[], request: Request, query: EditQuery): Promise<Answer | undefined> {
    const { datastore, logger } = this.#service;
    if (!request.client.secrets) guardSecrets(datastore.running, datastore.schema, edits);
    if (query["vita-dry-run"]) {
      const changed = datastore.check(edits);
      return { status: 200, document: { "vita-gateway:dry-run": { changed } } };
    }
    const expect = expectedTag(request.headers, datastore);
    const confirmSeconds = query["vita-confirm"];
    const comment = query["vita-comment"];
    const { number, changed } = await datastore.commit(edits, {
      user: request.client.user,
      ...(comment !== undefined && { comment }),
      ...(confirmSeconds !== undefined && { confirmSeconds }),
      ...(expect !== undefined && { expect }),
    });
    logger.info(`restconf: configuration ${number} by ${request.client.user}: ${changed.length} changes`);
    return undefined;
  }

  async #post(request: Request, target: Target, query: EditQuery, root: string): Promise<Answer> {
    const format = requireBodyFormat(request.headers["content-type"]);
    this.#requireThere(target);
    const { schema } = this.#service.datastore;
    const child = readChild(schema, target, request.body, format);
    const made = targetOf([...target.segments, { node: child.node, keys: child.keys }]);
    if (this.#service.datastore.running.exists(made.path)) {
      throw failure("data-exists", "is there already", { path: made.path });
    }
    const edit: Edit = {
      operation: "add",
      target: target.path,
      value: child.value,
      ...this.#position(query, child.node, target),
    };
    const trial = await this.commit([edit], request, query);
    if (trial) return trial;
    const location = `${root}/${resourceIdentifier(made.segments)}`;
    return { status: 201, headers: { location, ...validatorHeaders(this.#service.datastore) } };
  }

  async #put(request: Request, target: Target, query: EditQuery): Promise<Answer> {
    const format = requireBodyFormat(request.headers["content-type"]);
    if (target.whole) throw needsKeys(target);
    if (target.node) this.#requireThere(parentOf(target));
    const value = readTarget(this.#service.datastore.schema, target, request.body, format);
    const existed = this.#retrieval.isThere(target);
    const edit: Edit = {
      operation: "replace",
      target: target.path,
      value,
      ...(target.node && this.#position(query, target.node, parentOf(target))),
    };
    if (!target.node && query.insert) throw invalidValue('query parameter "insert" is not for a datastore');
    return (await this.commit([edit], request, query)) ?? this.#done(existed ? 204 : 201);
  }

  async #patch(request: Request, target: Target, query: EditQuery): Promise<Answer> {
    const format = requireBodyFormat(request.headers["content-type"]);
    if (target.whole) throw needsKeys(target);
    if (!this.#retrieval.isInUse(target)) throw notFound("there is no such data", target.path);
    const value = readTarget(this.#service.datastore.schema, target, request.body, format);
    const edit: Edit = { operation: "merge", target: target.path, value };
    return (await this.commit([edit], request, query)) ?? this.#done(204);
  }

  async #delete(request: Request, target: Target, query: EditQuery): Promise<Answer> {
    if (target.whole) throw needsKeys(target);
    this.#requireThere(target);
    try {
      const trial = await this.commit([{ operation: "delete", target: target.path }], request, query);
      return trial ?? this.#done(204);
    } catch (error) {
      throw isMissing(error) ? notFound("there is no such data", target.path) : error;
    }
  }

  #done(status: number): Answer {
    return { status, headers: validatorHeaders(this.#service.datastore) };
  }

  #requireThere(target: Target): void {
    if (target.whole) throw needsKeys(target);
    if (!this.#retrieval.isThere(target)) throw notFound("there is no such data", target.path);
  }

  /** `insert` and `point` (RFC 8040, sections 4.8.5 and 4.8.6). */
  #position(query: EditQuery, node: SchemaNode, parent: Target): Pick<Edit, "where" | "point"> {
    const { insert, point } = query;
    const needsPoint = insert === "before" || insert === "after";
    if (needsPoint !== (point !== undefined)) {
      throw invalidValue(
        'query parameter "point" goes with "insert=before" and "insert=after", and they with it',
      );
    }
    if (insert === undefined) return {};
    return {
      where: insert,
      ...(point !== undefined && { point: this.point(point, node, parent) }),
      ...requireOrder(node),
    };
  }

  /** Data path of the entry that something is put beside. */
  point(identifier: string, node: SchemaNode, parent: Target, base?: Target): string {
    const beside = parseTarget(this.#service.datastore.schema, identifier, base);
    if (beside.node !== node || beside.whole || parentOf(beside).path !== parent.path) {
      throw invalidValue(`the point is not another entry of "${node.name}" in the same place`);
    }
    return beside.path;
  }
}

export function requireOrder(node: SchemaNode): Record<string, never> {
  if (node.orderedByUser) return {};
  throw invalidValue(`"${node.name}" is not ordered by the user`);
}

function needsKeys(target: Target) {
  return invalidValue("the path names a list, but not one of its entries", target.path);
}

/** The target itself is missing, not what a leafref elsewhere needs. */
function isMissing(error: unknown): boolean {
  if (!(error instanceof ConfigurationError)) return false;
  return error.problems.every(({ rule, appTag }) => rule === "data-missing" && appTag === undefined);
}

/** Methods that a data resource takes (RFC 8040, section 4). */
export function methodsOf(target: Target): string[] {
  const { node } = target;
  const reads = ["GET", "HEAD", "OPTIONS"];
  if (!node) return [...reads, "POST", "PUT", "PATCH"];
  const key = target.segments.at(-2)?.node.keys.includes(node.name) ?? false;
  if (!node.config || key) return reads;
  const edits = ["PUT", "PATCH", "DELETE"];
  const parent = node.kind === "container" || node.kind === "list";
  return parent && dataChildren(node.children).length > 0
    ? [...reads, "POST", ...edits]
    : [...reads, ...edits];
}
