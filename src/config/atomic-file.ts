// A file that is replaced in one piece. Whatever comes in between (kill -9, a full disk, loss of power), its name leads to
// the whole old content or to the whole new one:
//
//   temporary file in the same folder → write → fsync → rename over the name → fsync of the folder
//
// The temporary file of a writer that was killed stays behind. Its name has the writer's process id, and it is removed
// when a process that replaces the same file begins: `removeLeftovers`.

import {
  type BigIntStats,
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

export interface ReplaceOptions {
  /** Permission bits of the file; 0600 when left out. */
  mode?: number;
  /** Whom the file belongs to; this process's user when left out. */
  owner?: { uid: number; gid: number };
  /** Called when all is written but the old content still stands; when it throws, that stays so. */
  beforeRename?: () => void;
  /** Puts what was written to a file, or the names in a folder, on the disk. */
  sync?: (descriptor: number, what: "file" | "folder") => void;
}

/** What tells one content of a file from another without reading it: identity, size, and times to the nanosecond. */
export type Stamp = string;

/**
 * Replaces the file, or makes it.
 * @param path where the file itself lies: a symbolic link at this place would be replaced
 * @param content whole, or in chunks
 * @returns the stamp of the new file
 * @throws the system's error; only one of `sync` for the folder can leave the new content behind
 */
export function replaceFile(
  path: string,
  content: string | Uint8Array | readonly (string | Uint8Array)[],
  options: ReplaceOptions = {},
): Stamp {
  const { mode = 0o600, owner, beforeRename, sync = syncToDisk } = options;
  const temporary = temporaryOf(path, process.pid);
  rmSync(temporary, { force: true });
  const file = openSync(temporary, "wx", 0o600);
  try {
    for (const chunk of Array.isArray(content) ? content : [content]) writeFileSync(file, chunk);
    if (owner) fchownSync(file, owner.uid, owner.gid);
    fchmodSync(file, mode);
    sync(file, "file");
    beforeRename?.();
    renameSync(temporary, path);
    syncFolder(dirname(path), sync);
    return stampOf(fstatSync(file, { bigint: true }));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string, sync: NonNullable<ReplaceOptions["sync"]>): void {
  const folder = openSync(path, "r");
  try {
    sync(folder, "folder");
  } finally {
    closeSync(folder);
  }
}

function syncToDisk(descriptor: number, what: "file" | "folder"): void {
  try {
    fsyncSync(descriptor);
  } catch (error) {
    // Some file systems have no fsync for folders, and say so.
    if (what === "file" || (error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
  }
}

export function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Stamp {
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

function temporaryOf(path: string, pid: number): string {
  return join(dirname(path), `.${basename(path)}.vita-${pid}`);
}

/** Removes what writers of these files that live no more have left in their folder. */
export function removeLeftovers(folder: string, isOurs: (name: string) => boolean): void {
  for (const entry of readdirSync(folder)) {
    const [, name, pid] = /^\.(.+)\.vita-(\d+)$/.exec(entry) ?? [];
    if (name !== undefined && isOurs(name) && !isAnotherProcess(Number(pid)))
      rmSync(join(folder, entry), { force: true });
  }
}

function isAnotherProcess(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
