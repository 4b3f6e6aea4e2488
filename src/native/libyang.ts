// libyang, as far as Vita calls it: Debian's libyang2 (2.1.30). Thin and typed: no policy, no state. Addresses are numbers,
// 0 where C has NULL. A function that C has return an LY_ERR returns that here.
//
// libyang's headers have inline functions and structures that are read directly; the offsets below are those of the
// installed header, and a test compares them. `Schema.load` compares what it reads by them with what libyang prints, so
// that another libyang 2.x whose structures differ is noticed at run time too.

import koffi from "koffi";
import { window } from "./libc.js";

export type Address = number;

export const LY_SUCCESS = 0;

export const LYD_XML = 1;
export const LYD_JSON = 2;

export const LY_CTX_DISABLE_SEARCHDIR_CWD = 0x10;
/** `lysc_node.priv` is the parsed node that the compiled one was made from. */
export const LY_CTX_SET_PRIV_PARSED = 0x40;

export const LY_LOSTORE = 0x02;

export const LYD_PARSE_ONLY = 0x01_0000;
export const LYD_PARSE_STRICT = 0x02_0000;
export const LYD_PARSE_NO_STATE = 0x08_0000;
export const LYD_VALIDATE_NO_STATE = 0x0001;
export const LYD_PRINT_WITHSIBLINGS = 0x01;
export const LYD_PRINT_SHRINK = 0x02;
export const LYD_PRINT_KEEPEMPTYCONT = 0x04;
export const LYD_PRINT_WD_TRIM = 0x10;
export const LYD_PRINT_WD_ALL = 0x20;
export const LYD_DUP_RECURSIVE = 0x01;
export const LYD_DUP_WITH_FLAGS = 0x08;
export const LYD_DEFAULT = 0x01;
export const LYD_PATH_STD = 0;
export const LYSC_PATH_LOG = 0;

/** Kinds of schema nodes. */
export const LYS = {
  container: 0x0001,
  choice: 0x0002,
  leaf: 0x0004,
  leafList: 0x0008,
  list: 0x0010,
  anydata: 0x0060,
  case: 0x0080,
  rpc: 0x0100,
  action: 0x0200,
  notification: 0x0400,
  input: 0x1000,
  output: 0x2000,
} as const;

/** `lysc_node.flags`. */
export const LYS_CONFIG_W = 0x01;
export const LYS_MAND_TRUE = 0x20;
export const LYS_ORDBY_USER = 0x40;
export const LYS_PRESENCE = 0x80;
export const LYS_KEY = 0x0100;

/** `lysc_type.basetype`, in the order of LY_DATA_TYPE. */
export const BASE_TYPES = [
  "unknown",
  "binary",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "string",
  "bits",
  "boolean",
  "decimal64",
  "empty",
  "enumeration",
  "identityref",
  "instance-identifier",
  "leafref",
  "union",
  "int8",
  "int16",
  "int32",
  "int64",
] as const;

export type BaseType = (typeof BASE_TYPES)[number];

/** struct lys_module. */
export const MODULE = {
  name: 8,
  revision: 16,
  ns: 24,
  prefix: 32,
  dsc: 64,
  compiled: 88,
  implemented: 120,
  size: 128,
};
/** struct lysc_module. */
export const COMPILED = { data: 8, rpcs: 16, notifs: 24, size: 40 };
/** struct lysc_node, what all kinds have, and behind it what some have. */
export const NODE = {
  nodetype: 0,
  flags: 2,
  module: 8,
  parent: 16,
  next: 24,
  name: 40,
  dsc: 48,
  ref: 56,
  exts: 64,
  priv: 72,
  size: 80,
  leafType: 96,
  leafUnits: 104,
  leafDefault: 112,
  leafSize: 120,
  leafListDefaults: 112,
  leafListMin: 120,
  leafListMax: 124,
  leafListSize: 128,
  listUniques: 120,
  listMin: 128,
  listMax: 132,
  listSize: 136,
  actionInput: 88,
  inOutSize: 96,
};
/** struct lysc_ext_instance and struct lysc_ext. */
export const EXTENSION = { def: 0, instanceSize: 72, name: 0, module: 32, size: 48 };
/** struct lysc_type and its kinds; lengths stand where numbers have their range. */
export const TYPE = {
  basetype: 16,
  range: 24,
  patterns: 32,
  enums: 24,
  unionTypes: 24,
  leafrefPath: 24,
  size: 24,
  numSize: 32,
  strSize: 40,
};
/** struct lysc_range, one of its parts, struct lysc_pattern. */
export const RANGE = { parts: 0, emsg: 24, size: 48, partSize: 16 };
export const PATTERN = { expr: 0, emsg: 32, inverted: 56, size: 64 };
/** struct lysc_type_bitenum_item. */
export const ENUM = { name: 0, dsc: 8, size: 40 };
/** struct lysc_must and struct lysc_when. */
export const MUST = { cond: 0, emsg: 32, size: 56 };
export const WHEN = { cond: 0, size: 56 };
/** struct lysp_node_leaf and struct lysp_node_leaflist: their types' names. */
export const PARSED = { leafTypeName: 80, leafSize: 208 };
/** struct lyd_node, and the value in struct lyd_node_term. */
export const DATA = {
  flags: 4,
  schema: 8,
  parent: 16,
  next: 24,
  prev: 32,
  meta: 40,
  size: 56,
  child: 56,
  value: 56,
};
/** struct lyd_meta. */
export const META = { next: 8, name: 24, value: 32, size: 72 };
/** struct ly_err_item. */
export const ERROR = { level: 0, no: 4, vecode: 8, msg: 16, path: 24, apptag: 32, next: 40, size: 56 };
/** struct ly_set. */
export const SET = { count: 4, objects: 8, size: 16 };

