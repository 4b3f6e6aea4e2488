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
// checksum, which is worked out here, and joined to up to 64 KiB, which are cut here (segmenter.ts). The kernel of this
// machine joins, too, what a network card received (GRO). Joined packets are put together in the frames' annex.

import { constants } from "node:os";
import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { FRAME_SIZE, type Frames, HEADROOM, NONE } from "../memory/frames.js";
import {
  close,
  errno,
  getsockopt,
  interfaceIndex,
  MSG_DONTWAIT,
  POLLIN,
  POLLOUT,
  recvmmsg,
  sendmmsg,
} from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import { finishChecksum } from "../net/checksum.js";
import { LocalAddresses } from "../net/local-addresses.js";
import { joinAllGroups } from "./all-multicast.js";
import { MessageBatch } from "./message-batch.js";
import { openDeafSockets, openPacketSocket } from "./packet-socket.js";
import {
  type DevicePort,
  type DevicePortOptions,
  portCounters,
  received,
  TAILROOM,
  type Waiting,
} from "./port.js";
import { OVERSIZE, SEGMENTABLE, Segmenter } from "./segmenter.js";
import { GSO_NONE } from "./virtio-header.js";
import type { Role } from "./xdp-program.js";

const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;

/** Packets a system call, on the way out and in: those that come in may be large. */
const BATCH = 64;
const RECEIVE_BATCH = 32;
/** Bytes of the annex for a received packet: its beginning, from a frame, and what was too long for that. */
const BEGINNING = FRAME_SIZE;
const REST = 65_536;
const ETHERNET_HEADER = 14;
// A name of this module's own, which V8 compiles in.
const NOWHERE = NONE;
const LARGEST = FRAME_SIZE - HEADROOM - TAILROOM;
/** Breaths between two looks at the kernel's counters. */
const STATISTICS_INTERVAL = 1 << 14;

const texts = {
  ...portCounters,
  "drop.oversize": "received packets larger than a frame, in one piece or to be cut into such",
  "drop.tx_full": "packets that the kernel had no room for",
  "drop.tx_refused": "packets that the kernel refused: the device is down, or they are larger than its MTU",
  "drop.malformed": "packets to be segmented, or without checksum, whose headers contradict each other",
  "rx.joined": "packets that the kernel had joined, or not yet cut, and that were cut here",
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
  /** Bytes of the frames' annex that a port needs. */
  static readonly annex = RECEIVE_BATCH * (BEGINNING + REST);

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
  readonly #slots = new Int32Array(RECEIVE_BATCH).fill(NONE);
  /** Messages that the last call received, and the next of them to be looked at. */
  #received = 0;
  #next = 0;
  readonly #annex: number;
  readonly #segmenter: Segmenter;
  /** The frames that the messages send. */
  readonly #batch = new Int32Array(BATCH);
  readonly #waiting: readonly Waiting[];
  readonly #unfinished: readonly Waiting[];
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
    this.#fd = openPacketSocket(this.device, options.role, options.isShared ?? false);
    try {
      if (options.role === "public") this.#others = openDeafSockets();
      else if (options.role === "owned")
        this.#others = [joinAllGroups(this.device, interfaceIndex(this.device))];
      else this.#others = [];
    } catch (error) {
      close(this.#fd);
      throw error;
    }
    this.#annex = context.frames.reserve(PacketPort.annex);
    const rest = { offset: this.#annex + BEGINNING, size: BEGINNING + REST };
    this.#receiving = new MessageBatch(context.frames.region, RECEIVE_BATCH, rest);
    this.#segmenter = new Segmenter(context.frames, ETHERNET_HEADER, LARGEST);
    this.#sending = new MessageBatch(context.frames.region, BATCH);
    this.#waiting = [{ fd: this.#fd, events: POLLIN }];
    // Always true, or soon: there is more to be had at once.
    this.#unfinished = [{ fd: this.#fd, events: POLLIN | POLLOUT }];
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
    const frames = this.#frames;
    const segmenter = this.#segmenter;
    let count = 0;
    let packets = 0;
    let bytes = 0;
    while (count < max) {
      let frame = NOWHERE;
      let length = 0;
      if (segmenter.remaining > 0) {
        frame = frames.allocate();
        if (frame === NOWHERE) break;
        length = segmenter.cut(frame);
      } else {
        if (this.#next === this.#received && !this.#receive()) break;
        const i = this.#next++;
        length = this.#look(i);
        if (length > 0) {
          frame = this.#slots[i];
          this.#slots[i] = NOWHERE;
        }
      }
      count++;
      if (length === 0) continue;
      received(frames, frame, frames.offset[frame], length, this.#number);
      packets++;
      bytes += length;
      this.#output.transmit(frame);
    }
    this.#counters[c["rx.packets"]] += packets;
    this.#counters[c["rx.bytes"]] += bytes;
    return count;
  }

  /** Has the kernel fill the messages. @returns false when it had nothing, or there are no frames */
  #receive(): boolean {
    const frames = this.#frames;
    const messages = this.#receiving;
    const slots = this.#slots;
    let room = 0;
    for (; room < RECEIVE_BATCH; room++) {
      if (slots[room] !== NOWHERE) continue;
      const frame = frames.allocate();
      if (frame === NOWHERE) break;
      slots[room] = frame;
      messages.set(room, frames.offset[frame], LARGEST);
    }
    const count = room === 0 ? 0 : recvmmsg(this.#fd, messages.address, room, MSG_DONTWAIT, null);
    this.#next = 0;
    this.#received = count > 0 ? count : 0;
    return count > 0;
  }

  /** @returns bytes of the packet that message `i` has brought into its frame; 0 when there is none for Vita, or none yet */
  #look(i: number): number {
    const frames = this.#frames;
    const messages = this.#receiving;
    const offset = frames.offset[this.#slots[i]];
    if (!this.#wanted(offset)) return 0;
    const length = messages.length(i);
    const type = messages.gsoType(i);
    if (type === GSO_NONE) {
      if (length > LARGEST) return this.#drop(c["drop.oversize"]);
      if (messages.needsChecksum(i) && !this.#finish(i, offset, length))
        return this.#drop(c["drop.malformed"]);
      return length;
    }
    if (messages.truncated(i)) return this.#drop(c["drop.oversize"]);
    const rest = this.#annex + BEGINNING + i * (BEGINNING + REST);
    const whole = rest - LARGEST;
    frames.bytes.copyWithin(whole, offset, offset + (length < LARGEST ? length : LARGEST));
    const flags = messages.flags(i);
    const verdict = this.#segmenter.begin(
      whole,
      length,
      flags,
      type,
      messages.gsoSize(i),
      messages.checksumStart(i),
    );
    if (verdict !== SEGMENTABLE)
      return this.#drop(verdict === OVERSIZE ? c["drop.oversize"] : c["drop.malformed"]);
    this.#counters[c["rx.joined"]]++;
    return 0;
  }

  /** @returns 0, for those who would return the packet's length */
  #drop(reason: number): number {
    this.#counters[reason]++;
    return 0;
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

  /** @returns false when the checksum would stand beyond the packet */
  #finish(i: number, offset: number, length: number): boolean {
    const start = this.#receiving.checksumStart(i);
    const field = start + this.#receiving.checksumOffset(i);
    if (field + 2 > length) return false;
    finishChecksum(this.#frames.view, offset + start, offset + length, offset + field);
    this.#counters[c["rx.checksums"]]++;
    return true;
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
    const isUnfinished = this.#segmenter.remaining > 0 || this.#next < this.#received;
    return isUnfinished ? this.#unfinished : this.#waiting;
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
