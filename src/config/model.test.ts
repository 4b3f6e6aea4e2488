// What the rest of config/ relies on in the model.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isTable } from "./parse.js";
import { referencesOf } from "./references.js";
import { Schema, type SchemaNode } from "./schema.js";

const schema = Schema.load();

function all(nodes: readonly SchemaNode[]): SchemaNode[] {
  return nodes.flatMap((node) => [node, ...all(node.children)]);
}

test("the compiled model is read as libyang has it", () => {
  const names = schema.modules.map(({ name }) => name);
  assert.ok(names.includes("vita-gateway") && names.includes("ietf-yang-library"));
  const sa = schema.node("/vita-gateway:inbound-sa");
  assert.deepEqual(sa?.keys, ["spi"]);
  assert.deepEqual(schema.node("/vita-gateway:outbound-sa")?.unique, ["route"]);
  const mode = schema.node("/vita-gateway:public-interface/mode");
  assert.deepEqual(
    mode?.type?.enums?.map(({ name }) => name),
    ["shared", "owned"],
  );
  assert.deepEqual(mode?.default, ["shared"]);
  assert.equal(mode?.must[0].condition, '. = "shared" or ../../vita:workers = 1');
  assert.equal(schema.node("/vita-gateway:public-interface/address")?.when, '../mode = "owned"');
  assert.deepEqual(schema.node("/vita-gateway:workers")?.type, { base: "uint8", ranges: [[1, 16]] });
  assert.equal(schema.node("/vita-gateway:route/mark")?.type?.typedef, "number32");
  assert.equal(schema.node("/vita-gateway:inbound-sa/route")?.type?.path, "/vita:route/vita:id");
  assert.equal(schema.node("/vita-gateway:restconf/tcp")?.presence, true);
  assert.equal(schema.node("/vita-gateway:connection-up/input/timeout")?.units, "seconds");
  assert.equal(schema.node("/vita-gateway:connection/child")?.minElements, 1);
  assert.equal(schema.node("/vita-gateway:gateway-state")?.config, false);
  assert.equal(schema.node("/vita-gateway:nothing"), undefined);
});

/** Rules of a node and what is below it that look higher than `depth` steps up, or at the whole. */
function farRules(node: SchemaNode, depth: number): string[] {
  const conditions = [
    ...node.must.map(({ condition }) => condition),
    ...(node.when === undefined ? [] : [node.when]),
  ];
  const far = conditions.filter(
    (condition) =>
      /(^|[^\w\]).])\/|\/\/|current\(|ancestor|preceding|following|parent::/.test(condition) ||
      [...condition.matchAll(/(?:\.\.\/)*\.\./g)].some(([up]) => up.split("/").length > depth),
  );
  return [...far, ...node.children.flatMap((child) => farRules(child, depth + 1))];
}

test("every node is described", () => {
  const own = schema.modules.find(({ name }) => name === "vita-gateway");
  const nodes = all([...(own?.data ?? []), ...(own?.rpcs ?? []), ...(own?.notifications ?? [])]);
  const silent = nodes.filter(({ kind, description }) => !/put$/.test(kind) && description === undefined);
  assert.deepEqual(
    silent.map(({ path }) => path),
    [],
  );
});

test("rules inside an entry of a long list look at nothing else", () => {
  const lists = [...schema.top.values()].filter(isTable);
  assert.deepEqual(
    lists.map(({ name }) => name),
    ["route", "inbound-sa", "outbound-sa", "security-policy", "connection", "pool", "secret", "authority"],
  );
  for (const list of lists) assert.deepEqual(farRules(list, 0), []);
});

test("a rule that looks farther is noticed", () => {
  const { children: _, ...leaf } = schema.node("/vita-gateway:limits/frames")!;
  assert.equal(farRules({ ...leaf, children: [] }, 1).length, 1);
  assert.equal(farRules({ ...leaf, must: [{ condition: "../sas > 2" }], children: [] }, 1).length, 0);
  assert.equal(farRules({ ...leaf, must: [{ condition: "/vita:workers > 2" }], children: [] }, 1).length, 1);
});

test("references between long lists stand directly in their entries", () => {
  const leafrefs = all([...schema.top.values()]).filter(({ type }) => type?.base === "leafref");
  const found = referencesOf(schema).map(({ path }) => path);
  assert.deepEqual(
    leafrefs.map(({ path }) => path),
    found,
  );
});
