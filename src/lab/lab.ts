// A lab: namespaces with a prefix of their own, the processes started in them, and a directory for their files. It is
// always taken down as a whole, in order; and if its owner was killed before it could, the next lab of the same name
// finds the remains and removes them.
//
// Labs of one name that live at the same time (two shells, two test runs) get places of their own: `demo`, `demo2`, …
// The owner file of a place names the process that has it; a place whose owner is gone is free to be cleaned.

import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { RunDirectory } from "../gateway/run-directory.js";
import { createNamespace, deleteNamespace, listNamespaces } from "./netns.js";
import { Child, type ChildOptions } from "./process.js";

const base = "/run/vita-lab";
const places = 16;
/** Folder of a lab's directory in which its Vitas have their run directories. */
export const runFolder = "run";

/** A pid together with the time its process began: a pid alone is given out again. */
function identity(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Field 22, counted behind the command, which may hold spaces. A zombie holds nothing any more.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : `${pid} ${fields[19]}`;
  } catch {
    return undefined;
  }
}

function ownerIsAlive(ownerFile: string): boolean {
  try {
    const owner = readFileSync(ownerFile, "utf8");
    return identity(Number.parseInt(owner, 10)) === owner;
  } catch {
    return false;
  }
}

function ownerFileOf(place: string): string {
  return join(base, `${place}.owner`);
}

/** Makes a place ours, unless another living process has it. */
function take(place: string): boolean {
  const ownerFile = ownerFileOf(place);
  const mine = `${ownerFile}.${process.pid}`;
  writeFileSync(mine, identity(process.pid) ?? "");
  try {
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        // Of several that link at once, one succeeds.
        linkSync(mine, ownerFile);
        return true;
      } catch {
        if (ownerIsAlive(ownerFile)) return false;
        // And of several that rename the dead owner's file, too.
        const grave = `${mine}.dead`;
        try {
          renameSync(ownerFile, grave);
          rmSync(grave);
        } catch {
          // Another one was faster.
        }
      }
    }
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}

function release(place: string): void {
  rmSync(ownerFileOf(place), { force: true });
}

/** Removes namespaces, processes in them, and files of a place: a lab's own, or those a killed one left behind. */
async function clear(place: string): Promise<void> {
  const names = (await listNamespaces()).filter((name) => name.startsWith(`vita-${place}-`));
  await Promise.all(names.map(deleteNamespace));
  const directory = join(base, place);
  // A Vita that was killed leaves shared memory behind, which may live outside of its run directory.
  const nodes = join(directory, runFolder);
  if (existsSync(nodes)) for (const node of readdirSync(nodes)) new RunDirectory(node, nodes).remove();
  rmSync(directory, { recursive: true, force: true });
}

/** Clears every place, of whatever name, whose owner is gone: nothing of a killed lab stays for ever. */
async function clearAbandoned(): Promise<void> {
  const owned = readdirSync(base).filter((file) => file.endsWith(".owner"));
  for (const place of owned.map((file) => file.slice(0, -".owner".length))) {
    if (ownerIsAlive(ownerFileOf(place)) || !take(place)) continue;
    await clear(place);
    release(place);
  }
}

/** Takes the first free place of a name, and cleans those whose owners are gone. */
async function takePlace(name: string): Promise<string> {
  mkdirSync(base, { recursive: true, mode: 0o700 });
  await clearAbandoned();
  for (let i = 1; i <= places; i++) {
    const place = i === 1 ? name : `${name}${i}`;
    if (!take(place)) continue;
    // What a lab without an owner's file may have left.
    await clear(place);
    return place;
  }
  throw new Error(`${places} labs called "${name}" are running already (see ${base})`);
}

export class Lab {
  /** `vita-demo`: every namespace of the lab is called `vita-demo-…`. */
  readonly prefix: string;
  /** Holds the files of the lab; removed with it. */
  readonly directory: string;
  readonly #place: string;
  readonly #children: Child[] = [];
  #closing: Promise<void> | undefined;

  private constructor(place: string) {
    this.prefix = `vita-${place}`;
    this.directory = join(base, place);
    this.#place = place;
  }

  /** Begins a lab; `name` is one word of letters. Needs root. */
  static async open(name: string): Promise<Lab> {
    if (process.getuid?.() !== 0) throw new Error("network namespaces need root: run this as root");
    if (!/^[a-z]+$/.test(name)) throw new Error(`lab name "${name}": one word of small letters, please`);
    const lab = new Lab(await takePlace(name));
    mkdirSync(lab.directory, { recursive: true, mode: 0o700 });
    return lab;
  }

  /** The full name of one of the lab's namespaces. */
  name(short: string): string {
    return `${this.prefix}-${short}`;
  }

  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** Creates a namespace and returns its full name. */
  async namespace(short: string): Promise<string> {
    const name = this.name(short);
    await createNamespace(name);
    return name;
  }

  /** Starts a process that the lab stops when it closes. The log is `<name>.log` in the lab's directory. */
  start(command: string, args: string[], options: Omit<ChildOptions, "log"> & { log?: string }): Child {
    if (this.#closing) throw new Error(`${options.name} cannot start: the lab is closing`);
    const child = new Child(command, args, { log: this.path(`${options.name}.log`), ...options });
    this.#children.push(child);
    return child;
  }

  /** Stops every process, last started first, and removes everything. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const child of this.#children.reverse()) await child.stop();
    await clear(this.#place);
    release(this.#place);
  }
}

/** Runs `use` in a fresh lab and takes it down again, whatever happens. */
export async function withLab<T>(name: string, use: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await Lab.open(name);
  try {
    return await use(lab);
  } finally {
    await lab.close();
  }
}
