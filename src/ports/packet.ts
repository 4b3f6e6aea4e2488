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
// machine joins, too, what a network card received (GRO). Joined packets are put together in the frames' annex. What leaves
// is joined here (coalescer.ts), where the kernel takes it so: trains of TCP and UDP, and of ESP in UDP. Of a train the kernel
// handles one packet, and a network card, or a kernel that knows no better, cuts it.

import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { ETHERNET_START, FRAME_SIZE, type Frames, HEADROOM, NONE } from "../memory/frames.js";
import {
  close,
  getsockopt,
  interfaceIndex,
  MSG_DONTWAIT,
  POLLIN,
  POLLOUT,
  recvmmsg,
} from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import { finishChecksum } from "../net/checksum.js";
import { LocalAddresses } from "../net/local-addresses.js";
import { joinAllGroups } from "./all-multicast.js";
import { MessageBatch } from "./message-batch.js";
import { PacketSender, packetCounters } from "./packet-sender.js";
import { openDeafSockets, openPacketSocket } from "./packet-socket.js";
import { type DevicePort, type DevicePortOptions, received, TAILROOM, type Waiting } from "./port.js";
import { OVERSIZE, SEGMENTABLE, Segmenter } from "./segmenter.js";
import { GSO_NONE } from "./virtio-header.js";
import type { Role } from "./xdp-program.js";

const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;

/** Packets a system call. */
const RECEIVE_BATCH = 32;
/** Bytes of the annex for a received packet: its beginning, from a frame, and what was too long for that. */
const BEGINNING = FRAME_SIZE;
const REST = 65_536;
const ETHERNET_HEADER = 14;
// A name of this module's own, which V8 compiles in.
const NOWHERE = NONE;
const START = ETHERNET_START;
const LARGEST = FRAME_SIZE - HEADROOM - TAILROOM;
/** Breaths between two looks at the kernel's counters. */
const STATISTICS_INTERVAL = 1 << 14;

const c = counterIndex(packetCounters);

export interface PacketPortOptions extends DevicePortOptions {
  readonly role: Role;
  /** Whether other workers have a port on the device too; default: no. */
  readonly isShared?: boolean;
}

export class PacketPort implements DevicePort {
  /** Bytes of the frames' annex that a port needs. */
  static readonly annex = RECEIVE_BATCH * (BEGINNING + REST) + PacketSender.annex;

  readonly name: string;
  readonly kind = "ethernet";
  readonly device: string;
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #output: Link;
  readonly #role: Role;
  readonly #local = new LocalAddresses();
  readonly #fd: number;
  /** Sockets that hear nothing, and are there for what their being there does. */
  readonly #others: readonly number[];
  readonly #receiving: MessageBatch;
  /** The frame that each message receives into, or NONE. */
  readonly #slots = new Int32Array(RECEIVE_BATCH).fill(NONE);
  /** Messages that the last call received, and the next of them to be looked at. */
  #received = 0;
  #next = 0;
  readonly #annex: number;
  readonly #segmenter: Segmenter;
  readonly #sender: PacketSender;
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
    this.#role = options.role;
    this.#counters = context.counters(options.name, packetCounters);
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
    const isPublic = options.role !== "private";
    this.#sender = new PacketSender(context.frames, this.#fd, this.#counters, isPublic);
    this.#annex = context.frames.reserve(RECEIVE_BATCH * (BEGINNING + REST));
    const rest = { offset: this.#annex + BEGINNING, size: BEGINNING + REST };
    this.#receiving = new MessageBatch(context.frames.region, RECEIVE_BATCH, rest);
    this.#segmenter = new Segmenter(context.frames, ETHERNET_HEADER, LARGEST, isPublic);
    this.#waiting = [{ fd: this.#fd, events: POLLIN }];
    // Always true, or soon: there is more to be had at once.
    this.#unfinished = [{ fd: this.#fd, events: POLLIN | POLLOUT }];
    this.sink = { input: new Link(context.frames), push: () => this.#sender.send(this.sink.input) };
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
        frames.offset[frame] += START - HEADROOM;
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
      received(frames, frame, frames.offset[frame], length);
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
      frames.offset[frame] += START - HEADROOM;
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
    this.#sender.unmap();
    for (const [i, frame] of this.#slots.entries()) {
      if (frame !== NONE) this.#frames.free(frame);
      this.#slots[i] = NONE;
    }
  }
}
