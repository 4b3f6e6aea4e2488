// What libyang tells of the model itself: the YANG library (RFC 8525), and the modules' texts.

import { LYD_JSON, LYD_PRINT_SHRINK, LYD_PRINT_WITHSIBLINGS, libyang, textAt } from "../native/libyang.js";
import { LYS_OUT_YANG, libyangOperations } from "../native/libyang-operations.js";
import type { Schema, SchemaModule } from "./schema.js";

export function modulesOf(schema: Schema): readonly SchemaModule[] {
  return schema.modules;
}

/**
 * ietf-yang-library's data in JSON, with both of its top-level nodes.
 * @param contentId changes whenever the modules do; hexadecimal digits
 */
export function yangLibrary(schema: Schema, contentId: string): string {
  const yang = libyang();
  const tree: [number] = [0];
  const failed = libyangOperations().ly_ctx_get_yanglib_data(schema.context, tree, contentId);
  if (failed) throw new Error(`libyang cannot tell its modules (error ${failed})`);
  try {
    return printed((text) =>
      yang.lyd_print_mem(text, tree[0], LYD_JSON, LYD_PRINT_WITHSIBLINGS | LYD_PRINT_SHRINK),
    );
  } finally {
    yang.lyd_free_siblings(tree[0]);
  }
}

/** A module's text; undefined when the model has no such module. */
export function moduleText(schema: Schema, name: string, revision: string | undefined): string | undefined {
  const operations = libyangOperations();
  const module = operations.ly_ctx_get_module(schema.context, name, revision ?? null);
  if (module === 0) return undefined;
  return printed((text) => operations.lys_print_mem(text, module, LYS_OUT_YANG, 0));
}

function printed(print: (text: [number]) => number): string {
  const text: [number] = [0];
  const failed = print(text);
  if (failed) throw new Error(`libyang cannot print (error ${failed})`);
  try {
    return textAt(text[0]) ?? "";
  } finally {
    libyang().free(text[0]);
  }
}
