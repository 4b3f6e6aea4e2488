// The packet port: an Ethernet device through an AF_PACKET socket, for kernels and devices without XDP. Batches come and
// go by recvmmsg and sendmmsg. It is a copy that arrives here, the kernel has the packet too:
//
// public:   the kernel would answer ESP with "protocol unreachable". Raw sockets for ESP, which hear nothing, keep it
//           from doing so.
// private:  the kernel would forward as well, in the clear, where forwarding is switched on. It has to be off:
//           net.ipv4.ip_forward = 0, net.ipv6.conf.all.forwarding = 0.
// owned:    the kernel would answer as well. The supervisor keeps it from hearing anything (gateway/kernel-deafness.ts).
//
// Several workers on one device are a group among which the kernel divides its packets, SA by SA and flow by flow.
//
// Packets of this machine, on veth for example, arrive as the sender's kernel left them to a network card: without
// checksum, which is worked out here, and joined to up to 64 KiB, which no frame holds.

import { constants } from "node:os";
import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { FRAME_SIZE, type Frames, HEADROOM, NONE } from "../memory/frames.js";
import {
  AF_INET,
  AF_INET6,
  AF_PACKET,
  bind,
  close,
  errno,
  getsockopt,
  interfaceIndex,
  MSG_DONTWAIT,
  POLLIN,
  recvmmsg,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  SystemError,
  sendmmsg,
  setsockopt,
  socket,
} from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import { finishChecksum } from "../net/checksum.js";
import { LocalAddresses } from "../net/local-addresses.js";
import { joinAllGroups } from "./all-multicast.js";
import { MessageBatch } from "./message-batch.js";
import { attachFilter, deafFilter, packetFilter } from "./packet-filter.js";
import {
  type DevicePort,
  type DevicePortOptions,
  portCounters,
  received,
  TAILROOM,
  type Waiting,
} from "./port.js";
import type { Role } from "./xdp-program.js";

const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_VNET_HDR = 15;
const PACKET_FANOUT = 18;
const PACKET_FANOUT_HASH = 0;
const PACKET_IGNORE_OUTGOING = 23;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const ETH_P_ALL = 3;
const IPPROTO_ESP = 50;

/** Packets a system call. */
const BATCH = 64;
const SOCKET_BUFFER = 8 << 20;
const LARGEST = FRAME_SIZE - HEADROOM - TAILROOM;
/** Breaths between two looks at the kernel's counters. */
const STATISTICS_INTERVAL = 1 << 14;

const texts = {
  ...portCounters,
  "drop.oversize":
    "received packets larger than a frame, or joined by the kernel: ethtool -K DEVICE gro off lro off " +
    "here, ethtool -K DEVICE tso off gso off at the other end of a veth pair",
  "drop.tx_full": "packets that the kernel had no room for",
  "drop.tx_refused": "packets that the kernel refused: the device is down, or they are larger than its MTU",
  "rx.checksums": "received packets whose checksum was worked out here",
  "kernel.dropped": "packets that found the socket's buffer full",
};
const c = counterIndex(texts);
const { EAGAIN, ENOBUFS, ENOMEM } = constants.errno;

export interface PacketPortOptions extends DevicePortOptions {
  readonly role: Role;
  /** Whether other workers have a port on the device too; default: no. */
  readonly isShared?: boolean;
}

export class PacketPort implements DevicePort {
  readonly name: string;
  readonly kind = "ethernet";
  readonly device: string;
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #output: Link;
  readonly #number: number;
  readonly #role: Role;
  readonly #local = new LocalAddresses();
  readonly #fd: number;
  /** Sockets that hear nothing, and are there for what their being there does. */
  readonly #others: readonly number[];
  readonly #receiving: MessageBatch;
  readonly #sending: MessageBatch;
  /** The frame that each message receives into, or NONE. */
  readonly #slots = new Int32Array(BATCH).fill(NONE);
  /** The frames that the messages send. */
  readonly #batch = new Int32Array(BATCH);
  readonly #waiting: readonly Waiting[];
  readonly #statistic = new Uint32Array(2);
  #breaths = 0;

