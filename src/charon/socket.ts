// UNIX SOCK_SEQPACKET sockets at a path: to listen (the service), to connect (a client), and who the peer is. Node has
// no such sockets, so these are plain descriptors of libc.

import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import {
  AF_UNIX,
  bind,
  close,
  connect,
  getsockopt,
  listen,
  SO_PEERCRED,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
  SystemError,
  socket,
} from "../native/libc.js";

/** Bytes of `sun_path`, the terminating zero included. */
const PATH_SIZE = 108;

function unixAddress(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length === 0 || bytes.length >= PATH_SIZE || bytes.includes(0)) {
    throw new Error(`socket path "${path}" must have 1 to ${PATH_SIZE - 1} bytes and no zero byte`);
  }
  const address = new Uint8Array(2 + PATH_SIZE);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, 2);
  return address;
}

/**
 * Connects without waiting.
 * @returns a descriptor; non-blocking unless asked otherwise
 * @throws SystemError
 */
export function connectTo(path: string, blocking = false): number {
  const fd = socket(AF_UNIX, SOCK_SEQPACKET | (blocking ? 0 : SOCK_NONBLOCK), 0);
  try {
    connect(fd, unixAddress(path), `connect ${path}`);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** What is at a path where somebody wants to listen. */
function occupant(path: string): "nothing" | "stale" | "live" | "other" {
  try {
    if (!lstatSync(path).isSocket()) return "other";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "nothing";
    throw error;
  }
  try {
    close(connectTo(path));
    return "live";
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === "ECONNREFUSED") return "stale";
    // It went away meanwhile; or it is busy, or of another type: then somebody listens.
    return error.code === "ENOENT" ? "nothing" : "live";
  }
}

/**
 * Listens at `path`, for the owner only (mode 0600). The socket file of a run that crashed is removed first.
 * @throws when somebody listens there already, or the path is something else
 */
export function listenAt(path: string): number {
  const address = unixAddress(path);
  const found = occupant(path);
  if (found === "live") {
    throw new Error(`${path}: somebody listens there already; is another vita running for this node?`);
  }
  if (found === "other")
    throw new Error(`${path}: exists and is not a socket; remove it or choose another path`);
  if (found === "stale") unlinkSync(path);
  const fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
  // The file must not be open to others even for a moment.
  const mask = process.umask(0o177);
  try {
    bind(fd, address, `bind ${path}`);
    chmodSync(path, 0o600);
    listen(fd, 64);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  } finally {
    process.umask(mask);
  }
}

export interface Peer {
  pid: number;
  uid: number;
}

/** Who made a connection, as the kernel knows it. */
export function peerOf(fd: number): Peer {
  const credentials = new Int32Array(3);
  getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, "SO_PEERCRED");
  return { pid: credentials[0], uid: credentials[1] >>> 0 };
}
