// Are the files of a running node still where they were made? Somebody may clean up by hand. Without its lock the node has
// lost its name: another run would begin beside it, and both would fight over devices and workers. Without one of the
// others all goes on, but the next worker could not start, or would not be heard.

import { fstatSync, statSync } from "node:fs";
import type { RunDirectory } from "./run-directory.js";

export class RunFiles {
  readonly #run: RunDirectory;
  readonly #lock: number;
  /** Inodes of the others, by name. */
  readonly #inodes = new Map<string, number>();

  /** @param lock descriptor of the lock */
  constructor(run: RunDirectory, lock: number) {
    this.#run = run;
    this.#lock = lock;
  }

  /** Begins to look after these files, which are there now, and no others. */
  watch(names: readonly string[]): void {
    this.#inodes.clear();
    for (const name of names) this.#inodes.set(name, this.#inode(name));
  }

  #inode(name: string): number {
    return statSync(this.#run.file(name), { throwIfNoEntry: false })?.ino ?? 0;
  }

  /** Does the lock stand where others look for it? */
  get isOurs(): boolean {
    return this.#inode("lock") === fstatSync(this.#lock).ino;
  }

  /** Does another run's lock stand there? */
  get isTaken(): boolean {
    return this.#inode("lock") !== 0 && !this.isOurs;
  }

  /** Names of files that were removed or replaced since the last time that this was asked. */
  lost(): string[] {
    const lost = [...this.#inodes].filter(([name, inode]) => this.#inode(name) !== inode);
    for (const [name] of lost) this.#inodes.delete(name);
    return lost.map(([name]) => name);
  }
}
