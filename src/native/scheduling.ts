// How the kernel schedules this thread (sched(7)).

import koffi from "koffi";

const libc = koffi.load("libc.so.6");

export const SCHED_OTHER = 0;
/** As SCHED_OTHER, but who wakes up takes the processor from nobody. */
export const SCHED_BATCH = 3;

/** int sched_getscheduler(0 for this thread): a policy — data path. */
export const sched_getscheduler: (pid: number) => number = libc.func("int sched_getscheduler(int pid)");
/** int sched_setscheduler(0 for this thread, policy, struct sched_param) — data path. */
export const sched_setscheduler: (pid: number, policy: number, parameters: Int32Array) => number = libc.func(
  "int sched_setscheduler(int pid, int policy, void *param)",
);
