#!/usr/bin/env node
// `npm run docs`: writes the parts of docs/ that are generated from the code. A test fails when they are out of date.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { sadFormat } from "../dist/src/ipsec/sad-format.js";

writeFileSync(fileURLToPath(new URL("../docs/sad-format.md", import.meta.url)), sadFormat());
