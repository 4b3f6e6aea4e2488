// The C header, the TypeScript definition and the tables in docs/ must describe the same bytes. A small program, made from the header, prints
// every size, offset and number under its C name; each one is compared, and none may be missing on either side.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Layout } from "./layout.js";
import * as protocol from "./protocol.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const plugin = join(root, "plugin/kernel-vita");

const structs: Record<string, Layout> = {
  vita_header_t: protocol.HeaderLayout,
  vita_host_t: protocol.HostLayout,
  vita_selector_t: protocol.SelectorLayout,
  vita_mark_t: protocol.MarkLayout,
  vita_sa_id_t: protocol.SaIdLayout,
  vita_hello_t: protocol.HelloLayout,
  vita_get_spi_t: protocol.GetSpiLayout,
  vita_get_cpi_t: protocol.GetCpiLayout,
  vita_add_sa_t: protocol.AddSaLayout,
  vita_update_sa_t: protocol.UpdateSaLayout,
  vita_sa_t: protocol.SaLayout,
  vita_policy_id_t: protocol.PolicyIdLayout,
  vita_policy_t: protocol.PolicyLayout,
  vita_answer_t: protocol.AnswerLayout,
  vita_hello_answer_t: protocol.HelloAnswerLayout,
  vita_expire_t: protocol.ExpireLayout,
  vita_acquire_t: protocol.AcquireLayout,
  vita_mapping_t: protocol.MappingLayout,
};

function named(prefix: string, values: Record<string, number>): [string, number][] {
  return Object.entries(values).map(([name, value]) => [`${prefix}${name.toUpperCase()}`, value]);
}

const constants = new Map<string, number>([
  ["VITA_MAGIC", protocol.MAGIC],
  ["VITA_VERSION", protocol.VERSION],
  ["VITA_MESSAGE_MAX", protocol.MESSAGE_MAX],
  ["VITA_KEY_MAX", protocol.KEY_MAX],
  ["VITA_SELECTORS_MAX", protocol.SELECTORS_MAX],
  ["VITA_REASON_MAX", protocol.REASON_MAX],
  ["VITA_INTERFACE_SIZE", protocol.INTERFACE_SIZE],
  ["VITA_SOFTWARE_SIZE", protocol.SOFTWARE_SIZE],
  ["VITA_CPU_ANY", protocol.CPU_ANY],
  ["VITA_IDLE_NEVER", protocol.IDLE_NEVER],
  ["VITA_ANSWER", protocol.ANSWER],
  ...named("VITA_", protocol.CallType),
  ...named("VITA_", protocol.EventType),
  ...named("VITA_", protocol.WireStatus),
  ...named("VITA_OFFLOAD_", protocol.Offload),
  ...named("VITA_SA_", protocol.SaFlag),
  ...named("VITA_UPDATE_", protocol.UpdateFlag),
  ...named("VITA_POLICY_", protocol.PolicyIdFlag),
  ...named("VITA_POLICY_", protocol.PolicyFlag),
  ...named("VITA_ACQUIRE_", protocol.AcquireFlag),
]);

/** What TypeScript says, in the form in which the program prints it. */
function expected(): string[] {
  const lines = [...constants].map(([name, value]) => `${name} ${value}`);
  for (const [name, { size, offset }] of Object.entries(structs)) {
    lines.push(`${name} ${size}`);
    for (const [field, at] of Object.entries(offset)) lines.push(`${name}.${field} ${at}`);
  }
  return lines;
}

/** A program that prints the same from the header. */
function program(): string {
  const print = (name: string, value: string) =>
    `\tprintf("${name} %llu\\n", (unsigned long long)(${value}));`;
  const body = [...constants.keys()].map((name) => print(name, `(uint32_t)${name}`));
  for (const [name, { offset }] of Object.entries(structs)) {
    body.push(print(name, `sizeof(${name})`));
    for (const field of Object.keys(offset))
      body.push(print(`${name}.${field}`, `offsetof(${name}, ${field})`));
  }
  return [
    "#include <stddef.h>",
    "#include <stdio.h>",
    '#include "vita_protocol.h"',
    "int main(void)",
    "{",
    ...body,
    "\treturn 0;",
    "}",
    "",
  ].join("\n");
}

test("the C header and the TypeScript definition have the same sizes, offsets and numbers", () => {
  const directory = mkdtempSync(join(tmpdir(), "vita-header-"));
  try {
    const source = join(directory, "print.c");
    const binary = join(directory, "print");
    writeFileSync(source, program());
    // Hidden padding would be invisible to the comparison of offsets only at a struct's end; -Wpadded sees all of it.
    const built = spawnSync(
      "gcc",
      ["-Wall", "-Wextra", "-Wpadded", "-Werror", "-I", plugin, source, "-o", binary],
      {
        encoding: "utf8",
      },
    );
    assert.equal(built.status, 0, built.stderr);
    const printed = spawnSync(binary, { encoding: "utf8" }).stdout.trimEnd().split("\n");
    assert.deepEqual(printed, expected());
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("the C header has nothing that the TypeScript definition does not know", () => {
  const header = readFileSync(join(plugin, "vita_protocol.h"), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  const names = [
    ...[...header.matchAll(/^\t(VITA_\w+) = /gm)].map(([, name]) => name),
    ...[...header.matchAll(/^#define (VITA_\w+) /gm)].map(([, name]) => name),
  ];
  assert.deepEqual(names.toSorted(), [...constants.keys()].toSorted());
  const found = [...header.matchAll(/typedef struct \{([^}]*)\} (\w+);/g)];
  assert.deepEqual(found.map(([, , name]) => name).toSorted(), Object.keys(structs).toSorted());
  for (const [, fields, name] of found) {
    const inHeader = [...fields.matchAll(/\w+ (\w+)(?:\[\w+\])?;/g)].map(([, field]) => field);
    assert.deepEqual(inHeader, Object.keys(structs[name].offset), name);
  }
});

test("the tables of docs/charon-protocol.md show every struct as it is", () => {
  const text = readFileSync(join(root, "docs/charon-protocol.md"), "utf8");
  const found = [...text.matchAll(/^`(vita_\w+_t)`, (\d+) bytes:\n\n((?:\|.*\n)+)/gm)];
  assert.deepEqual(found.map(([, name]) => name).toSorted(), Object.keys(structs).toSorted());
  for (const [, name, size, table] of found) {
    assert.equal(Number(size), structs[name].size, name);
    const rows = [...table.matchAll(/^\| (\d+) \| (\w+) \|/gm)].map(([, at, field]) => [field, Number(at)]);
    assert.deepEqual(Object.fromEntries(rows), structs[name].offset, name);
  }
});
