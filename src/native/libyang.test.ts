// The offsets in libyang.ts, compared with what the C compiler says of the installed headers.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as native from "./libyang.js";

const {
  MODULE,
  COMPILED,
  NODE,
  EXTENSION,
  TYPE,
  RANGE,
  PATTERN,
  ENUM,
  MUST,
  WHEN,
  PARSED,
  DATA,
  META,
  ERROR,
  SET,
} = native;

const offset = (struct: string, member: string) => `offsetof(struct ${struct}, ${member})`;
const size = (struct: string) => `sizeof(struct ${struct})`;

const expected: [string, number][] = [
  ...(["name", "revision", "ns", "prefix", "dsc", "compiled", "implemented"] as const).map(
    (name): [string, number] => [offset("lys_module", name), MODULE[name]],
  ),
  [size("lys_module"), MODULE.size],
  ...(["data", "rpcs", "notifs"] as const).map((name): [string, number] => [
    offset("lysc_module", name),
    COMPILED[name],
  ]),
  [size("lysc_module"), COMPILED.size],
  ...(["nodetype", "flags", "module", "parent", "next", "name", "dsc", "ref", "exts", "priv"] as const).map(
    (name): [string, number] => [offset("lysc_node", name), NODE[name]],
  ),
  [size("lysc_node"), NODE.size],
  [offset("lysc_node_leaf", "type"), NODE.leafType],
  [offset("lysc_node_leaf", "units"), NODE.leafUnits],
  [offset("lysc_node_leaf", "dflt"), NODE.leafDefault],
  [size("lysc_node_leaf"), NODE.leafSize],
  [offset("lysc_node_leaflist", "type"), NODE.leafType],
  [offset("lysc_node_leaflist", "units"), NODE.leafUnits],
  [offset("lysc_node_leaflist", "dflts"), NODE.leafListDefaults],
  [offset("lysc_node_leaflist", "min"), NODE.leafListMin],
  [offset("lysc_node_leaflist", "max"), NODE.leafListMax],
  [size("lysc_node_leaflist"), NODE.leafListSize],
  [offset("lysc_node_list", "uniques"), NODE.listUniques],
  [offset("lysc_node_list", "min"), NODE.listMin],
  [offset("lysc_node_list", "max"), NODE.listMax],
  [size("lysc_node_list"), NODE.listSize],
  [offset("lysc_node_action", "input"), NODE.actionInput],
  [`${offset("lysc_node_action", "output")} - ${offset("lysc_node_action", "input")}`, NODE.inOutSize],
  [offset("lysc_ext_instance", "def"), EXTENSION.def],
  [size("lysc_ext_instance"), EXTENSION.instanceSize],
  [offset("lysc_ext", "name"), EXTENSION.name],
  [offset("lysc_ext", "module"), EXTENSION.module],
  [size("lysc_ext"), EXTENSION.size],
  [offset("lysc_type", "basetype"), TYPE.basetype],
  [size("lysc_type"), TYPE.size],
  [offset("lysc_type_num", "range"), TYPE.range],
  [size("lysc_type_num"), TYPE.numSize],
  [offset("lysc_type_str", "length"), TYPE.range],
  [offset("lysc_type_str", "patterns"), TYPE.patterns],
  [size("lysc_type_str"), TYPE.strSize],
  [offset("lysc_type_enum", "enums"), TYPE.enums],
  [offset("lysc_type_union", "types"), TYPE.unionTypes],
  [offset("lysc_type_leafref", "path"), TYPE.leafrefPath],
  [offset("lysc_range", "parts"), RANGE.parts],
  [offset("lysc_range", "emsg"), RANGE.emsg],
  [size("lysc_range"), RANGE.size],
  ["sizeof(*((struct lysc_range *)0)->parts)", RANGE.partSize],
  [offset("lysc_pattern", "expr"), PATTERN.expr],
  [offset("lysc_pattern", "emsg"), PATTERN.emsg],
  // A bit field has no offset: it stands behind `exts`.
  [`${offset("lysc_pattern", "exts")} + 8`, PATTERN.inverted],
  [size("lysc_pattern"), PATTERN.size],
  [offset("lysc_type_bitenum_item", "name"), ENUM.name],
  [offset("lysc_type_bitenum_item", "dsc"), ENUM.dsc],
  [size("lysc_type_bitenum_item"), ENUM.size],
  [offset("lysc_must", "cond"), MUST.cond],
  [offset("lysc_must", "emsg"), MUST.emsg],
  [size("lysc_must"), MUST.size],
  [offset("lysc_when", "cond"), WHEN.cond],
  [size("lysc_when"), WHEN.size],
  [offset("lysp_node_leaf", "type.name"), PARSED.leafTypeName],
  [offset("lysp_node_leaflist", "type.name"), PARSED.leafTypeName],
  [size("lysp_node_leaf"), PARSED.leafSize],
  ...(["flags", "schema", "parent", "next", "prev", "meta"] as const).map((name): [string, number] => [
    offset("lyd_node", name),
    DATA[name],
  ]),
  [size("lyd_node"), DATA.size],
  [offset("lyd_node_inner", "child"), DATA.child],
  [offset("lyd_node_term", "value"), DATA.value],
  [offset("lyd_meta", "next"), META.next],
  [offset("lyd_meta", "name"), META.name],
  [offset("lyd_meta", "value"), META.value],
  [size("lyd_meta"), META.size],
  ...(["level", "no", "vecode", "msg", "path", "apptag", "next"] as const).map((name): [string, number] => [
    offset("ly_err_item", name),
    ERROR[name],
  ]),
  [size("ly_err_item"), ERROR.size],
  [offset("ly_set", "count"), SET.count],
  [offset("ly_set", "dnodes"), SET.objects],
  [size("ly_set"), SET.size],
  ["LYSC_PATH_LOG", native.LYSC_PATH_LOG],
  ["LYD_PATH_STD", native.LYD_PATH_STD],
  ...Object.entries({
    CONTAINER: native.LYS.container,
    CHOICE: native.LYS.choice,
    LEAF: native.LYS.leaf,
    LEAFLIST: native.LYS.leafList,
    LIST: native.LYS.list,
    ANYDATA: native.LYS.anydata,
    CASE: native.LYS.case,
    RPC: native.LYS.rpc,
    ACTION: native.LYS.action,
    NOTIF: native.LYS.notification,
    INPUT: native.LYS.input,
    OUTPUT: native.LYS.output,
  }).map(([name, value]): [string, number] => [`LYS_${name}`, value]),
  ["LY_TYPE_UINT8", native.BASE_TYPES.indexOf("uint8")],
  ["LY_TYPE_STRING", native.BASE_TYPES.indexOf("string")],
  ["LY_TYPE_LEAFREF", native.BASE_TYPES.indexOf("leafref")],
  ["LY_TYPE_UNION", native.BASE_TYPES.indexOf("union")],
  ["LY_TYPE_INT64", native.BASE_TYPES.indexOf("int64")],
  ...Object.entries(native)
    .filter(([name]) => /^(LY|LYD|LYS)_[A-Z_]+$/.test(name) && !/_PATH_/.test(name))
    .map(([name, value]): [string, number] => [name, value as number]),
];

test("offsets and numbers are those of the installed libyang", () => {
  const directory = mkdtempSync(join(tmpdir(), "vita-libyang-"));
  try {
    const prints = expected.map(([text]) => `  printf("%zu\\n", (size_t)(${text}));`).join("\n");
    const source = join(directory, "print.c");
    writeFileSync(
      source,
      `#define PCRE2_CODE_UNIT_WIDTH 8\n#include <libyang/libyang.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n${prints}\n  return 0;\n}\n`,
    );
    execFileSync("gcc", ["-w", source, "-o", join(directory, "print")]);
    const lines = execFileSync(join(directory, "print"), { encoding: "utf8" }).trim().split("\n").map(Number);
    assert.equal(lines.length, expected.length);
    assert.deepEqual(
      expected,
      expected.map(([text], i) => [text, lines[i]]),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
