// How far the sequence numbers of static SAs have come, on disk: one mark for each key that was ever used, which stays when
// the SA goes. Two packets with one number and one key would give AES-GCM away (NIST SP 800-38D §8), and the keys of static
// SAs outlive everything in memory: a reboot, a crash, an SA that is removed and added again, a rollback.
//
// Outbound a mark is a number that was set aside: all numbers up to it may have been used, none beyond it was. It is on the
// disk before the workers may use what it sets aside. Inbound it is a number that was seen: windows begin there anew.
//
// The file is text, written anew as a whole and put in the old one's place:
//
//   vita sequence marks 1
//   out 00112233445566778899aabbccddeeff 16842752
//   in  …
//   sha256 …    of all lines before this one
//
// A file that is not exactly so is not read in part, nor taken for an empty one.

import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../config/refusal.js";
import { tryLock } from "../native/libc.js";

/** The file in a node's state directory. */
export const SEQUENCE_MARKS = "sequence-marks";
export const DEFAULT_STATE_DIRECTORY = "/var/lib/vita";

const TITLE = "vita sequence marks 1";
const DOMAIN = "vita sequence mark 1\0";
const ID_BYTES = 16;
/** Marks are whole numbers that a double has exactly. */
const LARGEST = Number.MAX_SAFE_INTEGER;
const LINE = /^(out|in) ([0-9a-f]{32}) ([0-9]{1,16})$/;

/** A node's directory for what must outlive reboots. */
export function stateDirectory(
  node: string,
  base = process.env["VITA_STATE_DIR"] ?? DEFAULT_STATE_DIRECTORY,
): string {
  return join(base, node);
}

/** What a mark is about: `out` or `in`, and a hash of key and salt, of which neither can be told. */
export type MarkId = string;

/** @param keyAndSalt as an SA has them, one behind the other */
export function markId(direction: "in" | "out", keyAndSalt: Uint8Array): MarkId {
  const hash = createHash("sha256").update(DOMAIN).update(keyAndSalt).digest();
  return `${direction} ${hash.subarray(0, ID_BYTES).toString("hex")}`;
}

export class SequenceMarks {
  readonly directory: string;
  readonly #path: string;
  #lock: number | undefined;
  #marks: Map<MarkId, number> | undefined;
  /** The last write, behind which the next one waits. */
  #writing: Promise<void> = Promise.resolve();

  /** Only names the file: it is read when a mark is first asked for. */
  constructor(directory: string) {
    this.directory = directory;
    this.#path = join(directory, SEQUENCE_MARKS);
  }

  /**
   * The mark of a key, 0 if it has none.
   * @throws Error when the file cannot be read, is not whole, or another run has it, with what to do then
   */
  get(id: MarkId): number {
    return this.#opened().get(id) ?? 0;
  }

  /**
   * Raises marks; those that are as high already stay. They are on the disk when this resolves. If it rejects, the marks are
   * as before, as far as anybody can rely on.
   * @param wanted says what the marks shall be, given what they are: nobody else changes them in between
   */
  raise(wanted: (mark: (id: MarkId) => number) => ReadonlyMap<MarkId, number>): Promise<void> {
    return this.#change((known) => {
      let changed = false;
      for (const [id, mark] of wanted((each) => known.get(each) ?? 0)) {
        if (!Number.isSafeInteger(mark) || mark < 0) throw new Error(`${mark} is not a mark`);
        if (mark <= (known.get(id) ?? 0)) continue;
        known.set(id, mark);
        changed = true;
      }
      return changed;
    });
  }

  /** Sets marks to what was really used, when no worker uses the keys any more. */
  settle(marks: ReadonlyMap<MarkId, number>): Promise<void> {
    return this.#change((known) => {
      for (const [id, mark] of marks) known.set(id, mark);
      return marks.size > 0;
    });
  }

  #change(edit: (marks: Map<MarkId, number>) => boolean): Promise<void> {
    const change = this.#writing.then(async () => {
      const marks = new Map(this.#opened());
      if (!edit(marks)) return;
      await this.#write(format(marks));
      this.#marks = marks;
    });
    this.#writing = change.catch(() => {});
    return change;
  }

  /** Atomic, and on the disk when it resolves. */
  async #write(text: string): Promise<void> {
    const fresh = `${this.#path}.new`;
    const file = await open(fresh, "w", 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, this.#path);
    const directory = await open(this.directory, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  #opened(): Map<MarkId, number> {
    this.#marks ??= this.#open();
    return this.#marks;
  }

  #open(): Map<MarkId, number> {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    // Two runs that draw from one mark would not see what the other one takes.
    const lock = openSync(`${this.#path}.lock`, "a", 0o600);
    if (!tryLock(lock)) {
      closeSync(lock);
      throw new Error(
        `${this.#path} is in use by another run: nodes of one name need state directories of their own (VITA_STATE_DIR)`,
      );
    }
    try {
      const marks = this.#read();
      this.#lock = lock;
      return marks;
    } catch (error) {
      closeSync(lock);
      throw error;
    }
  }

  #read(): Map<MarkId, number> {
    let text: string;
    try {
      text = readFileSync(this.#path, "latin1");
    } catch (error) {
      // A new node's. A file that was there is only ever replaced by another one.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
      throw new Error(`${this.#path} cannot be read: ${messageOf(error)}`);
    }
    const marks = parseMarks(text);
    if (marks) return marks;
    throw new Error(
      `${this.#path} is damaged, and which sequence numbers the keys of static SAs have used is not known: ` +
        "give every outbound SA a new key, on both ends, and remove the file",
    );
  }

  /** Lets go of the file when what is being written is there. */
  async close(): Promise<void> {
    await this.#writing;
    if (this.#lock !== undefined) closeSync(this.#lock);
    this.#lock = undefined;
    this.#marks = undefined;
  }
}

function format(marks: ReadonlyMap<MarkId, number>): string {
  const lines = [TITLE, ...[...marks].map(([id, mark]) => `${id} ${mark}`), ""].join("\n");
  return `${lines}sha256 ${sha256(lines)}\n`;
}

/** @returns undefined when anything is not as it was written */
export function parseMarks(text: string): Map<MarkId, number> | undefined {
  const end = text.lastIndexOf("sha256 ");
  const lines = text.slice(0, Math.max(0, end));
  if (end < 0 || text.slice(end) !== `sha256 ${sha256(lines)}\n`) return undefined;
  const [title, ...entries] = lines.split("\n");
  if (title !== TITLE || entries.pop() !== "") return undefined;
  const marks = new Map<MarkId, number>();
  for (const entry of entries) {
    const [, direction, id, mark] = LINE.exec(entry) ?? [];
    if (mark === undefined || Number(mark) > LARGEST) return undefined;
    marks.set(`${direction} ${id}`, Number(mark));
  }
  return marks;
}

function sha256(text: string): string {
  return createHash("sha256").update(text, "latin1").digest("hex");
}
