#!/usr/bin/env node
// `npm run docs`: writes the parts of docs/ that are generated from the code and from the model. A test fails when they are
// out of date.

import { readFileSync, writeFileSync } from "node:fs";
import { fillPage } from "../dist/src/config/model-docs.js";
import { MODULE_NAME, Schema } from "../dist/src/config/schema.js";
import { sadFormat } from "../dist/src/ipsec/sad-format.js";

const docs = (name) => new URL(`../docs/${name}`, import.meta.url);
const read = (name) => readFileSync(docs(name), "utf8");

writeFileSync(docs("sad-format.md"), sadFormat());
const model = Schema.load().modules.find(({ name }) => name === MODULE_NAME);
writeFileSync(
  docs("configuration.md"),
  fillPage(read("configuration.md"), model, (file) => read(`examples/${file}`)),
);
