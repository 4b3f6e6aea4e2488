// Tells when a device has lost what the kernel keeps for it: one that was set down and up again has lost its routes, and one
// that was deleted everything. The kernel tells each change of a link (RFC 3549, rtnetlink(7)); this listens for a few
// devices, by index.

import {
  AF_NETLINK,
  bind,
  close,
  errno,
  errorName,
  interfaceIndex,
  MSG_DONTWAIT,
  recv,
  SOCK_NONBLOCK,
  SOCK_RAW,
  socket,
} from "../native/libc.js";
import { groups } from "../net/rtnetlink.js";

const NETLINK_ROUTE = 0;
const HEADER = 16;
const LINK_HEADER = 16;
const NEW_LINK = 16;
const DELETE_LINK = 17;
const AF_UNSPEC = 0;
const IFF_UP = 1;

interface Watched {
  readonly index: number;
  isUp: boolean;
  hasLost: boolean;
}

export class DeviceWatch {
  readonly #fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, "route netlink socket");
  readonly #buffer = new Uint8Array(32 << 10);
  readonly #watched = new Map<string, Watched>();

  constructor() {
    const address = new Uint8Array(12);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_NETLINK, true);
    view.setUint32(8, groups.link, true);
    bind(this.#fd, address, "route netlink socket");
  }

  /** Begins to watch a device, which is there and up, or begins anew. @throws SystemError when there is none */
  watch(name: string): void {
    // What was told so far is about how it came to be as it is.
    this.#read();
    this.#watched.set(name, { index: interfaceIndex(name), isUp: true, hasLost: false });
  }

  /** Names of devices that are gone, or came up again, since the last call. Each is told once; see `watch`. */
  take(): string[] {
    this.#read();
    const names: string[] = [];
    for (const [name, device] of this.#watched) {
      if (!device.hasLost) continue;
      device.hasLost = false;
      names.push(name);
    }
    return names;
  }

  #read(): void {
    for (;;) {
      const length = recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (length >= 0) {
        this.#parse(length);
        continue;
      }
      const code = errorName(errno());
      if (code === "EINTR") continue;
      // Messages were lost: it may have been any of them.
      if (code !== "ENOBUFS") return;
      for (const device of this.#watched.values()) device.hasLost = true;
    }
  }

  #parse(length: number): void {
    const view = new DataView(this.#buffer.buffer);
    for (let at = 0; at + HEADER + LINK_HEADER <= length; ) {
      const size = view.getUint32(at, true);
      const type = view.getUint16(at + 4, true);
      if (size < HEADER) return;
      const body = at + HEADER;
      if ((type === NEW_LINK || type === DELETE_LINK) && view.getUint8(body) === AF_UNSPEC)
        this.#change(
          view.getInt32(body + 4, true),
          type === DELETE_LINK,
          (view.getUint32(body + 8, true) & IFF_UP) !== 0,
        );
      at += (size + 3) & ~3;
    }
  }

  #change(index: number, isGone: boolean, isUp: boolean): void {
    for (const device of this.#watched.values()) {
      if (device.index !== index) continue;
      if (isGone || (isUp && !device.isUp)) device.hasLost = true;
      device.isUp = isUp;
    }
  }

  close(): void {
    close(this.#fd);
  }
}
