// TUN devices: they are made, found, and deleted here; tun-port.ts moves packets through them. A device is persistent: the
// supervisor makes it and sets its routes, and both outlive the worker that reads from it.

import { constants } from "node:os";
import { FRAME_SIZE, HEADROOM } from "../memory/frames.js";
import { close, ioctl, open, SOCK_NONBLOCK, SystemError } from "../native/libc.js";
import { driver, interfaceRequest, isRunning, setMtu, setQueueLength } from "./device.js";
import { hasCode, patiently } from "./patience.js";
import { TAILROOM } from "./port.js";
import { VIRTIO_BYTES } from "./virtio-header.js";

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TUN = 0x0001;
/** Several may have the device open, each with a queue of its own: the kernel keeps the packets of a flow on one of them. */
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
/** A virtio header stands in front of each packet. */
const IFF_VNET_HDR = 0x4000;
const O_RDWR = 2;

// What the device may leave to its reader: checksums, and cutting into segments; of UDP since Linux 6.2.
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const OF_TCP = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
const OF_UDP = TUN_F_USO4 | TUN_F_USO6;

/** Packets that may wait in the device for the worker. */
const QUEUE_LENGTH = 2048;

/** The largest packet that the port receives, bytes; a larger MTU makes no sense. */
export const TUN_LARGEST = FRAME_SIZE - HEADROOM - TAILROOM;

/**
 * A descriptor of the device, which is made if there is none.
 * @param isShared several workers have it open at a time
 * @throws SystemError EINVAL when it was made for the other case
 */
function attach(name: string, isShared: boolean): number {
  let fd: number;
  try {
    fd = open("/dev/net/tun", O_RDWR | SOCK_NONBLOCK);
  } catch (error) {
    if (error instanceof SystemError && (error.code === "ENOENT" || error.code === "ENODEV"))
      throw new Error(`${error.message}: load the kernel module (modprobe tun)`, { cause: error });
    throw error;
  }
  try {
    const ifreq = interfaceRequest(name);
    const flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (isShared ? IFF_MULTI_QUEUE : 0);
    new DataView(ifreq.buffer).setUint16(16, flags, true);
    ioctl(fd, TUNSETIFF, ifreq, `TUN device ${name}`);
    // The program that made the device may have chosen a longer one.
    const headerSize = new Uint8Array(Int32Array.of(VIRTIO_BYTES).buffer);
    ioctl(fd, TUNSETVNETHDRSZ, headerSize, `headers of the TUN device ${name}`);
    return fd;
  } catch (error) {
    close(fd);
    if (error instanceof SystemError && error.code === "EPERM")
      throw new Error(`${error.message}: needs root, or the capability CAP_NET_ADMIN`, { cause: error });
    throw error;
  }
}

/**
 * Opens the device for its reader, which takes over from the kernel what a network card would do.
 * @param isShared whether other workers have the device open too
 * @returns a descriptor, and whether the kernel hands over UDP that is to be segmented, and takes such
 * @throws Error when there is no such TUN device; EBUSY when another process has it for longer than a second
 */
export function openTun(name: string, isShared: boolean): { fd: number; segmentsUdp: boolean } {
  if (!isThere(name)) throw new Error(`there is no TUN device ${name}`);
  const fd = patiently(["EBUSY"], () => attach(name, isShared));
  const offload = (flags: number) =>
    ioctl(fd, TUNSETOFFLOAD, BigInt(flags), `offloads of the TUN device ${name}`);
  try {
    offload(OF_TCP | OF_UDP);
    return { fd, segmentsUdp: true };
  } catch {
    try {
      offload(OF_TCP);
      return { fd, segmentsUdp: false };
    } catch (error) {
      close(fd);
      throw error;
    }
  }
}

/** @returns whether the device is there */
function isThere(name: string): boolean {
  const device = driver(name);
  if (!device) return false;
  if (device.name !== "tun" || device.bus !== "tun")
    throw new Error(
      `${name} exists and is not a TUN device (its driver is ${device.bus || device.name || "unknown"}): ` +
        "choose another name, or delete it",
    );
  return true;
}

function persist(fd: number, name: string, on: boolean): void {
  ioctl(fd, TUNSETPERSIST, BigInt(on), `keeping the TUN device ${name}`);
}

/** A descriptor of a device that is there, whichever it was made for. */
function attachAny(name: string): number {
  try {
    return attach(name, false);
  } catch (error) {
    if (!hasCode(error, ["EINVAL"])) throw error;
    return attach(name, true);
  }
}

/** Was the device made for several workers? */
function isShared(name: string): boolean {
  try {
    close(attach(name, false));
    return false;
  } catch (error) {
    return hasCode(error, ["EINVAL"]);
  }
}

/**
 * Makes the TUN device, or takes over the one that stands there, in use or not, and sets its MTU.
 * @param shared whether several workers are to have it open
 * @throws Error when a device of that name is something else
 */
export function createTun(name: string, mtu: number, shared: boolean): void {
  if (isThere(name) && isShared(name) !== shared) deleteTun(name);
  if (!isThere(name)) {
    const fd = attach(name, shared);
    try {
      persist(fd, name, true);
    } finally {
      close(fd);
    }
  }
  setMtu(name, mtu);
  setQueueLength(name, QUEUE_LENGTH);
}

/**
 * Looks whether the TUN device, if there is one of that name, is somebody else's at work.
 * @throws Error when another process has it open, or when it is something else
 */
export function refuseUsedTun(name: string): void {
  if (!isThere(name)) return;
  try {
    // A worker that has just been killed may hold it for a moment.
    patiently(["EBUSY"], () => {
      // One for several can be opened once more at any time, but it has a carrier only while it is open.
      if (isShared(name) && isRunning(name))
        throw new SystemError(`TUN device ${name}`, constants.errno.EBUSY);
      close(attachAny(name));
    });
  } catch (error) {
    if (!hasCode(error, ["EBUSY"])) throw error;
    throw new Error(
      `the TUN device ${name} is in use by another program, or by another node: choose another name`,
      { cause: error },
    );
  }
}

/**
 * Deletes the TUN device; none of that name is no error. One for several workers goes when the last of them has closed it.
 * @throws Error when it is something else, SystemError EBUSY while the worker has it
 */
export function deleteTun(name: string): void {
  if (!isThere(name)) return;
  const fd = patiently(["EBUSY"], () => attachAny(name));
  try {
    persist(fd, name, false);
  } finally {
    close(fd);
  }
}
