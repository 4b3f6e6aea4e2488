// The API as an OpenAPI 3.1 description, made from the model: every data resource and operation of vita-gateway.

import { MODULE_NAME, type Schema, type SchemaNode } from "../config/schema.js";
import type { JsonObject } from "./json.js";
import { yangData } from "./media.js";
import { componentName, components, reference, valueSchema } from "./openapi-schemas.js";
import { dataChildren } from "./path.js";

const made = new WeakMap<Schema, JsonObject>();

export function openApi(schema: Schema): JsonObject {
  const known = made.get(schema);
  if (known) return known;
  const module = schema.modules.find(({ name }) => name === MODULE_NAME);
  const nodes = dataChildren(module?.data ?? []);
  const rpcs = module?.rpcs ?? [];
  const paths: JsonObject = {};
  for (const node of nodes) addNode(schema, paths, "/restconf/data", [], node, true);
  for (const rpc of rpcs) paths[`/restconf/operations/${MODULE_NAME}:${rpc.name}`] = operation(rpc);
  paths["/restconf/data"] = datastorePath();
  paths["/restconf/streams/NETCONF/json"] = stream;
  const inputs = rpcs.flatMap((rpc) =>
    rpc.children.filter(({ kind }) => kind === "input" || kind === "output"),
  );
  const document: JsonObject = {
    openapi: "3.1.0",
    info: {
      title: "Vita",
      version: module?.revision ?? "0",
      description: "RESTCONF (RFC 8040) of a Vita node; see docs/restconf.md.",
    },
    paths,
    components: {
      schemas: {
        ...Object.fromEntries(components(schema, [...nodes, ...inputs])),
        datastore: datastoreSchema(schema, nodes),
        errors: errorsSchema,
      },
      parameters,
      responses: {
        error: {
          description: "What was wrong.",
          content: { [yangData.json]: { schema: reference("errors") } },
        },
        done: { description: "The change is in force and in the startup file." },
      },
      securitySchemes: { token: { type: "http", scheme: "bearer" }, certificate: { type: "mutualTLS" } },
    },
    security: [{ token: [] }, { certificate: [] }],
  };
  made.set(schema, document);
  return document;
}

const text = (name: string, description: string, schema: JsonObject = { type: "string" }): JsonObject => ({
  name,
  in: "query",
  description,
  schema,
});

const parameters: JsonObject = {
  content: text("content", "What of the resource.", { enum: ["all", "config", "nonconfig"] }),
  depth: text("depth", "Levels; the resource itself is level 1.", {
    anyOf: [{ type: "integer", minimum: 1, maximum: 65535 }, { const: "unbounded" }],
  }),
  fields: text("fields", "Descendants: `id;gateway(ip)`."),
  "with-defaults": text("with-defaults", "Leaves that are not set.", {
    enum: ["report-all", "trim", "explicit"],
  }),
  insert: text("insert", "Place in a list that is ordered by the user.", {
    enum: ["first", "last", "before", "after"],
  }),
  point: text("point", "The entry beside which it is put, as a path of its own."),
  "vita-dry-run": text("vita-dry-run", "Only say what would change.", { enum: ["", "true"] }),
  "vita-confirm": text("vita-confirm", "Seconds after which the change is undone unless it is confirmed.", {
    type: "integer",
    minimum: 1,
    maximum: 86400,
  }),
  "vita-comment": text("vita-comment", "Stands in the history.", { type: "string", maxLength: 256 }),
};

function refs(...names: string[]): JsonObject[] {
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }));
}

const reading = refs("content", "depth", "fields", "with-defaults");
const editing = refs("vita-dry-run", "vita-confirm", "vita-comment");
const placing = [...editing, ...refs("insert", "point")];
const failed = { default: { $ref: "#/components/responses/error" } };

function body(schema: JsonObject): JsonObject {
  return { required: true, content: { [yangData.json]: { schema } } };
}

function answered(schema: JsonObject): JsonObject {
  return { "200": { description: "What it holds.", content: { [yangData.json]: { schema } } }, ...failed };
}

function wrapped(name: string, schema: JsonObject): JsonObject {
  return { type: "object", properties: { [name]: schema }, required: [name], additionalProperties: false };
}

