// Which node has which interface. Two nodes on one interface would each take some of its packets, or both of them all, and
// nothing would say so: AF_PACKET gives everybody everything.
//
// Who has an interface binds abstract UNIX sockets with its name. They are there for a network namespace, whatever files its
// processes see, and the kernel frees them with the process, however that ends:
//
//   vita/IF                    a supervisor that begins or runs: there can be only one
//   vita/IF/NODE/RUN/node/PID  the same, with its name. RUN tells nodes of one name in different run directories apart
//   vita/IF/NODE/RUN/work/PID  a worker that has its ports open: it goes on when its supervisor dies
//
// What a node's own processes have is in no supervisor's way. Nor is a socket of another user's: anybody can bind any name.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import type { Configuration } from "../config/configuration.js";
import { refusal } from "../config/refusal.js";
import { entryAt } from "../config/tell.js";
import { AF_UNIX, bind, close, SOCK_DGRAM, SystemError, socket } from "../native/libc.js";
import type { RunDirectory } from "./run-directory.js";

interface Holder {
  readonly node: string;
  readonly run: string;
  readonly role: string;
  /** As it sees itself. */
  readonly pid: string;
  readonly inode: string;
}

/** A supervisor's. */
export class InterfaceClaims {
  readonly #run: RunDirectory;
  /** Descriptors by interface. */
  readonly #open = new Map<string, number[]>();

  constructor(run: RunDirectory) {
    this.#run = run;
  }

  /**
   * Claims the interfaces of a configuration that are not claimed yet.
   * @throws ConfigurationError that names the node which has one; no more is claimed then than before
   */
  claim(configuration: Configuration): void {
    const fresh = interfacesOf(configuration).filter(({ name }) => !this.#open.has(name));
    // In one order, so that of two that begin at the same time one gets all that it wants.
    fresh.sort((a, b) => (a.name < b.name ? -1 : 1));
    try {
      for (const each of fresh) this.#claim(each);
    } catch (error) {
      for (const { name } of fresh) this.#release(name);
      throw error;
    }
  }

  #claim({ name, at }: Interface): void {
    const open = bindFreely(nameOf(name, this.#run, "node"));
    const only = bindFreely(`vita/${name}`);
    this.#open.set(name, [...open, ...only]);
    // Where nobody else is about to begin, there may still be workers without a supervisor.
    const others = holdersOf(name)
      .filter(({ node, run }) => node !== this.#run.node || run !== tagOf(this.#run))
      .filter(({ role, inode }) => (role === "work" || only.length === 0) && !isStrangers(inode));
    if (others.length === 0) return;
    const supervisor = others.find(({ role }) => role === "node");
    const { node, pid } = supervisor ?? others[0];
    const message = supervisor
      ? `is in use by node ${node} (process ${pid}): an interface is for one node at a time`
      : `is in use by node ${node}, whose workers go on without it (process ${pid}): start and stop that node, or end them`;
    throw refusal("in-use", message, at);
  }

  /** Gives up what a configuration does not have. */
  keep(configuration: Configuration): void {
    const names = new Set(interfacesOf(configuration).map(({ name }) => name));
    for (const name of [...this.#open.keys()]) if (!names.has(name)) this.#release(name);
  }

  close(): void {
    for (const name of [...this.#open.keys()]) this.#release(name);
  }

  #release(name: string): void {
    for (const fd of this.#open.get(name) ?? []) close(fd);
    this.#open.delete(name);
  }
}

/** For a worker that opens its ports: says so until the process ends. */
export function announceInterfaces(run: RunDirectory, configuration: Configuration): void {
  for (const { name } of interfacesOf(configuration)) bindFreely(nameOf(name, run, "work"));
}

interface Interface {
  readonly name: string;
  /** Where it stands in the configuration. */
  readonly at: string;
}

function interfacesOf(configuration: Configuration): Interface[] {
  return (["public-interface", "private-interface"] as const).flatMap((side) =>
    configuration[side].flatMap((leaves) => {
      const at = entryAt(side, "name", leaves.name);
      const punt = "punt" in leaves && leaves.mode === "owned" ? leaves.punt : undefined;
      return [{ name: leaves.name, at }, ...(punt ? [{ name: punt.device, at: `${at}/punt/device` }] : [])];
    }),
  );
}

const tagOf = ({ base }: RunDirectory) => createHash("sha256").update(base).digest("hex").slice(0, 8);

/** At most 106 bytes, and 107 are all that an address has room for. */
const nameOf = (name: string, run: RunDirectory, role: "node" | "work") =>
  `vita/${name}/${run.node}/${tagOf(run)}/${role}/${process.pid}`;

/** Binds a socket; none when somebody has the name. */
function bindFreely(name: string): number[] {
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0, "socket of an interface");
  try {
    const bytes = Buffer.from(`\0${name}`);
    bind(fd, Buffer.concat([Uint8Array.of(AF_UNIX, 0), bytes]), `claiming ${name}`);
    return [fd];
  } catch (error) {
    close(fd);
    if (error instanceof SystemError && error.code === "EADDRINUSE") return [];
    throw error;
  }
}

/** Who says to have an interface, in this network namespace. */
function holdersOf(name: string): Holder[] {
  return readFileSync("/proc/self/net/unix", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, inode, path = ""] = /\s(\d+) @(\S+)$/.exec(line) ?? [];
      const [vita, device, node, run, role, pid] = path.split("/");
      return vita === "vita" && device === name && pid !== undefined ? [{ node, run, role, pid, inode }] : [];
    });
}

/** Does another user have this socket? What nobody is found to have is in another process namespace, or its end is near. */
function isStrangers(inode: string): boolean {
  const own = process.geteuid?.();
  let stranger = false;
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid) || !hasOpen(pid, `socket:[${inode}]`)) continue;
    try {
      if (statSync(`/proc/${pid}`).uid === own) return false;
      stranger = true;
    } catch {
      // It has ended.
    }
  }
  return stranger;
}

function hasOpen(pid: string, what: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`) === what);
  } catch {
    return false;
  }
}
