// An AF_XDP socket: one receive queue of one device, four rings, packets in the workers' frame memory.
//
//   fill ring        frames that the kernel may receive into    (we produce)
//   receive ring     frames with packets                        (the kernel produces)
//   transmit ring    frames with packets to send                (we produce)
//   completion ring  frames that have been sent                 (the kernel produces)
//
// Several workers have a socket each on the same queue. They have receive and transmit rings of their own there, but only
// one fill and one completion ring among them, those of the first.
//
// The frame memory is registered with the kernel (as UMEM) by the first socket; those that follow, on whatever device and
// queue, share the registration. The kernel ties a registration to copying or to zero-copy, so that a worker with both kinds
// of devices registers its memory twice, which is allowed and costs nothing but the accounting of locked memory.

import type { Frames } from "../memory/frames.js";
import { FRAME_SIZE } from "../memory/frames.js";
import {
  AF_XDP,
  bind,
  close,
  getsockopt,
  SOCK_RAW,
  SOL_SOCKET,
  SystemError,
  setsockopt,
  socket,
} from "../native/libc.js";
import { type RingOffsets, XdpRing } from "./xdp-ring.js";

const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_STATISTICS = 7;
const XDP_OPTIONS = 8;
const XDP_MAX_TX_SKB_BUDGET = 9;

const OPTION_ZERO_COPY = 1;

const BIND_SHARED_UMEM = 1;
const BIND_COPY = 2;
const BIND_ZERO_COPY = 4;
const BIND_NEED_WAKEUP = 8;

const PAGE_RX = 0;
const PAGE_TX = 0x8000_0000;
const PAGE_FILL = 0x1_0000_0000;
const PAGE_COMPLETION = 0x1_8000_0000;

const SO_SNDBUFFORCE = 32;
/** In copy mode the kernel counts what is on its way against the socket's send buffer. */
const SEND_BUFFER = 8 << 20;

export type ZeroCopy = "auto" | "on" | "off";

export interface BindOptions {
  readonly device: string;
  readonly interfaceIndex: number;
  readonly queue: number;
  readonly rings: RingSizes;
  /** Whether the socket transmits as well. */
  readonly transmits: boolean;
  readonly zeroCopy: ZeroCopy;
  /** The first socket on the same queue, if there is one. */
  readonly first?: number | undefined;
}

/** Descriptors in a ring, powers of two. */
export interface RingSizes {
  readonly receive: number;
  /** The other rings. */
  readonly others: number;
}

/** What the kernel counts for a socket since it was opened. */
export interface XdpStatistics {
  /** Packets that were larger than a frame, or had another fault. */
  readonly dropped: number;
  /** Packets that found the receive ring full. */
  readonly ringFull: number;
  /** Packets that found the fill ring empty. */
  readonly fillEmpty: number;
}

/** The sockets under whose registration further ones bind, for each frame memory. */
const registrations = new WeakMap<Frames, { copy?: number; zeroCopy?: number }>();

function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

/**
 * Makes a socket and binds it to a queue. `auto` tries zero-copy first, and copies where the driver cannot do that.
 * @returns its descriptor
 * @throws SystemError: EBUSY while another socket holds the queue; Error with what to do, for missing privileges
 */
export function bindXdpSocket(frames: Frames, options: BindOptions): number {
  if (options.zeroCopy !== "off" && options.first === undefined) {
    try {
      return bindOne(frames, options, true);
    } catch (error) {
      const unable = error instanceof SystemError && unableToZeroCopy.has(error.code);
      if (options.zeroCopy === "on" && unable)
        throw new Error(`${error.message}: the driver cannot do zero-copy; set zero-copy to auto or off`, {
          cause: error,
        });
      if (!unable) throw error;
    }
  }
  return bindOne(frames, options, false);
}

function bindOne(frames: Frames, options: BindOptions, zeroCopy: boolean): number {
  const { device, queue, rings, first } = options;
  const fd = openSocket(device);
  try {
    const known = registrations.get(frames) ?? {};
    const owner = first ?? (zeroCopy ? known.zeroCopy : known.copy);
    if (owner === undefined) registerFrames(fd, frames, device);
    const others = u32(rings.others);
    if (first === undefined) {
      setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, others, `fill ring of ${device}`);
      setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, others, `completion ring of ${device}`);
    }
    setsockopt(fd, SOL_XDP, XDP_RX_RING, u32(rings.receive), `receive ring of ${device}`);
    if (options.transmits) setsockopt(fd, SOL_XDP, XDP_TX_RING, others, `transmit ring of ${device}`);
    const mode = zeroCopy ? BIND_ZERO_COPY : BIND_COPY;
    const flags = owner === undefined ? mode | BIND_NEED_WAKEUP : BIND_SHARED_UMEM;
    const address = u32(AF_XDP | (flags << 16), options.interfaceIndex, queue, owner ?? 0);
    bind(fd, address, `AF_XDP socket on queue ${queue} of ${device}`);
    if (owner === undefined)
      registrations.set(frames, zeroCopy ? { ...known, zeroCopy: fd } : { ...known, copy: fd });
    if (options.transmits) raiseLimits(fd, rings.others);
    return fd;
  } catch (error) {
    closeXdpSocket(frames, fd);
    throw error;
  }
}

