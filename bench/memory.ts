// memory: what do the processes of a gateway take, and what does each SA add? Two Vitas in a lab, of which the first gets
// thousands of CHILD_SAs through the socket, as charon's plugin installs them (test/load.ts); sizes are the kernel's.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { sleep } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { children, install, terminate } from "../test/load.js";
import { bytesPerSa, createGateways, type SaBytes } from "../test/load-lab.js";
import { count } from "./rounds.js";

export interface ProcessMemory {
  name: string;
  /** Resident, bytes: all; its own; of files (programs, libraries); of memory that it shares with others. */
  resident: number;
  own: number;
  files: number;
  shared: number;
}

export interface MemoryResult {
  bench: "memory";
  node: string;
  /** SAs that were installed, both directions counted. */
  sas: number;
  /** Before there was an SA, and with all of them. */
  idle: ProcessMemory[];
  loaded: ProcessMemory[];
  perSa: SaBytes & { total: number };
}

/** What the process takes once, not for each SA, it has taken when so many CHILD_SAs came and went. */
const WARM_UP = 1000;

function memoryOf(name: string, pid: number): ProcessMemory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const bytes = (field: string) =>
    1024 * Number(new RegExp(`^${field}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? 0);
  const [resident, own, files, shared] = ["VmRSS", "RssAnon", "RssFile", "RssShmem"].map(bytes);
  return { name, resident, own, files, shared };
}

/** @param childSas CHILD_SAs, which are two SAs each */
export async function measureMemory(childSas: number): Promise<MemoryResult> {
  return withLab("memory", async (lab) => {
    const { a } = await createGateways(lab);
    const processes = () => [
      memoryOf("supervisor", a.supervisor),
      ...a.vita.state().workers.map(({ pid }, i) => memoryOf(`worker ${i}`, pid)),
    ];
    const some = children(WARM_UP, 9);
    a.all(install(some, "a"));
    a.all(terminate(some, "a"));
    await sleep(500);
    const idle = processes();
    const before = a.memory();
    a.all(install(children(childSas), "a"));
    const sas = 2 * childSas;
    const perSa = bytesPerSa(before, a.memory(), sas, 2 * WARM_UP);
    const total = Object.values(perSa).reduce((sum, bytes) => sum + bytes, 0);
    const loaded = processes();
    return { bench: "memory", node: process.versions.node, sas, idle, loaded, perSa: { ...perSa, total } };
  });
}

const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function print({ sas, idle, loaded, perSa }: MemoryResult): void {
  console.log(`resident             without SAs   with ${sas}   (own, files, shared)`);
  for (const [i, { name, resident, own, files, shared }] of loaded.entries()) {
    const parts = [own, files, shared].map(megabytes).join(", ");
    console.log(
      `${name.padEnd(16)}${megabytes(idle[i].resident).padStart(16)}${megabytes(resident).padStart(13)}   (${parts})`,
    );
  }
  const parts = Object.entries(perSa).map(([name, bytes]) => `${name} ${Math.round(bytes)}`);
  console.log(`bytes an SA: ${parts.join(", ")}`);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { sas: { type: "string", default: "20000" }, json: { type: "boolean", default: false } },
  });
  const sas = count(values.sas, "sas", 60_000);
  if (sas < 4 * WARM_UP)
    throw new Error(`--sas ${sas}: at least ${4 * WARM_UP}, for what one SA adds to be seen`);
  const result = await measureMemory(Math.ceil(sas / 2));
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
}
