// The supervisor's end of the pipe by which workers tell what charon should know: packets that want an SA, and peers that
// speak from another address. What comes out of the pipe is compared with the tables as they are by now, and passed on
// when it is still so and charon has not been told a moment ago.

import { Socket } from "node:net";
import type { Event } from "../charon/protocol.js";
import type { PolicyRequest, Selector } from "../ipsec/kernel.js";
import { readEndPoints } from "../ipsec/outer-header.js";
import type { Sad } from "../ipsec/sad.js";
import { SaFlag, SaState, saSlot } from "../ipsec/sad-layout.js";
import type { Spd } from "../ipsec/spd.js";
import { NARROWED, PolicyDirection, PolicyType } from "../ipsec/spd-layout.js";
import {
  decodeWorkerEvent,
  WORKER_EVENT_MARK,
  type WorkerEvent,
  WorkerEventType,
  workerEvent,
} from "../ipsec/worker-events.js";
import { compareAddresses, formatAddress, type IpAddress } from "../net/address.js";
import { openEventPipe } from "./event-pipe.js";
import type { Logger } from "./log.js";
import { LONGEST_PAUSE, Repeats } from "./repeats.js";

/** Seconds after which a record is of no use any more: the packets that it is about are gone. */
const STALE = 10;
const HAS_PORTS = new Set([6, 17, 33, 132, 136]);

export interface WorkerEventsParts {
  sad: Sad;
  spd: Spd;
  /** CLOCK_MONOTONIC, seconds. */
  now(): number;
  /** Hands an event to charon; false when it is not there. */
  send(event: Event): boolean;
  logger: Logger;
}

export class WorkerEvents {
  readonly #parts: WorkerEventsParts;
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  /** By reqid. */
  readonly #acquires = new Repeats();
  /** By SPI. */
  readonly #mappings = new Repeats();

  /** @throws SystemError when the pipe cannot be made */
  constructor(path: string, parts: WorkerEventsParts) {
    this.#parts = parts;
    this.#socket = new Socket({ fd: openEventPipe(path), readable: true, writable: false });
    this.#socket.on("data", (data: Buffer) => this.#take(data));
    this.#socket.on("error", (error) => parts.logger.warn(`events of the workers: ${error.message}`));
    this.#socket.unref();
  }

  /** A policy came or went: an acquire about its reqid may have another outcome now. */
  policyChanged({ id, reqid }: PolicyRequest): void {
    if (id.direction === PolicyDirection.out) this.#acquires.forget(reqid);
  }

  #take(data: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, data]) : data;
    const { size } = workerEvent;
    let offset = 0;
    while (offset + size <= bytes.length) {
      const event = decodeWorkerEvent(bytes, offset);
      if (event) {
        this.#handle(event);
        offset += size;
        continue;
      }
      // No record: on to where the next one may begin.
      const next = bytes.indexOf(WORKER_EVENT_MARK, offset + 1);
      offset = next >= 0 ? next : Math.max(offset + 1, bytes.length - WORKER_EVENT_MARK.length + 1);
    }
    this.#rest = bytes.subarray(offset);
  }

  #handle(event: WorkerEvent): void {
    if (this.#parts.now() - event.seconds > STALE) return;
    if (event.type === WorkerEventType.acquire) this.#acquire(event);
    else this.#mapping(event);
  }

  #acquire({ subject, protocol, src, dst, srcPort, dstPort }: WorkerEvent): void {
    const { spd, send } = this.#parts;
    if (subject >= spd.used || !spd.present(subject)) return;
    const { id, type, reqid } = spd.read(subject);
    if (id.direction !== PolicyDirection.out || type !== PolicyType.ipsec || reqid === 0) return;
    // Another policy may have the entry by now.
    if (!contains(id.srcSelector, src) || !contains(id.dstSelector, dst)) return;
    const now = this.#parts.now();
    // charon refuses to negotiate what is up already.
    const atLeast = spd.sa(subject) === NARROWED ? LONGEST_PAUSE : 1;
    if (!this.#acquires.isDue(reqid, "", now, atLeast)) return;
    const told = send({
      event: "acquire",
      reqid,
      src: hostSelector(src, protocol, srcPort),
      dst: hostSelector(dst, protocol, dstPort),
    });
    if (told) this.#acquires.note(reqid, "", now);
  }

  #mapping({ subject, spi, src, srcPort }: WorkerEvent): void {
    const { sad, send } = this.#parts;
    if (subject >= sad.slotCount || sad.state(subject) !== SaState.active || sad.spi(subject) !== spi) return;
    const flags = sad.flags(subject);
    if (!(flags & SaFlag.inbound) || !(flags & SaFlag.udpEncapsulation)) return;
    const known = readEndPoints(sad, subject);
    if (known.src.address.length !== src.length) return;
    if (compareAddresses(known.src.address, src) === 0 && known.src.port === srcPort) return;
    const now = this.#parts.now();
    const where = `${formatAddress(src)} ${srcPort}`;
    if (!this.#mappings.isDue(spi, where, now)) return;
    const protocol = sad.words[(sad.offset(subject) + saSlot.at.protocol) >>> 2];
    const remote = { address: src, port: srcPort };
    if (send({ event: "mapping", protocol, spi, dst: known.dst, remote }))
      this.#mappings.note(spi, where, now);
  }

  close(): void {
    this.#socket.destroy();
  }
}

function contains({ from, to }: Selector, address: IpAddress): boolean {
  return (
    from.length === address.length &&
    compareAddresses(from, address) <= 0 &&
    compareAddresses(address, to) <= 0
  );
}

/** The packet itself as a selector. */
function hostSelector(address: IpAddress, protocol: number, port: number): Selector {
  const isIcmp = protocol === 1 || protocol === 58;
  const exact = isIcmp || (HAS_PORTS.has(protocol) && port !== 0);
  return { from: address, to: address, protocol, fromPort: exact ? port : 0, toPort: exact ? port : 0xffff };
}
