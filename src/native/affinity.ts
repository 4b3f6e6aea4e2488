// On which processors this process runs.

import koffi from "koffi";
import { check } from "./libc.js";

const libc = koffi.load("libc.so.6");
const setAffinity = libc.func("int sched_setaffinity(int pid, size_t size, void *mask)");
const getAffinity = libc.func("int sched_getaffinity(int pid, size_t size, void *mask)");

/** 1,024 processors, what libc's cpu_set_t has. */
const MASK_BYTES = 128;

/** The processors that this process may use, as numbers. */
export function usableCores(): number[] {
  const mask = new Uint8Array(MASK_BYTES);
  check(getAffinity(0, MASK_BYTES, mask), "sched_getaffinity");
  return Array.from({ length: 8 * MASK_BYTES }, (_, core) => core).filter(
    (core) => (mask[core >>> 3] >>> (core & 7)) & 1,
  );
}

/** Ties this thread, and those that it starts from now on, to one processor. */
export function pinToCore(core: number): void {
  tieTo(0, [core]);
}

/**
 * Ties a thread to some processors.
 * @param thread its number; that of a process is its first thread's; 0 is this thread
 * @throws SystemError ESRCH when there is none, EINVAL when there is none of these processors
 */
export function tieTo(thread: number, cores: readonly number[]): void {
  const mask = new Uint8Array(MASK_BYTES);
  for (const core of cores) mask[core >>> 3] |= 1 << (core & 7);
  check(setAffinity(thread, MASK_BYTES, mask), `running on processor ${cores.join(", ")} alone`);
}