type Out = [Address];

interface Library {
  ly_log_options(options: number): number;
  ly_ctx_new(searchDirectories: string, options: number, context: Out): number;
  ly_ctx_load_module(context: Address, name: string, revision: string | null, features: null): Address;
  ly_ctx_get_module_iter(context: Address, index: [number]): Address;
  ly_err_first(context: Address): Address;
  ly_err_clean(context: Address, from: null): void;
  lysc_path(node: Address, type: number, buffer: null, size: number): string;
  lysc_node_child(node: Address): Address;
  lysc_node_actions(node: Address): Address;
  lysc_node_musts(node: Address): Address;
  lysc_node_when(node: Address): Address;
  lyxp_get_expr(expression: Address): string;
  lyd_value_get_canonical(context: Address, value: Address): string;
  lyd_parse_data_mem(
    context: Address,
    text: string,
    format: number,
    parse: number,
    validate: number,
    tree: Out,
  ): number;
  ly_in_new_memory(text: Address, input: Out): number;
  ly_in_free(input: Address, destroy: number): void;
  lyd_parse_data(
    context: Address,
    parent: Address,
    input: Address,
    format: number,
    parse: number,
    validate: number,
    tree: Out,
  ): number;
  lyd_validate_module(tree: Out, module: Address, options: number, diff: null): number;
  lyd_validate_all(tree: Out, context: Address, options: number, diff: null): number;
  lyd_print_mem(text: Out, root: Address, format: number, options: number): number;
  lyd_new_path(
    parent: Address,
    context: Address,
    path: string,
    value: string | null,
    options: number,
    node: Out,
  ): number;
  lyd_find_path(contextNode: Address, path: string, output: number, match: Out): number;
  lyd_find_xpath(contextNode: Address, xpath: string, set: Out): number;
  ly_set_free(set: Address, destroy: null): void;
  lyd_path(node: Address, type: number, buffer: null, size: number): string;
  lyd_dup_single(node: Address, parent: Address, options: number, copy: Out): number;
  lyd_dup_siblings(node: Address, parent: Address, options: number, copy: Out): number;
  lyd_merge_siblings(target: Out, source: Address, options: number): number;
  lyd_diff_siblings(first: Address, second: Address, options: number, diff: Out): number;
  lyd_insert_sibling(sibling: Address, node: Address, first: Out): number;
  lyd_insert_child(parent: Address, node: Address): number;
  lyd_insert_before(sibling: Address, node: Address): number;
  lyd_insert_after(sibling: Address, node: Address): number;
  lyd_unlink_tree(node: Address): void;
  lyd_free_tree(node: Address): void;
  lyd_free_siblings(node: Address): void;
  lyd_first_sibling(node: Address): Address;
  /** Of a text that libyang made, and of its copy. */
  free(memory: Address): void;
  strdup(text: string): Address;
  strstr(text: Address, needle: string): string;
}

