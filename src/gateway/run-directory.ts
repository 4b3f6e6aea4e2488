// A node's run directory, `$VITA_RUN_DIR/<node>/`: the shared files, charon's socket, and notes for those who look.
//
// The SAD holds keys and must never reach a disk. Where the run directory is not in memory (a container's /run, say) the
// shared files live in a directory below /dev/shm, and the run directory has symbolic links to them.

import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, statfsSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;
/** Ends the name of a file that was set aside. */
const ASIDE = ".aside";

export const DEFAULT_RUN_DIRECTORY = "/run/vita";

/** Names of the files that processes share. */
export type SharedName = "sad" | "spd" | "frames" | "ports" | `counters-${number}`;

export class RunDirectory {
  readonly node: string;
  /** The directory of all nodes. */
  readonly base: string;
  readonly path: string;

  /** Only names it; see `make`. */
  constructor(node: string, base = process.env["VITA_RUN_DIR"] ?? DEFAULT_RUN_DIRECTORY) {
    this.node = node;
    this.base = base;
    this.path = join(base, node);
  }

  /** Makes the directory, with mode 0700. @throws when it cannot be, or belongs to somebody else */
  make(): void {
    makePrivate(this.path);
    if (isInMemory(this.path)) return;
    makePrivate(this.#shadow);
  }

  get #shadow(): string {
    const name = createHash("sha256").update(this.path).digest("hex").slice(0, 16);
    return `/dev/shm/vita-${process.getuid?.() ?? 0}-${name}`;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Path of a shared file, wherever it lives. */
  shared(name: SharedName): string {
    const path = this.file(name);
    try {
      return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : path;
    } catch {
      return path;
    }
  }

  /** Path for a shared file that is about to be made; one that stands there is removed. */
  fresh(name: SharedName): string {
    this.removeShared(name);
    const path = this.file(name);
    if (isInMemory(this.path)) return path;
    const target = join(this.#shadow, name);
    // Somebody may have removed the run directory, and its links with it, by hand.
    rmSync(target, { force: true });
    symlinkSync(target, path);
    return target;
  }

  removeShared(name: SharedName): void {
    rmSync(this.shared(name), { force: true });
    rmSync(this.file(name), { force: true });
  }

  /** Puts a shared file by, to make another one in its place; those who have it mapped notice nothing. */
  setAside(name: SharedName): void {
    const path = this.shared(name);
    renameSync(path, `${path}${ASIDE}`);
  }

  /** Puts a file that was set aside back in its place. @returns false when there is none */
  takeBack(name: SharedName): boolean {
    const path = this.shared(name);
    try {
      renameSync(`${path}${ASIDE}`, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
  }

  /** Removes a file that was set aside, if there is one. */
  forgetAside(name: SharedName): void {
    rmSync(`${this.shared(name)}${ASIDE}`, { force: true });
  }

  get charonSocket(): string {
    return this.file("charon.sock");
  }

  /** Named pipe by which workers tell the supervisor of events. */
  get eventPipe(): string {
    return this.file("events");
  }

  /** Named pipe by which the supervisor wakes a worker that has packets waiting. */
  wakePipe(worker: number): string {
    return this.file(`wake-${worker}`);
  }

  /** Locked by the worker that is opening its ports. */
  get portsLock(): string {
    return this.file("ports.lock");
  }

  /** Exists while the workers forward packets. */
  get ready(): string {
    return this.file("ready");
  }

  /** Removes everything. */
  remove(): void {
    rmSync(this.#shadow, { recursive: true, force: true });
    rmSync(this.path, { recursive: true, force: true });
  }
}

function makePrivate(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const stat = lstatSync(path);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
    throw new Error(
      `${path} must be a directory of this user with mode 0700: remove it, or set VITA_RUN_DIR`,
    );
}

function isInMemory(path: string): boolean {
  const { type } = statfsSync(path);
  return type === TMPFS_MAGIC || type === RAMFS_MAGIC;
}
