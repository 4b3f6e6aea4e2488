// Operation resources (RFC 8040, sections 3.6 and 4.4.2): the model's rpcs. Those about commits are answered here by the
// datastore, the others by who was handed in.

import { checkedInput } from "../config/rpc-input.js";
import type { SchemaNode } from "../config/schema.js";
import type { Format } from "../config/tree.js";
import { failure, malformed, methodNotAllowed, notFound } from "./errors.js";
import { decodeUtf8, isObject, type Json, type JsonObject, objectOf, parseJsonObject } from "./json.js";
import { requireBodyFormat } from "./media.js";
import { readQuery } from "./query.js";
import type { Answer, Operation, Request, Service } from "./service.js";
import { parseXml, printXml } from "./xml-read.js";

/** As the model has it. */
interface RollbackInput {
  number?: number;
  "confirm-timeout"?: number;
  comment?: string;
}

export class Operations {
  readonly #service: Service;

  constructor(service: Service) {
    this.#service = service;
  }

  /** Every rpc by its qualified name. */
  #rpcs(): Map<string, SchemaNode> {
    const rpcs = this.#service.datastore.schema.modules.flatMap((module) => module.rpcs);
    return new Map(rpcs.map((rpc) => [`${rpc.module}:${rpc.name}`, rpc]));
  }

  list(request: Request): Answer {
    readQuery(request.query, {});
    const entries = [...this.#rpcs().keys()].map((name): [string, Json] => [name, [null]]);
    return { status: 200, document: { "ietf-restconf:operations": objectOf(entries) } };
  }

  /** @throws RestconfError 404 */
  find(path: string): SchemaNode {
    const name = safeDecode(path.replace(/^\//, ""));
    const rpc = this.#rpcs().get(name);
    if (rpc) return rpc;
    throw notFound(`there is no operation "${name.slice(0, 64)}"`);
  }

  async answer(request: Request, rpc: SchemaNode): Promise<Answer> {
    if (request.method !== "POST") throw methodNotAllowed(request.method, "POST, OPTIONS");
    readQuery(request.query, {});
    const work = this.#work(rpc, request);
    if (!work) {
      throw failure("operation-not-supported", `"${rpc.name}" is not supported here`, { status: 501 });
    }
    const output = await work(this.#input(rpc, request));
    if (output === undefined || Object.keys(output).length === 0) return { status: 204 };
    return { status: 200, document: { [`${rpc.module}:output`]: output as JsonObject } };
  }

  #input(rpc: SchemaNode, request: Request): JsonObject {
    const { schema } = this.#service.datastore;
    if (request.body.length === 0)
      return checkedInput(schema, rpc, `{"${rpc.module}:${rpc.name}":{}}`, "json");
    const format: Format = requireBodyFormat(request.headers["content-type"]);
    const text = decodeUtf8(request.body);
    return checkedInput(schema, rpc, format === "json" ? inJson(rpc, text) : this.#inXml(rpc, text), format);
  }

  #inXml(rpc: SchemaNode, text: string): string {
    const root = parseXml(text);
    const namespace = this.#service.datastore.schema.modules.find(
      ({ name }) => name === rpc.module,
    )?.namespace;
    if (root.name !== "input" || root.namespace !== namespace) {
      throw malformed(`the body is not <input xmlns="${namespace}">`);
    }
    return printXml({ ...root, name: rpc.name });
  }

  #work(rpc: SchemaNode, request: Request): Operation | undefined {
    const { datastore, operations } = this.#service;
    const { user } = request.client;
    switch (rpc.name) {
      case "confirm-commit":
        return async () => datastore.confirm(user);
      case "cancel-commit":
        return () => datastore.cancel(user);
      case "rollback":
        return async (input) => {
          const { number, "confirm-timeout": confirmSeconds, comment } = input as RollbackInput;
          await datastore.rollback(number, {
            user,
            ...(comment !== undefined && { comment }),
            ...(confirmSeconds !== undefined && { confirmSeconds }),
          });
        };
      default:
        return Object.hasOwn(operations, rpc.name) ? operations[rpc.name] : undefined;
    }
  }
}

function inJson(rpc: SchemaNode, text: string): string {
  const document = parseJsonObject(text);
  const name = `${rpc.module}:input`;
  const input = document[name];
  if (Object.keys(document).length !== 1 || !isObject(input))
    throw malformed(`the body is not {"${name}": {…}}`);
  return JSON.stringify({ [`${rpc.module}:${rpc.name}`]: input });
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw notFound("there is no such operation");
  }
}
