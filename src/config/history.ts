// The last configurations that were in force, the running one included: one file each, `history/NUMBER` in the state
// directory. The first line tells of it, as a JSON object; what follows is the configuration itself:
//
//   {"number":7,"time":"2026-11-26T10:00:00.000Z","user":"root","comment":"","sha256":"…"}
//   { "node": "a", … }
//
// There are secrets in it: mode 0600 in a folder of mode 0700. Each file is written in one piece, and read again only if
// the hash is right; one that is broken is told once and passed over. Nothing that happens here keeps a node from starting
// or a commit from going through: an entry that cannot be written is kept in memory, and that is told.

import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { removeLeftovers, replaceFile } from "./atomic-file.js";
import { StoredText } from "./stored-text.js";

/** How many configurations are kept. */
export const HISTORY_LENGTH = 20;

export interface HistoryEntry {
  number: number;
  time: Date;
  user: string;
  comment: string;
}

interface Kept extends HistoryEntry {
  /** Of the configuration. */
  hash: string;
  /** Only if it is in no file. */
  text?: StoredText;
}

export class History {
  readonly #folder: string;
  readonly #warn: (text: string) => void;
  /** By number, the newest last. */
  #entries: Kept[] = [];
  /** The highest number that a file has here, be it broken or not: none is given twice. */
  #last = 0;

  /** @param warn told of what is broken or cannot be written */
  constructor(stateDirectory: string, warn: (text: string) => void) {
    this.#folder = join(stateDirectory, "history");
    this.#warn = warn;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      chmodSync(this.#folder, 0o700);
      removeLeftovers(this.#folder, isNumber);
      this.#load(readdirSync(this.#folder).filter(isNumber).map(Number));
    } catch (error) {
      warn(`${this.#folder}: ${(error as Error).message}: the history is kept in memory only`);
    }
  }

  #load(numbers: number[]): void {
    for (const number of numbers.sort((a, b) => a - b)) {
      this.#last = number;
      try {
        this.#entries.push(this.#read(number).entry);
      } catch (error) {
        this.#warn(`${this.#path(number)}: ${(error as Error).message}: it is left out of the history`);
      }
    }
    this.#entries = this.#entries.slice(-HISTORY_LENGTH);
  }

  /** The newest first. */
  get entries(): HistoryEntry[] {
    return this.#entries
      .map(({ number, time, user, comment }) => ({ number, time, user, comment }))
      .reverse();
  }

  get newest(): HistoryEntry | undefined {
    return this.entries[0];
  }

  /** Is this the newest configuration? */
  endsWith(text: StoredText): boolean {
    return this.#entries.at(-1)?.hash === text.hash;
  }

  /** The newest one that is older than this. */
  before(number: number): HistoryEntry | undefined {
    return this.#entries.findLast((entry) => entry.number < number);
  }

  /** The configuration of an entry, secrets included. undefined: there is no such entry. @throws when it is broken */
  text(number: number): string | undefined {
    const kept = this.#entries.find((entry) => entry.number === number);
    return kept && (kept.text ?? this.#read(number).text).toString();
  }

  /** Adds the configuration that is in force now, and forgets the oldest. @returns its number */
  add(text: StoredText, entry: Omit<HistoryEntry, "number">): number {
    const kept: Kept = { number: this.#last + 1, ...entry, hash: text.hash };
    this.#last = kept.number;
    this.#entries.push(kept);
    try {
      const { number, time, user, comment, hash } = kept;
      const head = { number, time, user, comment, sha256: hash };
      replaceFile(this.#path(number), [`${JSON.stringify(head)}\n`, ...text.chunks]);
      this.#forget();
    } catch (error) {
      kept.text = text;
      this.#warn(`${this.#path(kept.number)}: ${(error as Error).message}: it is kept in memory only`);
    }
    this.#entries = this.#entries.slice(-HISTORY_LENGTH);
    return kept.number;
  }

  /** Removes the files of entries that are too old, broken ones among them. */
  #forget(): void {
    const oldest = this.#entries.slice(-HISTORY_LENGTH)[0].number;
    for (const name of readdirSync(this.#folder))
      if (isNumber(name) && Number(name) < oldest) rmSync(join(this.#folder, name), { force: true });
  }

  #read(number: number): { entry: Kept; text: StoredText } {
    const content = readFileSync(this.#path(number));
    const end = content.indexOf("\n");
    if (end < 0) throw new Error("is truncated");
    const head = parseHead(content.toString("utf8", 0, end));
    const text = new StoredText([content.subarray(end + 1)]);
    if (head === undefined || head.sha256 !== text.hash) throw new Error("is broken");
    const { time, user, comment, sha256: hash } = head;
    return { entry: { number, time: new Date(time), user, comment, hash }, text };
  }

  #path(number: number): string {
    return join(this.#folder, String(number));
  }
}

function parseHead(
  line: string,
): { time: string; user: string; comment: string; sha256: string } | undefined {
  try {
    const head = JSON.parse(line);
    const leaves = [head.time, head.user, head.comment, head.sha256];
    if (leaves.some((leaf) => typeof leaf !== "string") || Number.isNaN(Date.parse(head.time)))
      return undefined;
    return head;
  } catch {
    return undefined;
  }
}

function isNumber(name: string): boolean {
  return /^[1-9]\d{0,9}$/.test(name);
}
