// The input of an rpc, checked by libyang against the model, with defaults filled in.

import {
  LY_SUCCESS,
  LYD_JSON,
  LYD_PRINT_SHRINK,
  LYD_PRINT_WD_ALL,
  LYD_XML,
  libyang,
  textAt,
} from "../native/libyang.js";
import { LYD_TYPE_RPC_YANG, libyangOperations } from "../native/libyang-operations.js";
import { ConfigurationError, type Problem, valueText } from "./problem.js";
import type { Schema, SchemaNode } from "./schema.js";
import type { Format } from "./tree.js";
import { valueProblem } from "./wording.js";
import { takeErrors, type YangError } from "./yang-errors.js";

type Input = Record<string, unknown>;

/**
 * @param text the rpc as one document: `{"vita-gateway:rollback": {"number": 3}}`, or the same in XML
 * @returns its input in RFC 7951's form, without the names of modules
 * @throws ConfigurationError
 */
export function checkedInput<T = Input>(schema: Schema, rpc: SchemaNode, text: string, format: Format): T {
  const yang = libyang();
  const operations = libyangOperations();
  const copy = yang.strdup(text);
  const input: [number] = [0];
  const tree: [number] = [0];
  const operation: [number] = [0];
  try {
    if (yang.ly_in_new_memory(copy, input) !== LY_SUCCESS) throw new Error("libyang cannot read from memory");
    const form = format === "json" ? LYD_JSON : LYD_XML;
    const parsed = operations.lyd_parse_op(
      schema.context,
      0,
      input[0],
      form,
      LYD_TYPE_RPC_YANG,
      tree,
      operation,
    );
    if (parsed !== LY_SUCCESS) throw problems(schema, rpc, text, format);
    if (operations.lyd_validate_op(tree[0], 0, LYD_TYPE_RPC_YANG, null) !== LY_SUCCESS) {
      throw problems(schema, rpc, text, format);
    }
    return inputOf(rpc, printed(tree[0])) as T;
  } finally {
    if (tree[0] !== 0) yang.lyd_free_siblings(tree[0]);
    if (input[0] !== 0) yang.ly_in_free(input[0], 0);
    yang.free(copy);
  }
}

function printed(tree: number): string {
  const yang = libyang();
  const text: [number] = [0];
  if (yang.lyd_print_mem(text, tree, LYD_JSON, LYD_PRINT_SHRINK | LYD_PRINT_WD_ALL) !== LY_SUCCESS) {
    throw new Error("libyang cannot print an rpc");
  }
  try {
    return textAt(text[0]) ?? "{}";
  } finally {
    yang.free(text[0]);
  }
}

function inputOf(rpc: SchemaNode, text: string): Input {
  const document = (text === "" ? {} : JSON.parse(text)) as Record<string, Input>;
  return document[`${rpc.module}:${rpc.name}`] ?? {};
}

function problems(schema: Schema, rpc: SchemaNode, text: string, format: Format): ConfigurationError {
  const errors = takeErrors(schema.context);
  return new ConfigurationError(
    rpc.name,
    errors.map((error) => problemOf(rpc, error, text, format)),
  );
}

function problemOf(rpc: SchemaNode, error: YangError, text: string, format: Format): Problem {
  const [, path = `/${rpc.name}`] = /location "\/(?:[\w-]+:)?(.*)"/s.exec(error.path ?? "") ?? [];
  const at = path.startsWith("/") ? path : `/${path}`;
  const unknown = /^Node "(.*?)" not found /.exec(error.message)?.[1];
  if (unknown !== undefined) {
    return { path: `${at}/${unknown}`, rule: "unknown-element", message: "there is no such leaf" };
  }
  if (error.message.startsWith("Mandatory node ")) {
    return { path: at, rule: "missing-element", message: "is missing" };
  }
  const [, name = ""] = /\/[^/]+\/([\w-]+)$/.exec(at) ?? [];
  const leaves = rpc.children.find(({ kind }) => kind === "input")?.children ?? [];
  const type = leaves.find((leaf) => leaf.name === name)?.type;
  const value =
    format === "json" ? Object.values(JSON.parse(text) as Record<string, Input>)[0]?.[name] : undefined;
  if (!type || value === undefined) return { path: at, rule: "invalid-value", message: error.message };
  return { path: at, ...valueProblem(type, value), value: valueText(value) };
}
