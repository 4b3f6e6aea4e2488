// The model's nodes as JSON Schemas (2020-12, as OpenAPI 3.1 has them) of their form in RFC 7951. A container and a list's
// entry are components with names of their own, so that each is described once.

import type { Schema, SchemaNode, SchemaType } from "../config/schema.js";
import type { JsonObject } from "./json.js";
import { dataChildren } from "./path.js";

/** Name of a node's component: `vita-gateway.connection.child`. */
export function componentName(node: SchemaNode): string {
  return node.path.slice(1).replaceAll(":", ".").replaceAll("/", ".");
}

export function reference(name: string): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

/** Schemas of every container and list entry, by component name. */
export function components(schema: Schema, nodes: readonly SchemaNode[]): Map<string, JsonObject> {
  const found = new Map<string, JsonObject>();
  const visit = (node: SchemaNode): void => {
    if (node.kind === "leaf" || node.kind === "leaf-list") return;
    found.set(componentName(node), objectSchema(schema, node));
    dataChildren(node.children).forEach(visit);
  };
  nodes.forEach(visit);
  return found;
}

/** What stands behind a node's name. */
export function valueSchema(schema: Schema, node: SchemaNode): JsonObject {
  switch (node.kind) {
    case "leaf":
      return { ...described(node), ...typeSchema(schema, node.type) };
    case "leaf-list":
      return {
        ...described(node),
        type: "array",
        items: typeSchema(schema, node.type),
        ...elements(node),
        ...(node.config && { uniqueItems: true }),
      };
    case "list":
      return { ...described(node), type: "array", items: reference(componentName(node)), ...elements(node) };
    default:
      return reference(componentName(node));
  }
}

function objectSchema(schema: Schema, node: SchemaNode): JsonObject {
  const children = dataChildren(node.children);
  const required = children
    .filter((child) => node.keys.includes(child.name) || (child.mandatory && child.kind === "leaf"))
    .map((child) => child.name);
  return {
    ...described(node),
    type: "object",
    properties: Object.fromEntries(children.map((child) => [child.name, valueSchema(schema, child)])),
    ...(required.length > 0 && node.config && { required }),
    additionalProperties: false,
  };
}

function elements({ minElements, maxElements }: SchemaNode): JsonObject {
  return {
    ...(minElements > 0 && { minItems: minElements }),
    ...(maxElements !== undefined && { maxItems: maxElements }),
  };
}

function described(node: SchemaNode): JsonObject {
  const rules = [
    node.units && `Unit: ${node.units}.`,
    node.reference && `See ${node.reference.replace(/\s+/g, " ")}.`,
    node.when && `Only when ${node.when}.`,
    ...node.must.map(({ condition, message }) => `Must: ${message ?? condition}.`),
    node.unique.length > 0 && `Unique: ${node.unique.join("; ")}.`,
    node.denyAll && "Secret: told only to clients with the right `secrets`.",
  ].filter((rule) => typeof rule === "string" && rule !== "");
  const description = [node.description?.replace(/\s+/g, " ").trim(), ...rules].filter(Boolean).join(" ");
  return {
    ...(description !== "" && { description }),
    ...(!node.config && { readOnly: true }),
    ...(node.default?.[0] !== undefined && { default: defaultOf(node) }),
  };
}

function defaultOf(node: SchemaNode): JsonObject[string] {
  const values = (node.default ?? []).map((text) => jsonValue(node.type, text));
  return node.kind === "leaf" ? (values[0] ?? null) : values;
}

const narrowNumber = /^u?int(8|16|32)$/;

function jsonValue(type: SchemaType | undefined, text: string): string | number | boolean {
  if (type?.base === "boolean") return text === "true";
  const number =
    type && (narrowNumber.test(type.base) || type.union?.some(({ base }) => narrowNumber.test(base)));
  return number && /^-?\d+$/.test(text) ? Number(text) : text;
}

function typeSchema(schema: Schema, type: SchemaType | undefined): JsonObject {
  if (!type) return {};
  if (narrowNumber.test(type.base)) return numberSchema(type);
  switch (type.base) {
    case "boolean":
      return { type: "boolean" };
    case "empty":
      return { type: "array", items: { type: "null" }, minItems: 1, maxItems: 1 };
    case "enumeration": {
      const told = (type.enums ?? []).filter(({ description }) => description);
      const lines = told.map(({ name, description }) => `${name}: ${description?.replace(/\s+/g, " ")}`);
      return {
        type: "string",
        enum: (type.enums ?? []).map(({ name }) => name),
        ...(lines.length > 0 && { "x-enum-descriptions": lines }),
      };
    }
    case "union":
      return { anyOf: (type.union ?? []).map((member) => typeSchema(schema, member)) };
    case "leafref":
      return leafrefSchema(schema, type);
    case "int64":
      return { type: "string", pattern: "^-?[0-9]{1,19}$" };
    case "uint64":
      return { type: "string", pattern: "^[0-9]{1,20}$" };
    default:
      return stringSchema(type);
  }
}

function numberSchema({ base, ranges }: SchemaType): JsonObject {
  const bits = Number(/\d+/.exec(base)?.[0]);
  const all: [number, number] = base.startsWith("u")
    ? [0, 2 ** bits - 1]
    : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  const parts = ranges && ranges.length > 0 ? ranges : [all];
  if (parts.length === 1) {
    const [minimum, maximum] = parts[0] ?? all;
    return { type: "integer", minimum, maximum };
  }
  return { type: "integer", anyOf: parts.map(([minimum, maximum]) => ({ minimum, maximum })) };
}

function stringSchema({ lengths, patterns }: SchemaType): JsonObject {
  const rules = (patterns ?? []).map(({ pattern, inverted }): JsonObject => {
    const anchored = { pattern: `^(?:${pattern})$` };
    return inverted ? { not: anchored } : anchored;
  });
  const [range] = lengths ?? [];
  return {
    type: "string",
    ...(lengths?.length === 1 && range && { minLength: range[0], maxLength: range[1] }),
    ...(rules.length === 1 ? rules[0] : rules.length > 1 ? { allOf: rules } : {}),
  };
}

/** `/vita:route/vita:id`: the type of the leaf that it leads to, if the path is that plain. */
function leafrefSchema(schema: Schema, { path }: SchemaType): JsonObject {
  const names = path?.split("/").slice(1) ?? [];
  const module = schema.modules.find(({ prefix }) => prefix === names[0]?.split(":")[0]);
  const plain = names.map((name) => name.replace(/^[^:]*:/, ""));
  const leaf = module && schema.node(`/${module.name}:${plain.join("/")}`);
  return leaf?.type && leaf.type.base !== "leafref" ? typeSchema(schema, leaf.type) : { type: "string" };
}