const declarations: Record<keyof Library, string> = {
  ly_log_options: "uint32_t ly_log_options(uint32_t options)",
  ly_ctx_new: "int ly_ctx_new(const char *directories, uint16_t options, _Out_ uintptr_t *context)",
  ly_ctx_load_module:
    "uintptr_t ly_ctx_load_module(uintptr_t context, const char *name, const char *revision, void *features)",
  ly_ctx_get_module_iter: "uintptr_t ly_ctx_get_module_iter(uintptr_t context, _Inout_ uint32_t *index)",
  ly_err_first: "uintptr_t ly_err_first(uintptr_t context)",
  ly_err_clean: "void ly_err_clean(uintptr_t context, void *from)",
  lysc_path: "HeapText lysc_path(uintptr_t node, int type, void *buffer, size_t size)",
  lysc_node_child: "uintptr_t lysc_node_child(uintptr_t node)",
  lysc_node_actions: "uintptr_t lysc_node_actions(uintptr_t node)",
  lysc_node_musts: "uintptr_t lysc_node_musts(uintptr_t node)",
  lysc_node_when: "uintptr_t lysc_node_when(uintptr_t node)",
  lyxp_get_expr: "const char *lyxp_get_expr(uintptr_t expression)",
  lyd_value_get_canonical: "const char *lyd_value_get_canonical(uintptr_t context, uintptr_t value)",
  lyd_parse_data_mem:
    "int lyd_parse_data_mem(uintptr_t context, const char *text, int format, uint32_t parse, uint32_t validate, _Out_ uintptr_t *tree)",
  ly_in_new_memory: "int ly_in_new_memory(uintptr_t text, _Out_ uintptr_t *input)",
  ly_in_free: "void ly_in_free(uintptr_t input, uint8_t destroy)",
  lyd_parse_data:
    "int lyd_parse_data(uintptr_t context, uintptr_t parent, uintptr_t input, int format, uint32_t parse, uint32_t validate, _Out_ uintptr_t *tree)",
  lyd_validate_module:
    "int lyd_validate_module(_Inout_ uintptr_t *tree, uintptr_t module, uint32_t options, void *diff)",
  lyd_validate_all:
    "int lyd_validate_all(_Inout_ uintptr_t *tree, uintptr_t context, uint32_t options, void *diff)",
  lyd_print_mem: "int lyd_print_mem(_Out_ uintptr_t *text, uintptr_t root, int format, uint32_t options)",
  lyd_new_path:
    "int lyd_new_path(uintptr_t parent, uintptr_t context, const char *path, const char *value, uint32_t options, _Out_ uintptr_t *node)",
  lyd_find_path:
    "int lyd_find_path(uintptr_t node, const char *path, uint8_t output, _Out_ uintptr_t *match)",
  lyd_find_xpath: "int lyd_find_xpath(uintptr_t node, const char *xpath, _Out_ uintptr_t *set)",
  ly_set_free: "void ly_set_free(uintptr_t set, void *destroy)",
  lyd_path: "HeapText lyd_path(uintptr_t node, int type, void *buffer, size_t size)",
  lyd_dup_single:
    "int lyd_dup_single(uintptr_t node, uintptr_t parent, uint32_t options, _Out_ uintptr_t *copy)",
  lyd_dup_siblings:
    "int lyd_dup_siblings(uintptr_t node, uintptr_t parent, uint32_t options, _Out_ uintptr_t *copy)",
  lyd_merge_siblings: "int lyd_merge_siblings(_Inout_ uintptr_t *target, uintptr_t source, uint16_t options)",
  lyd_diff_siblings:
    "int lyd_diff_siblings(uintptr_t first, uintptr_t second, uint16_t options, _Out_ uintptr_t *diff)",
  lyd_insert_sibling: "int lyd_insert_sibling(uintptr_t sibling, uintptr_t node, _Out_ uintptr_t *first)",
  lyd_insert_child: "int lyd_insert_child(uintptr_t parent, uintptr_t node)",
  lyd_insert_before: "int lyd_insert_before(uintptr_t sibling, uintptr_t node)",
  lyd_insert_after: "int lyd_insert_after(uintptr_t sibling, uintptr_t node)",
  lyd_unlink_tree: "void lyd_unlink_tree(uintptr_t node)",
  lyd_free_tree: "void lyd_free_tree(uintptr_t node)",
  lyd_free_siblings: "void lyd_free_siblings(uintptr_t node)",
  lyd_first_sibling: "uintptr_t lyd_first_sibling(uintptr_t node)",
  free: "void free(uintptr_t memory)",
  strdup: "uintptr_t strdup(const char *text)",
  strstr: "const char *strstr(uintptr_t text, const char *needle)",
};

let library: Library | undefined;

/** The library's functions. @throws Error when it is not installed */
export function libyang(): Library {
  library ??= load();
  return library;
}

function load(): Library {
  const libc = koffi.load("libc.so.6");
  let yang: ReturnType<typeof koffi.load>;
  try {
    yang = koffi.load("libyang.so.2");
  } catch (error) {
    throw new Error(`libyang.so.2 cannot be loaded (apt install libyang2): ${(error as Error).message}`);
  }
  koffi.disposable("HeapText", "char *", libc.func("void free(void *memory)"));
  const functions = Object.entries(declarations).map(([name, text]) => [
    name,
    (name === "free" || name.startsWith("str") ? libc : yang).func(text),
  ]);
  return Object.fromEntries(functions) as Library;
}

/** A window on a structure of libyang's. It must not be touched once libyang has freed it. */
export function structure(address: Address, size: number): DataView {
  return new DataView(window(BigInt(address), size));
}

/** The pointer at an offset of a structure. */
export function pointer(view: DataView, offset: number): Address {
  return Number(view.getBigUint64(offset, true));
}

/** The pointer at an address: for walks over data, where a window on each node would cost more. */
export function pointerAt(address: Address): Address {
  return koffi.decode(BigInt(address), "uintptr_t") as Address;
}

export function uint32At(address: Address): number {
  return koffi.decode(BigInt(address), "uint32_t") as number;
}

/** The text at an address; undefined for NULL. */
export function textAt(address: Address): string | undefined {
  // koffi's decode() of a text leaves some bytes behind each time; its results of functions do not. This one returns `address`.
  return address === 0 ? undefined : libyang().strstr(address, "");
}

/** Addresses of a sized array's elements, whose count stands before the first one. */
export function sizedArray(address: Address, elementSize: number): Address[] {
  if (address === 0) return [];
  const count = Number(structure(address - 8, 8).getBigUint64(0, true));
  return Array.from({ length: count }, (_, i) => address + i * elementSize);
}
