// What the processes of a node cost, by the kernel's own account.

import { readdirSync, readFileSync } from "node:fs";
import { run, sleep } from "./command.js";

export type NodeProcess = "supervisor" | "worker" | "spare";

/** The processes of the one node that runs in a namespace, with one worker. */
export async function nodeProcesses(namespace: string): Promise<Map<NodeProcess, number>> {
  const { stdout } = await run("ip", ["netns", "pids", namespace]);
  const found = new Map<NodeProcess, number>();
  for (const pid of stdout.split("\n").filter(Boolean).map(Number)) {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    if (words.some((word) => word.endsWith("/vita.js"))) found.set("supervisor", pid);
    else if (words.some((word) => word.endsWith("/worker-main.js")))
      found.set(words.includes("spare") ? "spare" : "worker", pid);
  }
  return found;
}

/** Nanoseconds of CPU time that a process has had, over all its threads. */
export function cpuTime(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  return total;
}

/** Times that a process' first thread went to sleep of its own accord. */
export function sleeps(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
}

/** Percent of one core that each process of a node takes. */
export async function cpuShares(
  namespace: string,
  milliseconds: number,
): Promise<Record<NodeProcess, number>> {
  const processes = await nodeProcesses(namespace);
  const before = new Map([...processes].map(([name, pid]) => [name, cpuTime(pid)]));
  const start = performance.now();
  await sleep(milliseconds);
  const elapsed = (performance.now() - start) * 1e6;
  const share = { supervisor: 0, worker: 0, spare: 0 };
  for (const [name, pid] of processes)
    share[name] = (100 * (cpuTime(pid) - (before.get(name) ?? 0))) / elapsed;
  return share;
}
