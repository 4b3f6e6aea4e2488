// Tells at once when processes end that are not children of ours: workers that an earlier supervisor started. All of them
// are waited for in one poll() on a thread of libuv's pool.

import { close, eventfd, POLLIN, pidfdOpen, pollAsync, read, SystemError, write } from "../native/libc.js";

/** Milliseconds in the pool at a time: a process that ends because of an error waits for the pool's threads. */
const LONGEST_SLEEP = 1000;

interface Watched {
  readonly fd: number;
  readonly ended: () => void;
}

export class PidWatch {
  readonly #wake = eventfd();
  readonly #watched = new Set<Watched>();
  #running = false;
  #closed = false;

  /**
   * Calls `ended` once when the process has ended, at once if it has already. A zombie has ended.
   * @returns how to stop waiting
   */
  add(pid: number, ended: () => void): () => void {
    let fd: number;
    try {
      fd = pidfdOpen(pid);
    } catch (error) {
      if (!(error instanceof SystemError && error.code === "ESRCH")) throw error;
      const soon = setImmediate(ended);
      return () => clearImmediate(soon);
    }
    const watched = { fd, ended };
    this.#watched.add(watched);
    this.#change();
    return () => {
      if (this.#watched.delete(watched)) this.#change(fd);
    };
  }

  /** Descriptors are closed by the loop alone: poll() may be looking at them. */
  readonly #toClose: number[] = [];

  #change(fd?: number): void {
    if (fd !== undefined) this.#toClose.push(fd);
    if (this.#running) write(this.#wake, new BigUint64Array([1n]), 8);
    else void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (!this.#closed && this.#watched.size > 0) {
      const watched = [...this.#watched];
      const fds = Int32Array.from([this.#wake, ...watched.map(({ fd }) => fd)].flatMap((fd) => [fd, POLLIN]));
      await pollAsync(fds, fds.length / 2, LONGEST_SLEEP);
      if (fds[1] >>> 16 !== 0) read(this.#wake, new BigUint64Array(1), 8);
      for (const [i, one] of watched.entries()) {
        if (fds[2 * (i + 1) + 1] >>> 16 === 0 || !this.#watched.delete(one)) continue;
        this.#toClose.push(one.fd);
        one.ended();
      }
      for (const fd of this.#toClose.splice(0)) close(fd);
    }
    this.#running = false;
    for (const fd of this.#toClose.splice(0)) close(fd);
    if (this.#closed) close(this.#wake);
  }

  /** Waits for nobody any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#toClose.push(...[...this.#watched].map(({ fd }) => fd));
    this.#watched.clear();
    this.#change();
  }
}
