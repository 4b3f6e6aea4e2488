// libyang's functions for operations and for what a context tells of itself; see libyang.ts, whose conventions hold here.

import koffi from "koffi";
import type { Address } from "./libyang.js";

export const LYD_TYPE_RPC_YANG = 1;
export const LYS_OUT_YANG = 1;

type Out = [Address];

interface OperationLibrary {
  lyd_parse_op(
    context: Address,
    parent: Address,
    input: Address,
    format: number,
    type: number,
    tree: Out,
    operation: Out,
  ): number;
  lyd_validate_op(operation: Address, dependencies: Address, type: number, diff: null): number;
  ly_ctx_get_yanglib_data(context: Address, tree: Out, contentId: string): number;
  ly_ctx_get_module(context: Address, name: string, revision: string | null): Address;
  lys_print_mem(text: Out, module: Address, format: number, options: number): number;
}

const declarations: Record<keyof OperationLibrary, string> = {
  lyd_parse_op:
    "int lyd_parse_op(uintptr_t context, uintptr_t parent, uintptr_t input, int format, int type, _Out_ uintptr_t *tree, _Out_ uintptr_t *operation)",
  lyd_validate_op: "int lyd_validate_op(uintptr_t operation, uintptr_t dependencies, int type, void *diff)",
  // The text is a format for printf, which must have no % in it.
  ly_ctx_get_yanglib_data:
    "int ly_ctx_get_yanglib_data(uintptr_t context, _Out_ uintptr_t *tree, const char *contentId, ...)",
  ly_ctx_get_module: "uintptr_t ly_ctx_get_module(uintptr_t context, const char *name, const char *revision)",
  lys_print_mem: "int lys_print_mem(_Out_ uintptr_t *text, uintptr_t module, int format, uint32_t options)",
};

let library: OperationLibrary | undefined;

/** @throws Error when libyang is not installed */
export function libyangOperations(): OperationLibrary {
  if (!library) {
    const yang = koffi.load("libyang.so.2");
    const functions = Object.entries(declarations).map(([name, text]) => [name, yang.func(text)]);
    library = Object.fromEntries(functions) as OperationLibrary;
  }
  return library;
}
