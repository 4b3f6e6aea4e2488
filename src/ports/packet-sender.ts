// The sending half of a packet port. Of a batch, packets that can be joined leave as trains (coalescer.ts), each in one piece: a
// virtio header and the train's own headers, and behind them the payloads, from wherever they stand. The rest leaves by
// sendmmsg. Order is kept.

import { constants } from "node:os";
import { type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { errno, MSG_DONTWAIT, sendmmsg, writev } from "../native/libc.js";
import { COALESCE_BATCH, Coalescer } from "./coalescer.js";
import { IoVectors } from "./iovec.js";
import { MessageBatch } from "./message-batch.js";
import { portCounters } from "./port.js";
import { TRAIN_HEADER } from "./train-header.js";

export const packetCounters = {
  ...portCounters,
  "drop.oversize": "received packets larger than a frame, in one piece or to be cut into such",
  "drop.tx_full": "packets that the kernel had no room for",
  "drop.tx_refused": "packets that the kernel refused: the device is down, or they are larger than its MTU",
  "drop.malformed": "packets to be segmented, or without checksum, whose headers contradict each other",
  "rx.joined": "packets that the kernel had joined, or not yet cut, and that were cut here",
  "tx.joined": "trains of packets that were handed to the kernel in one piece",
  "tx.parted": "such trains that the kernel refused: their packets were sent one by one",
  "rx.checksums": "received packets whose checksum was worked out here",
  "kernel.dropped": "packets that found the socket's buffer full",
};
const c = counterIndex(packetCounters);
const { EAGAIN, ENOBUFS, ENOMEM } = constants.errno;

// A name of this module's own, which V8 compiles in.
const BATCH = COALESCE_BATCH;
const ETHERNET_HEADER = 14;
/** Bytes of the annex for a train's headers. */
const HEADER = (TRAIN_HEADER + 63) & ~63;

export class PacketSender {
  /** Bytes of the frames' annex that a sender needs. */
  static readonly annex = HEADER;

  readonly #frames: Frames;
  readonly #fd: number;
  readonly #counters: Counters;
  readonly #coalescer: Coalescer;
  readonly #messages: MessageBatch;
  readonly #vectors: IoVectors;
  readonly #header: number;
  /** The frames that the messages, or a train, send. */
  readonly #batch = new Int32Array(BATCH);

  /**
   * @param fd a packet socket with PACKET_VNET_HDR
   * @param counters of `packetCounters`
   * @param joinsEsp whether ESP in UDP is joined too: on public interfaces
   */
  constructor(frames: Frames, fd: number, counters: Counters, joinsEsp: boolean) {
    this.#frames = frames;
    this.#fd = fd;
    this.#counters = counters;
    this.#coalescer = new Coalescer(frames, ETHERNET_HEADER, true, joinsEsp);
    this.#messages = new MessageBatch(frames.region, BATCH);
    this.#vectors = new IoVectors(frames.region, 1 + BATCH);
    this.#header = frames.reserve(HEADER);
  }

  /** Sends, and frees, all packets on `input`. */
  send(input: Link): void {
    const coalescer = this.#coalescer;
    const batch = this.#batch;
    while (input.readable > 0) {
      coalescer.clear();
      for (let n = Math.min(BATCH, input.readable); n > 0; n--) coalescer.add(input.receive());
      let single = 0;
      for (let train = 0; train < coalescer.trains; train++) {
        if (coalescer.count[train] === 1) {
          batch[single++] = coalescer.first[train];
          continue;
        }
        if (single > 0) this.#sendSingle(single);
        single = 0;
        this.#sendTrain(train);
      }
      if (single > 0) this.#sendSingle(single);
    }
  }

  /** Sends several packets in one piece, or one by one when the kernel does not take them so. */
  #sendTrain(train: number): void {
    const { offset, length } = this.#frames;
    const coalescer = this.#coalescer;
    const counters = this.#counters;
    const vectors = this.#vectors;
    const batch = this.#batch;
    const header = coalescer.header[train];
    const count = coalescer.count[train];
    vectors.set(0, this.#header, coalescer.writeHeader(train, this.#header));
    let bytes = 0;
    let frame = coalescer.first[train];
    for (let i = 0; i < count; i++) {
      batch[i] = frame;
      vectors.set(1 + i, offset[frame] + header, length[frame] - header);
      bytes += length[frame];
      frame = coalescer.following[frame];
    }
    if (writev(this.#fd, vectors.address, 1 + count) >= 0) {
      counters[c["tx.joined"]]++;
      counters[c["tx.packets"]] += count;
      counters[c["tx.bytes"]] += bytes;
    } else if (isFull(errno())) counters[c["drop.tx_full"]] += count;
    else {
      counters[c["tx.parted"]]++;
      this.#sendSingle(count);
      return;
    }
    for (let i = 0; i < count; i++) this.#frames.free(batch[i]);
  }

  /** Sends the first `count` frames of the batch one by one, in as few system calls as it takes. */
  #sendSingle(count: number): void {
    const frames = this.#frames;
    const counters = this.#counters;
    const messages = this.#messages;
    const batch = this.#batch;
    for (let i = 0; i < count; i++) messages.set(i, frames.offset[batch[i]], frames.length[batch[i]]);
    let done = 0;
    while (done < count) {
      const from = done === 0 ? messages.address : messages.from(done);
      const sent = sendmmsg(this.#fd, from, count - done, MSG_DONTWAIT);
      if (sent > 0) {
        counters[c["tx.packets"]] += sent;
        for (let i = done; i < done + sent; i++) counters[c["tx.bytes"]] += frames.length[batch[i]];
        done += sent;
        continue;
      }
      if (isFull(errno())) {
        counters[c["drop.tx_full"]] += count - done;
        break;
      }
      counters[c["drop.tx_refused"]]++;
      done++;
    }
    for (let i = 0; i < count; i++) frames.free(batch[i]);
  }

  unmap(): void {
    this.#messages.unmap();
    this.#vectors.unmap();
  }
}

function isFull(error: number): boolean {
  return error === EAGAIN || error === ENOBUFS || error === ENOMEM;
}
