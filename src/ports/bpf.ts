// bpf(2) as the XDP port uses it: maps, programs, links, test runs. Set-up and control only. Numbers and offsets are
// those of `union bpf_attr` in linux/bpf.h.

import { bpf, close, SystemError } from "../native/libc.js";
import { fetch, place } from "./scratch.js";

const MAP_CREATE = 0;
const MAP_UPDATE_ELEM = 2;
const MAP_DELETE_ELEM = 3;
const PROG_LOAD = 5;
const PROG_TEST_RUN = 10;
const PROG_GET_FD_BY_ID = 13;
const OBJ_GET_INFO_BY_FD = 15;
const LINK_CREATE = 28;

export const MAP_TYPE_HASH = 1;
export const MAP_TYPE_ARRAY = 2;
export const MAP_TYPE_XSKMAP = 17;
const PROG_TYPE_XDP = 6;
const ATTACH_TYPE_XDP = 37;

export const HELPER_MAP_LOOKUP = 1;
export const HELPER_REDIRECT_MAP = 51;

export const XDP_DROP = 1;
export const XDP_PASS = 2;

export const XDP_GENERIC = 2;
export const XDP_NATIVE = 4;

const NAME_BYTES = 15;
const LOG_BYTES = 256 << 10;

class Attribute {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }
  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }
  u64(offset: number, value: bigint): this {
    this.#view.setBigUint64(offset, value, true);
    return this;
  }
  text(offset: number, text: string): this {
    this.bytes.set(Buffer.from(text.slice(0, NAME_BYTES), "latin1"), offset);
    return this;
  }
  getU32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }
}

const PRIVILEGES = "needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN";

/** Adds what to do to the errors that a user can do something about. */
function call(command: number, attribute: Attribute, what: string): number {
  try {
    return bpf(command, attribute.bytes, what);
  } catch (error) {
    if (error instanceof SystemError && error.code === "EPERM")
      throw new Error(`${error.message}: ${PRIVILEGES}`, { cause: error });
    throw error;
  }
}

/** Makes a map. @returns its descriptor */
export function createMap(
  name: string,
  type: number,
  keySize: number,
  valueSize: number,
  entries: number,
): number {
  const attribute = new Attribute(72).u32(0, type).u32(4, keySize).u32(8, valueSize).u32(12, entries);
  return call(MAP_CREATE, attribute.text(28, name), `creating the BPF map ${name}`);
}

/** A map; closing it does not take it away from programs that use it, nor from other processes. */
export class BpfMap {
  readonly #name: string;

  constructor(
    name: string,
    readonly fd: number,
  ) {
    this.#name = name;
  }

  set(key: Uint8Array, value: Uint8Array): void {
    const [keyAt, valueAt] = place(key, value);
    const attribute = new Attribute(32).u32(0, this.fd).u64(8, keyAt).u64(16, valueAt);
    call(MAP_UPDATE_ELEM, attribute, `writing to the BPF map ${this.#name}`);
  }

  /** Deleting what is not there is no error. */
  delete(key: Uint8Array): void {
    const [keyAt] = place(key);
    try {
      const attribute = new Attribute(32).u32(0, this.fd).u64(8, keyAt);
      call(MAP_DELETE_ELEM, attribute, `deleting from the BPF map ${this.#name}`);
    } catch (error) {
      if (!(error instanceof SystemError && error.code === "ENOENT")) throw error;
    }
  }

  close(): void {
    close(this.fd);
  }
}

/**
 * Loads an XDP program and returns its descriptor.
 * @throws an Error that ends with the last lines of the verifier's log, when the kernel has refused the instructions
 */
export function loadXdpProgram(name: string, instructions: Uint8Array): number {
  const [code, license] = place(instructions, Buffer.from("Apache-2.0\0", "latin1"));
  const attribute = new Attribute(128)
    .u32(0, PROG_TYPE_XDP)
    .u32(4, instructions.length / 8)
    .u64(8, code)
    .u64(16, license)
    .text(48, name);
  try {
    return call(PROG_LOAD, attribute, `loading the XDP program ${name}`);
  } catch (error) {
    const refused = error instanceof SystemError && (error.code === "EINVAL" || error.code === "EACCES");
    if (!refused) throw error;
    const log = verifierLog(attribute, instructions);
    throw new Error(`${error.message}; the verifier says:\n${log}`, { cause: error });
  }
}

/** Loads once more with the log on; it is off at first because a log that is too small would fail the load. */
function verifierLog(attribute: Attribute, instructions: Uint8Array): string {
  const [, , log] = place(instructions, Buffer.from("Apache-2.0\0", "latin1"), new Uint8Array(LOG_BYTES));
  attribute.u32(24, 1).u32(28, LOG_BYTES).u64(32, log);
  try {
    close(bpf(PROG_LOAD, attribute.bytes, "verifier log"));
  } catch {
    // Refused again, which is what the log is about.
  }
  const text = fetch(log, LOG_BYTES);
  const end = text.indexOf(0);
  const lines = Buffer.from(text.subarray(0, end < 0 ? LOG_BYTES : end))
    .toString("latin1")
    .trimEnd()
    .split("\n");
  return lines.slice(-12).join("\n");
}

/**
 * Attaches an XDP program and returns the link's descriptor. The program is detached when that is closed, and so at the
 * latest with this process.
 * @param flags XDP_NATIVE or XDP_GENERIC
 * @throws SystemError
 */
export function attachXdp(program: number, interfaceIndex: number, flags: number, what: string): number {
  const attribute = new Attribute(64)
    .u32(0, program)
    .u32(4, interfaceIndex)
    .u32(8, ATTACH_TYPE_XDP)
    .u32(12, flags);
  return call(LINK_CREATE, attribute, what);
}

/**
 * The name that a loaded program was given, perhaps none.
 * @throws SystemError when it has gone
 */
export function programName(id: number): string {
  const INFO_BYTES = 256;
  const NAME = 64;
  const program = call(PROG_GET_FD_BY_ID, new Attribute(16).u32(0, id), `looking at XDP program ${id}`);
  try {
    const [info] = place(new Uint8Array(INFO_BYTES));
    const attribute = new Attribute(16).u32(0, program).u32(4, INFO_BYTES).u64(8, info);
    call(OBJ_GET_INFO_BY_FD, attribute, `looking at XDP program ${id}`);
    const name = Buffer.from(fetch(info, INFO_BYTES)).toString("latin1", NAME, NAME + NAME_BYTES);
    return name.split("\0")[0];
  } finally {
    close(program);
  }
}

/**
 * Runs an XDP program over a packet, without a device.
 * @param packet at least 14 bytes, the kernel wants an Ethernet header
 * @returns the verdict, XDP_PASS and so on
 */
export function runXdp(program: number, packet: Uint8Array): number {
  const [input] = place(packet);
  const attribute = new Attribute(80).u32(0, program).u32(8, packet.length).u64(16, input).u32(32, 1);
  call(PROG_TEST_RUN, attribute, "running the XDP program");
  return attribute.getU32(4);
}
