// The startup datastore as a tree: the startup file, what it means, and what is said when it cannot be had or written.

import { existsSync, realpathSync, statSync } from "node:fs";
import { isAbsolute } from "node:path";
import { replaceFile } from "./atomic-file.js";
import { ConfigurationError } from "./problem.js";
import { messageOf, refusal } from "./refusal.js";
import type { Schema } from "./schema.js";
import { EditedByHand, StartupFile } from "./startup-file.js";
import { Tree } from "./tree.js";
import type { Version } from "./version.js";

export class Startup {
  readonly #schema: Schema;
  readonly #file: StartupFile;

  constructor(schema: Schema, path: string) {
    this.#schema = schema;
    this.#file = new StartupFile(path);
  }

  get path(): string {
    return this.#file.path;
  }

  /** What the file says, not validated yet. @throws ConfigurationError */
  read(): Tree {
    let text: string;
    try {
      text = this.#file.read();
    } catch (error) {
      const problem = { path: "/", rule: "data-missing" as const, message: messageOf(error) };
      throw new ConfigurationError(this.path, [problem]);
    }
    return Tree.parse(this.#schema, text, "json", { source: this.path });
  }

  /**
   * Has somebody edited the file since we read or wrote it, so that something would be lost?
   * @param harmless what it may say
   * @throws ConfigurationError
   */
  refuseHandEdits(harmless: readonly Tree[]): void {
    try {
      const text = this.#file.strangeText();
      if (text === undefined) return;
      if (!this.#saysOneOf(harmless, text)) throw this.#edited();
      this.#file.accept(text);
    } catch (error) {
      if (error instanceof ConfigurationError) throw error;
      throw refusal("operation-failed", `the startup file cannot be read: ${messageOf(error)}`);
    }
  }

  #saysOneOf(trees: readonly Tree[], text: string): boolean {
    let found: Tree | undefined;
    try {
      found = Tree.parse(this.#schema, text, "json", { source: this.path });
      found.validate();
      return trees.some((tree) => tree.diff(found!).length === 0);
    } catch (error) {
      if (error instanceof ConfigurationError) return false;
      throw error;
    } finally {
      found?.free();
    }
  }

  /** Writes it; it is on the disk when this returns. @throws ConfigurationError */
  store(version: Version): void {
    try {
      this.#file.write(version.text);
    } catch (error) {
      if (error instanceof EditedByHand) throw this.#edited();
      throw refusal("operation-failed", `the startup file cannot be written: ${messageOf(error)}`);
    }
    version.isStored = true;
  }

  /** Writes it to another file, with mode 0600. @param path absolute @throws ConfigurationError */
  saveCopy(path: string, version: Version): void {
    try {
      if (!isAbsolute(path)) throw new Error("is not an absolute path");
      const isThere = existsSync(path);
      const target = isThere ? realpathSync(path) : path;
      if (target === realpathSync(this.path)) throw new Error("is the startup file, which commits write");
      if (isThere && !statSync(target).isFile()) throw new Error("is not a regular file");
      replaceFile(target, version.text.chunks);
    } catch (error) {
      throw refusal("invalid-value", messageOf(error), "/file", path);
    }
  }

  #edited(): ConfigurationError {
    return refusal(
      "in-use",
      `${this.path} was edited since the node read or wrote it, and would be written over: ` +
        "load it (vita config load, or SIGHUP), undo the edit, or remove the file",
    );
  }
}
