// TUN: the gateway's own host as the private side. What the kernel routes to the device comes in here, and what is
// transmitted here arrives at the host. The device is persistent: the supervisor makes it and sets its routes, and both
// outlive the worker that reads from it.

import { constants } from "node:os";
import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { FRAME_SIZE, type Frames, HEADROOM, NONE } from "../memory/frames.js";
import {
  close,
  errno,
  ioctl,
  open,
  POLLIN,
  readv,
  SOCK_NONBLOCK,
  SystemError,
  writev,
} from "../native/libc.js";
import { driver, interfaceRequest, isRunning, setMtu, setQueueLength } from "./device.js";
import { IoVectors } from "./iovec.js";
import { hasCode, patiently } from "./patience.js";
import { type Port, type PortOptions, portCounters, received, TAILROOM, type Waiting } from "./port.js";

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TUN = 0x0001;
/** Several may have the device open, each with a queue of its own: the kernel keeps the packets of a flow on one of them. */
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const O_RDWR = 2;

/** Packets that may wait in the device for the worker. */
const QUEUE_LENGTH = 2048;

/** The largest packet that the port receives, bytes; a larger MTU makes no sense. */
export const TUN_LARGEST = FRAME_SIZE - HEADROOM - TAILROOM;

const texts = {
  ...portCounters,
  "drop.tx_full": "packets that the kernel had no room for",
  "drop.tx_refused": "packets that the kernel refused: the device is down, or they are not IP",
};
const c = counterIndex(texts);
const { EAGAIN, ENOBUFS, ENOMEM } = constants.errno;
/** What a descriptor of a deleted device gives ("file descriptor in bad state"); node has no name for it. */
const EBADFD = 77;

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
    new DataView(ifreq.buffer).setUint16(16, IFF_TUN | IFF_NO_PI | (isShared ? IFF_MULTI_QUEUE : 0), true);
    ioctl(fd, TUNSETIFF, ifreq, `TUN device ${name}`);
    return fd;
  } catch (error) {
    close(fd);
    if (error instanceof SystemError && error.code === "EPERM")
      throw new Error(`${error.message}: needs root, or the capability CAP_NET_ADMIN`, { cause: error });
    throw error;
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

export interface TunPortOptions extends PortOptions {
  /** The TUN device; default: the port's name. */
  readonly device?: string;
  /** Whether other workers have the device open too; default: no. */
  readonly isShared?: boolean;
}

export class TunPort implements Port {
  readonly name: string;
  readonly kind = "ip";
  readonly device: string;
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #output: Link;
  readonly #number: number;
  readonly #fd: number;
  readonly #vector: IoVectors;
  readonly #waiting: readonly Waiting[];
  /** A frame that no packet came for yet. */
  #spare = NONE;

  /** @throws Error when there is no such TUN device; EBUSY when another process has it for longer than a second */
  constructor(context: AppContext, options: TunPortOptions) {
    this.name = options.name;
    this.device = options.device ?? options.name;
    this.#frames = context.frames;
    this.#counters = context.counters(options.name, texts);
    this.#output = options.output;
    this.#number = options.number;
    if (!isThere(this.device)) throw new Error(`there is no TUN device ${this.device}`);
    this.#fd = patiently(["EBUSY"], () => attach(this.device, options.isShared ?? false));
    this.#vector = new IoVectors(context.frames.region, 1);
    this.#waiting = [{ fd: this.#fd, events: POLLIN }];
    this.sink = { input: new Link(context.frames), push: () => this.#push() };
  }

  #pull(max: number): number {
    const frames = this.#frames;
    let count = 0;
    let packets = 0;
    let bytes = 0;
    let frame = this.#spare;
    for (; count < max; count++) {
      if (frame === NONE) {
        frame = frames.allocate();
        if (frame === NONE) break; // The packets wait in the device.
      }
      const offset = frames.offset[frame];
      // One byte more than allowed tells a packet that is too long from the longest.
      this.#vector.set(0, offset, TUN_LARGEST + 1);
      const length = readv(this.#fd, this.#vector.address, 1);
      if (length <= 0) {
        if (count === 0 && errno() === EBADFD) throw new Error(`the TUN device ${this.device} is gone`);
        break;
      }
      if (length > TUN_LARGEST) {
        this.#counters[c["drop.oversize"]]++;
        continue;
      }
      received(frames, frame, offset, length, this.#number);
      packets++;
      bytes += length;
      this.#output.transmit(frame);
      frame = NONE;
    }
    this.#spare = frame;
    this.#counters[c["rx.packets"]] += packets;
    this.#counters[c["rx.bytes"]] += bytes;
    return count;
  }

  #push(): void {
    const frames = this.#frames;
    const input = this.sink.input;
    while (input.readable > 0) {
      const frame = input.receive();
      const length = frames.length[frame];
      this.#vector.set(0, frames.offset[frame], length);
      if (writev(this.#fd, this.#vector.address, 1) >= 0) {
        this.#counters[c["tx.packets"]]++;
        this.#counters[c["tx.bytes"]] += length;
      } else {
        const error = errno();
        const full = error === EAGAIN || error === ENOBUFS || error === ENOMEM;
        this.#counters[full ? c["drop.tx_full"] : c["drop.tx_refused"]]++;
      }
      frames.free(frame);
    }
  }

  waiting(): readonly Waiting[] {
    return this.#waiting;
  }

  close(): void {
    close(this.#fd);
    this.#vector.unmap();
    if (this.#spare !== NONE) this.#frames.free(this.#spare);
    this.#spare = NONE;
  }
}
