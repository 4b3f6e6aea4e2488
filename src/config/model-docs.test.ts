import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fillPage } from "./model-docs.js";
import { MODULE_NAME, Schema, type SchemaModule } from "./schema.js";

const docs = new URL("../../../docs/", import.meta.url);

test("docs/configuration.md is what the model and the examples give (npm run docs)", () => {
  const model = Schema.load().modules.find(({ name }) => name === MODULE_NAME) as SchemaModule;
  const committed = readFileSync(new URL("configuration.md", docs), "utf8");
  const example = (file: string) => readFileSync(new URL(`examples/${file}`, docs), "utf8");
  assert.equal(fillPage(committed, model, example), committed);
  for (const { name } of model.data)
    assert.ok(committed.includes(`\`${name}\``) || committed.includes(`/${name}`), name);
});

test("every node of the model is described", () => {
  const model = Schema.load().modules.find(({ name }) => name === MODULE_NAME) as SchemaModule;
  const mute: string[] = [];
  const look = (nodes: SchemaModule["data"]) => {
    for (const { description, kind, path, children } of nodes) {
      if (!description && !["input", "output", "choice", "case"].includes(kind)) mute.push(path);
      look(children);
    }
  };
  look([...model.data, ...model.rpcs, ...model.notifications]);
  assert.deepEqual(mute, []);
});
