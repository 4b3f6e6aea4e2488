// A node's configuration on disk, with a datastore over it that carries nothing out but tells what it was asked to.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Configuration } from "../configuration.js";
import { Datastore } from "../datastore.js";
import { Schema } from "../schema.js";
import type { Edit } from "../tree.js";

export const minimal = {
  node: "a",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
};

/** Sets the number of workers, the leaf that all tests change. */
export function workers(count: number): Edit[] {
  const text = JSON.stringify({ workers: count });
  return [{ operation: "replace", target: "/workers", value: { text, format: "json" } }];
}

export class NodeFiles {
  readonly folder = mkdtempSync(join(tmpdir(), "vita-datastore-"));
  readonly etc = join(this.folder, "etc");
  readonly startupFile = join(this.etc, "a.json");
  readonly stateDirectory = join(this.folder, "state/a");
  readonly warnings: string[] = [];
  /** What was carried out: numbers of workers, from and to. */
  readonly carried: [number, number][] = [];
  /** Called while a change is carried out. */
  whileCarried: (from: Configuration, to: Configuration) => Promise<void> | void = () => {};
  readonly #open: Datastore[] = [];

  constructor(test: TestContext, document: object = minimal) {
    mkdirSync(this.etc);
    this.write(document);
    test.after(() => {
      for (const datastore of this.#open) datastore.close();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  write(document: object): void {
    writeFileSync(this.startupFile, JSON.stringify(document));
  }

  /** Number of workers in the startup file. */
  get stored(): number | undefined {
    const document = JSON.parse(readFileSync(this.startupFile, "utf8"));
    return document["vita-gateway:workers"] ?? document.workers;
  }

  open(options: { carryOutLimit?: number; retry?: number } = {}): Datastore {
    const { startupFile } = this;
    const warn = (text: string) => void this.warnings.push(text);
    const stateDirectory = (node: string) => join(this.folder, "state", node);
    const datastore = Datastore.open({
      schema: Schema.load(),
      startupFile,
      stateDirectory,
      warn,
      ...options,
    });
    datastore.carryOut = async (from, to) => {
      this.carried.push([from.workers, to.workers]);
      await this.whileCarried(from, to);
    };
    this.#open.push(datastore);
    return datastore;
  }
}