  /** @throws SystemError, Error */
  constructor(context: AppContext, options: PacketPortOptions) {
    this.name = options.name;
    this.device = options.device ?? options.name;
    this.#frames = context.frames;
    this.#output = options.output;
    this.#number = options.number;
    this.#role = options.role;
    this.#counters = context.counters(options.name, texts);
    for (const address of options.local ?? []) this.#local.set(address, true);
    this.#fd = openSocket(this.device, options.role, options.isShared ?? false);
    try {
      if (options.role === "public") this.#others = deafSockets();
      else if (options.role === "owned")
        this.#others = [joinAllGroups(this.device, interfaceIndex(this.device))];
      else this.#others = [];
    } catch (error) {
      close(this.#fd);
      throw error;
    }
    this.#receiving = new MessageBatch(context.frames.region, BATCH);
    this.#sending = new MessageBatch(context.frames.region, BATCH);
    this.#waiting = [{ fd: this.#fd, events: POLLIN }];
    this.sink = { input: new Link(context.frames), push: () => this.#push() };
  }

  setLocal(address: IpAddress, present: boolean): void {
    this.#local.set(address, present);
  }

  /** The kernel itself compares Ethernet addresses here. */
  setMac(_mac: Uint8Array): void {}

  #pull(max: number): number {
    this.#breaths = (this.#breaths + 1) | 0;
    if ((this.#breaths & (STATISTICS_INTERVAL - 1)) === 0) this.#statistics();
    let total = 0;
    while (total < max) {
      const want = Math.min(BATCH, max - total);
      const count = this.#receive(want);
      total += count;
      if (count < want) break;
    }
    return total;
  }

  /** One system call's worth. */
  #receive(max: number): number {
    const frames = this.#frames;
    const messages = this.#receiving;
    const slots = this.#slots;
    let room = 0;
    for (; room < max; room++) {
      if (slots[room] !== NONE) continue;
      const frame = frames.allocate();
      if (frame === NONE) break;
      slots[room] = frame;
      messages.set(room, frames.offset[frame], LARGEST);
    }
    if (room === 0) return 0;
    const count = recvmmsg(this.#fd, messages.address, room, MSG_DONTWAIT, null);
    let packets = 0;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const frame = slots[i];
      const offset = frames.offset[frame];
      if (!this.#wanted(offset)) continue;
      if (messages.truncated(i) || messages.joined(i)) {
        this.#counters[c["drop.oversize"]]++;
        continue;
      }
      const length = messages.length(i);
      if (messages.needsChecksum(i)) this.#finish(i, offset, length);
      slots[i] = NONE;
      received(frames, frame, offset, length, this.#number);
      packets++;
      bytes += length;
      this.#output.transmit(frame);
    }
    this.#counters[c["rx.packets"]] += packets;
    this.#counters[c["rx.bytes"]] += bytes;
    return Math.max(0, count);
  }

  /** Whether a packet that the filter let through is for Vita: whether its destination is, or is not, of this host. */
  #wanted(offset: number): boolean {
    if (this.#role === "owned") return true;
    const { view, bytes } = this.#frames;
    const local =
      bytes[offset + 12] === 0x08
        ? this.#local.has4(view, offset + 30)
        : this.#local.has6(view, bytes, offset + 38);
    return local === (this.#role === "public");
  }

  #finish(i: number, offset: number, length: number): void {
    const start = this.#receiving.checksumStart(i);
    const field = start + this.#receiving.checksumOffset(i);
    if (field + 2 > length) return;
    finishChecksum(this.#frames.view, offset + start, offset + length, offset + field);
    this.#counters[c["rx.checksums"]]++;
  }

  #push(): void {
    while (this.sink.input.readable > 0) this.#send(Math.min(BATCH, this.sink.input.readable));
  }

  #send(count: number): void {
    const frames = this.#frames;
    const messages = this.#sending;
    const batch = this.#batch;
    for (let i = 0; i < count; i++) {
      const frame = this.sink.input.receive();
      batch[i] = frame;
      messages.set(i, frames.offset[frame], frames.length[frame]);
    }
    let done = 0;
    while (done < count) {
      const from = done === 0 ? messages.address : messages.from(done);
      const sent = sendmmsg(this.#fd, from, count - done, MSG_DONTWAIT);
      if (sent > 0) {
        this.#counters[c["tx.packets"]] += sent;
        for (let i = done; i < done + sent; i++) this.#counters[c["tx.bytes"]] += frames.length[batch[i]];
        done += sent;
        continue;
      }
      const error = errno();
      if (error === EAGAIN || error === ENOBUFS || error === ENOMEM) {
        this.#counters[c["drop.tx_full"]] += count - done;
        break;
      }
      this.#counters[c["drop.tx_refused"]]++;
      done++;
    }
    for (let i = 0; i < count; i++) frames.free(batch[i]);
  }

  waiting(): readonly Waiting[] {
    this.#statistics();
    return this.#waiting;
  }

  #statistics(): void {
    // Reading sets the kernel's numbers to 0.
    getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, this.#statistic, `statistics of ${this.device}`);
    this.#counters[c["kernel.dropped"]] += this.#statistic[1];
  }

  close(): void {
    for (const fd of [this.#fd, ...this.#others]) close(fd);
    this.#receiving.unmap();
    this.#sending.unmap();
    for (const [i, frame] of this.#slots.entries()) {
      if (frame !== NONE) this.#frames.free(frame);
      this.#slots[i] = NONE;
    }
  }
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** Nothing arrives before the filter is in place, because only binding gives the socket a protocol. */
function openSocket(device: string, role: Role, isShared: boolean): number {
  const what = `packet socket on ${device}`;
  const index = interfaceIndex(device);
  const fd = privileged(what, () => socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0, what));
  try {
    // Until it shares with the others it would get what is theirs.
    attachFilter(fd, isShared ? deafFilter() : packetFilter(role), what);
    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, u32(1), `virtio headers of ${what}`);
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, u32(1), `ignoring outgoing packets of ${what}`);
    for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) {
      try {
        setsockopt(fd, SOL_SOCKET, option, u32(SOCKET_BUFFER));
      } catch {
        // The default stays: more packets are lost in bursts.
      }
    }
    const address = new Uint8Array(20);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL, false);
    view.setUint32(4, index, true);
    bind(fd, address, what);
    if (isShared) {
      // The kernel's hash of a flow takes in the SPI of ESP, and ports.
      const group = (index & 0xffff) | (PACKET_FANOUT_HASH << 16);
      setsockopt(fd, SOL_PACKET, PACKET_FANOUT, u32(group), `sharing ${device} between workers`);
      attachFilter(fd, packetFilter(role), what);
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Raw sockets for ESP that hear nothing. */
function deafSockets(): number[] {
  const what = "raw socket for ESP";
  const open: number[] = [];
  try {
    for (const family of [AF_INET, AF_INET6]) {
      const fd = privileged(what, () => socket(family, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ESP, what));
      open.push(fd);
      attachFilter(fd, deafFilter(), what);
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, u32(0), what);
    }
    return open;
  } catch (error) {
    for (const fd of open) close(fd);
    throw error;
  }
}

function privileged(what: string, open: () => number): number {
  try {
    return open();
  } catch (error) {
    if (error instanceof SystemError && error.code === "EPERM")
      throw new Error(`${what}: needs root, or the capability CAP_NET_RAW`, { cause: error });
    throw error;
  }
}
