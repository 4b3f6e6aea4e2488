// The slow path: an IP packet leaves through the kernel's own stack, which resolves the neighbour, keeps the packet until
// that is done, and sends it. Vita uses it for the packets to a neighbour whose Ethernet address it does not know yet,
// so that none of them is lost.
//
// Raw sockets take whole packets, with whatever source address, and an interface to leave by. The kernel looks the route
// up by destination among those over that interface, corrects total length and header checksum of IPv4, and lets
// netfilter's output chain see the packet. Packets larger than the MTU are refused.

import type { Frames } from "../memory/frames.js";
import {
  AF_INET,
  AF_INET6,
  close,
  MAP_PRIVATE_ANONYMOUS,
  MSG_DONTWAIT,
  mmap,
  munmap,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  sendmmsg,
  setsockopt,
  socket,
  window,
} from "../native/libc.js";
import { IoVectors } from "./iovec.js";

const IPPROTO_RAW = 255;
const SO_BINDTODEVICE = 25;
const SO_SNDBUFFORCE = 32;
/** What may wait for neighbours, bytes; the kernel has bounds of its own for each of them. */
const SEND_BUFFER = 4 << 20;

// One struct mmsghdr and one socket address for each family, in one page.
const MESSAGE = { name: 0, nameLength: 8, vectors: 16, vectorCount: 24 } as const;
const MESSAGE4 = 0;
const MESSAGE6 = 64;
const ADDRESS4 = 128;
const ADDRESS6 = 192;
const PAGE = 4096;

export class SlowPath {
  readonly #bytes: Uint8Array;
  readonly #page: bigint;
  readonly #packet: Uint8Array;
  readonly #vector: IoVectors;
  readonly #message4: bigint;
  readonly #message6: bigint;
  readonly #socket4: number;
  readonly #socket6: number;

  /**
   * @param device the interface that packets leave by
   * @throws SystemError
   */
  constructor(frames: Frames, device: string) {
    this.#packet = frames.bytes;
    this.#socket4 = rawSocket(AF_INET, device);
    try {
      this.#socket6 = rawSocket(AF_INET6, device);
    } catch (error) {
      close(this.#socket4);
      throw error;
    }
    this.#vector = new IoVectors(frames.region, 1);
    this.#page = mmap(PAGE, MAP_PRIVATE_ANONYMOUS);
    this.#message4 = this.#page + BigInt(MESSAGE4);
    this.#message6 = this.#page + BigInt(MESSAGE6);
    const memory = window(this.#page, PAGE);
    this.#bytes = new Uint8Array(memory);
    const view = new DataView(memory);
    for (const [message, family, address, length] of [
      [MESSAGE4, AF_INET, ADDRESS4, 16],
      [MESSAGE6, AF_INET6, ADDRESS6, 28],
    ] as const) {
      view.setUint16(address, family, true);
      view.setBigUint64(message + MESSAGE.name, this.#page + BigInt(address), true);
      view.setUint32(message + MESSAGE.nameLength, length, true);
      view.setBigUint64(message + MESSAGE.vectors, this.#vector.address, true);
      view.setBigUint64(message + MESSAGE.vectorCount, 1n, true);
    }
  }

  /**
   * Sends the IP packet that begins at `offset` in the frames' region. The frame stays the caller's. Does not block.
   * @param length bytes from the IP header on
   * @returns false when the kernel did not take it: no route, larger than the MTU, no room, not IP
   */
  send(offset: number, length: number): boolean {
    const packet = this.#packet;
    const bytes = this.#bytes;
    const version = packet[offset] >>> 4;
    this.#vector.set(0, offset, length);
    if (version === 4) {
      for (let i = 0; i < 4; i++) bytes[ADDRESS4 + 4 + i] = packet[offset + 16 + i];
      return sendmmsg(this.#socket4, this.#message4, 1, MSG_DONTWAIT) === 1;
    }
    if (version === 6) {
      for (let i = 0; i < 16; i++) bytes[ADDRESS6 + 8 + i] = packet[offset + 24 + i];
      return sendmmsg(this.#socket6, this.#message6, 1, MSG_DONTWAIT) === 1;
    }
    return false;
  }

  close(): void {
    close(this.#socket4);
    close(this.#socket6);
    this.#vector.unmap();
    munmap(this.#page, PAGE);
  }
}

/** A socket for packets with their header; IPPROTO_RAW receives nothing. */
function rawSocket(family: number, device: string): number {
  const what = `raw socket on ${device}`;
  const fd = socket(family, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW, what);
  try {
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, Buffer.from(`${device}\0`, "utf8"), what);
    try {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, new Uint8Array(Uint32Array.of(SEND_BUFFER).buffer));
    } catch {
      // The default is smaller, and does as well for a few packets.
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