/** Paths of a node and of everything below it. */
function addNode(
  schema: Schema,
  paths: JsonObject,
  above: string,
  keysAbove: JsonObject[],
  node: SchemaNode,
  top: boolean,
): void {
  const qualified = `${node.module}:${node.name}`;
  const url = `${above}/${top ? qualified : node.name}`;
  const document = wrapped(qualified, valueSchema(schema, node));
  const many = node.kind === "list" || node.kind === "leaf-list";
  const keys = node.kind === "list" ? node.keys : node.kind === "leaf-list" ? [node.name] : [];
  const names = keys.map((key) => (node.kind === "list" ? `${node.name}-${key}` : key));
  const unique = names.map((name) => (above.includes(`{${name}}`) ? `${name}-2` : name));
  const own = keys.map(
    (_key, i): JsonObject => ({
      name: unique[i] ?? "",
      in: "path",
      required: true,
      schema: { type: "string" },
    }),
  );
  const parents = keysAbove.length > 0 ? { parameters: keysAbove } : {};
  if (many) paths[url] = { ...parents, get: { parameters: reading, responses: answered(document) } };
  if (many && keys.length === 0) return;
  const entryUrl = many ? `${url}=${unique.map((name) => `{${name}}`).join(",")}` : url;
  const all = [...keysAbove, ...own];
  paths[entryUrl] = {
    ...(all.length > 0 && { parameters: all }),
    get: { parameters: reading, responses: answered(document) },
    ...(node.config && !isKey(node) && edits(schema, node, document)),
  };
  for (const child of dataChildren(node.children)) addNode(schema, paths, entryUrl, all, child, false);
}

function isKey(node: SchemaNode): boolean {
  return node.parent?.keys.includes(node.name) ?? false;
}

function edits(schema: Schema, node: SchemaNode, document: JsonObject): JsonObject {
  const done = { "204": { $ref: "#/components/responses/done" }, ...failed };
  const created = { "201": { $ref: "#/components/responses/done" }, ...failed };
  const children = dataChildren(node.children).filter((child) => child.config && !isKey(child));
  const child = children.map((each) => wrapped(`${each.module}:${each.name}`, valueSchema(schema, each)));
  return {
    put: { parameters: placing, requestBody: body(document), responses: { ...created, ...done } },
    patch: {
      parameters: editing,
      requestBody: body({ type: "object", description: "As for PUT, with what changes alone." }),
      responses: done,
    },
    delete: { parameters: editing, responses: done },
    ...(child.length > 0 && {
      post: { parameters: placing, requestBody: body({ anyOf: child }), responses: created },
    }),
  };
}

function operation(rpc: SchemaNode): JsonObject {
  const input = rpc.children.find(({ kind }) => kind === "input");
  const takes = input !== undefined && dataChildren(input.children).length > 0;
  const needed = dataChildren(input?.children ?? []).some(({ mandatory }) => mandatory);
  const schema = wrapped(`${rpc.module}:input`, reference(input ? componentName(input) : ""));
  return {
    post: {
      description: rpc.description?.replace(/\s+/g, " ") ?? "",
      ...(takes && { requestBody: { ...body(schema), required: needed } }),
      responses: { "204": { description: "Done." }, ...failed },
    },
  };
}

function datastorePath(): JsonObject {
  const whole = reference("datastore");
  return {
    get: { parameters: reading, responses: answered(whole) },
    put: {
      parameters: editing,
      requestBody: body(whole),
      responses: { "204": { $ref: "#/components/responses/done" }, ...failed },
    },
    patch: {
      parameters: editing,
      requestBody: body({ type: "object" }),
      responses: { "204": { $ref: "#/components/responses/done" }, ...failed },
    },
    post: {
      parameters: placing,
      requestBody: body({ type: "object" }),
      responses: { "201": { $ref: "#/components/responses/done" }, ...failed },
    },
  };
}

function datastoreSchema(schema: Schema, nodes: readonly SchemaNode[]): JsonObject {
  const members = nodes.map((node) => [`${node.module}:${node.name}`, valueSchema(schema, node)] as const);
  return wrapped("ietf-restconf:data", { type: "object", properties: Object.fromEntries(members) });
}

const stream: JsonObject = {
  get: {
    description: "Notifications as server-sent events (RFC 8040, section 6).",
    responses: { "200": { description: "Events.", content: { "text/event-stream": {} } }, ...failed },
  },
};

const errorsSchema: JsonObject = wrapped("ietf-restconf:errors", {
  type: "object",
  properties: {
    error: {
      type: "array",
      items: {
        type: "object",
        required: ["error-type", "error-tag"],
        properties: {
          "error-type": { enum: ["transport", "rpc", "protocol", "application"] },
          "error-tag": { type: "string" },
          "error-app-tag": { type: "string" },
          "error-path": { type: "string" },
          "error-message": { type: "string" },
        },
      },
    },
  },
});
