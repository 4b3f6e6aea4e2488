// The startup datastore: the file that `vita run --config` names. It is an operator's file as much as ours. Its mode and
// owner stay as they are, a symbolic link stays one, and it is replaced in one piece (atomic-file.ts).
//
// Somebody may edit it while the node runs. What was read or written last is remembered by its stamp and its hash, and
// `write` refuses to put anything over a content that is neither this nor was accepted by name: see `strangeText`.

import { readFileSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type ReplaceOptions, removeLeftovers, replaceFile, type Stamp, stampOf } from "./atomic-file.js";
import { readTextFile } from "./read-text.js";
import { StoredText } from "./stored-text.js";

/** The file has a content that this node knows nothing of. */
export class EditedByHand extends Error {}

export class StartupFile {
  readonly path: string;
  readonly #sync: ReplaceOptions["sync"];
  /** Where the symbolic links led to last. */
  #target: string;
  /** Hash of the last content that we know, and the stamp that it had, if it was seen by us. */
  #known: { hash: string; stamp: Stamp | undefined } | undefined;
  /** The last text that we know, to be put back. */
  #text = new StoredText("");

  /** @param sync see ReplaceOptions; for tests */
  constructor(path: string, sync?: ReplaceOptions["sync"]) {
    this.path = path;
    this.#target = path;
    this.#sync = sync;
  }

  /** Reads the file, and removes what a killed writer left beside it. @throws the system's error */
  read(): string {
    const { text, stamp } = readTextFile(this.#follow());
    const name = basename(this.#target);
    removeLeftovers(dirname(this.#target), (leftover) => leftover === name);
    this.#remember(new StoredText(text), stamp);
    return text;
  }

  /**
   * The content of the file when it is another than what was last read, written or accepted. undefined as long as it is
   * the same, and when there is no file: then nothing can be lost.
   */
  strangeText(): string | undefined {
    const path = this.#follow();
    const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
    if (stat === undefined || stampOf(stat) === this.#known?.stamp) return undefined;
    const { text, stamp } = readTextFile(path);
    const stored = new StoredText(text);
    if (stored.hash !== this.#known?.hash) return text;
    this.#remember(stored, stamp);
    return undefined;
  }

  /** This content may be written over, wherever it comes from. */
  accept(text: string): void {
    this.#remember(new StoredText(text), undefined);
  }

  /**
   * Replaces the content; it is on the disk when this returns.
   * @throws EditedByHand, or the system's error; the file has its old content then
   */
  write(text: StoredText): void {
    const path = this.#follow();
    const stat = statSync(path, { throwIfNoEntry: false });
    let isReplaced = false;
    try {
      const stamp = this.#replace(path, text, stat, () => {
        if (this.strangeText() !== undefined)
          throw new EditedByHand(`${this.path} was edited since this node read or wrote it`);
        isReplaced = true;
      });
      this.#remember(text, stamp);
    } catch (error) {
      // It may stand there under its name, but nobody knows for how long.
      const problem = isReplaced ? this.#putBack(path, stat) : undefined;
      if (problem === undefined) throw error;
      throw new Error(`${(error as Error).message}; the former content could not be put back: ${problem}`);
    }
  }

  #replace(path: string, text: StoredText, stat: Stats | undefined, beforeRename: () => void): Stamp {
    return replaceFile(path, text.chunks, {
      mode: stat ? stat.mode & 0o7777 : 0o600,
      ...(stat && { owner: { uid: stat.uid, gid: stat.gid } }),
      ...(this.#sync && { sync: this.#sync }),
      beforeRename,
    });
  }

  /** Brings the last known text back. @returns what went wrong, if the file does not have it now */
  #putBack(path: string, stat: Stats | undefined): string | undefined {
    let problem: string;
    try {
      this.#replace(path, this.#text, stat, () => {});
      return undefined;
    } catch (error) {
      problem = (error as Error).message;
    } finally {
      this.#remember(this.#text, undefined);
    }
    return readFileSync(path, "utf8") === this.#text.toString() ? undefined : problem;
  }

  #remember(text: StoredText, stamp: Stamp | undefined): void {
    this.#known = { hash: text.hash, stamp };
    this.#text = text;
  }

  /** Where the file itself lies. A link that leads nowhere (any more) is taken to lead where it did. */
  #follow(): string {
    try {
      this.#target = realpathSync(this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      this.#target = join(realpathSync(dirname(this.#target)), basename(this.#target));
    }
    return this.#target;
  }
}