/** Both only make transmitting smoother, and both are refused by some kernels; the port works without. */
function raiseLimits(fd: number, ringSize: number): void {
  for (const [level, name, value] of [
    [SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER],
    // Packets that one system call sends in copy mode: 32 unless Linux 6.17 or later is told otherwise.
    [SOL_XDP, XDP_MAX_TX_SKB_BUDGET, ringSize],
  ] as const) {
    try {
      setsockopt(fd, level, name, u32(value));
    } catch {
      // The default stays.
    }
  }
}

/** Closes a descriptor. The socket itself stays as long as another worker has one. */
export function closeXdpSocket(frames: Frames, fd: number): void {
  const known = registrations.get(frames);
  if (known?.copy === fd) delete known.copy;
  if (known?.zeroCopy === fd) delete known.zeroCopy;
  close(fd);
}

/** A socket that this worker moves packets with. Its descriptor is not closed with it. */
export class XdpSocket {
  readonly fd: number;
  readonly device: string;
  readonly queue: number;
  readonly zeroCopy: boolean;
  readonly fill: XdpRing;
  readonly completion: XdpRing;
  readonly receive: XdpRing;
  readonly transmit: XdpRing | undefined;
  readonly #statistics = new BigUint64Array(6);

  /** Maps the rings of a socket that is bound. */
  constructor(fd: number, options: Pick<BindOptions, "device" | "queue" | "rings" | "transmits">) {
    const { device, queue, rings, transmits } = options;
    this.fd = fd;
    this.device = device;
    this.queue = queue;
    const flags = new Uint32Array(1);
    getsockopt(fd, SOL_XDP, XDP_OPTIONS, flags, `options of ${device}`);
    this.zeroCopy = (flags[0] & OPTION_ZERO_COPY) !== 0;
    const [rx, tx, fill, completion] = ringOffsets(fd);
    const mapped: XdpRing[] = [];
    const map = (page: number, offsets: RingOffsets, size: number, bytes: 8 | 16) => {
      const ring = new XdpRing(fd, page, offsets, size, bytes);
      mapped.push(ring);
      return ring;
    };
    try {
      this.fill = map(PAGE_FILL, fill, rings.others, 8);
      this.completion = map(PAGE_COMPLETION, completion, rings.others, 8);
      this.receive = map(PAGE_RX, rx, rings.receive, 16);
      this.transmit = transmits ? map(PAGE_TX, tx, rings.others, 16) : undefined;
    } catch (error) {
      for (const ring of mapped) ring.unmap();
      throw error;
    }
  }

  statistics(): XdpStatistics {
    const s = this.#statistics;
    getsockopt(this.fd, SOL_XDP, XDP_STATISTICS, s, `statistics of ${this.device}`);
    return { dropped: Number(s[0]), ringFull: Number(s[3]), fillEmpty: Number(s[4]) };
  }

  unmap(): void {
    for (const ring of [this.fill, this.completion, this.receive, this.transmit]) ring?.unmap();
  }
}

/** How drivers, and the kernel on their behalf, say that they cannot. */
const unableToZeroCopy = new Set(["EOPNOTSUPP", "ENOTSUP", "EINVAL", "ENXIO", "ENODEV"]);

function openSocket(device: string): number {
  try {
    return socket(AF_XDP, SOCK_RAW, 0, `AF_XDP socket for ${device}`);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === "EPERM")
      throw new Error(`${error.message}: needs root, or the capability CAP_NET_RAW`, { cause: error });
    if (error.code === "EAFNOSUPPORT")
      throw new Error(`${error.message}: this kernel has no AF_XDP; use a port of type packet`, {
        cause: error,
      });
    throw error;
  }
}

function registerFrames(fd: number, frames: Frames, device: string): void {
  const registration = new Uint8Array(32);
  const view = new DataView(registration.buffer);
  view.setBigUint64(0, frames.region.address, true);
  view.setBigUint64(8, BigInt(frames.capacity * FRAME_SIZE), true);
  view.setUint32(16, FRAME_SIZE, true);
  // Headroom, on top of XDP_PACKET_HEADROOM, 256 bytes, which the kernel leaves in front of received packets on its own: IP
  // headers begin at multiples of four then.
  view.setUint32(20, 2, true);
  try {
    setsockopt(fd, SOL_XDP, XDP_UMEM_REG, registration, `frame memory for ${device}`);
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENOBUFS")
      throw new Error(
        `${error.message}: ${frames.capacity * FRAME_SIZE} bytes exceed the limit on locked memory; raise it ` +
          "(ulimit -l, LimitMEMLOCK=) or give the capability CAP_IPC_LOCK",
        { cause: error },
      );
    throw error;
  }
}

/** Offsets of the receive, transmit, fill and completion ring. */
function ringOffsets(fd: number): readonly RingOffsets[] {
  const raw = new BigUint64Array(16);
  const length = getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, raw, "offsets of the AF_XDP rings");
  if (length !== raw.byteLength)
    throw new Error("the kernel's AF_XDP rings have no flags: Linux 5.4 or later is needed");
  return [0, 4, 8, 12].map((i) => ({
    producer: Number(raw[i]),
    consumer: Number(raw[i + 1]),
    descriptors: Number(raw[i + 2]),
    flags: Number(raw[i + 3]),
  }));
}
