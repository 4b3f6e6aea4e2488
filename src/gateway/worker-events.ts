// The supervisor's end of the pipe by which workers tell what charon should know: packets that want an SA, and peers that
// speak from another address. The pipe is a named one in the run directory. Both ends hold it open for reading and
// writing, so that it outlives each of them.

import { constants, lstatSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import type { Event } from "../charon/protocol.js";
import type { Selector } from "../ipsec/kernel.js";
import { readEndPoints } from "../ipsec/outer-header.js";
import type { Sad } from "../ipsec/sad.js";
import { SaFlag, SaState, saSlot } from "../ipsec/sad-layout.js";
import type { Spd } from "../ipsec/spd.js";
import { PolicyDirection, PolicyType } from "../ipsec/spd-layout.js";
import { decodeWorkerEvent, type WorkerEvent, WorkerEventType, workerEvent } from "../ipsec/worker-events.js";
import { mkfifo } from "../native/libc.js";
import type { IpAddress } from "../net/address.js";

/** Seconds between two acquires for one reqid, and two mappings for one SA. */
const REPEAT = 2;
const LARGEST_MEMORY = 65_536;
const HAS_PORTS = new Set([6, 17, 33, 132, 136]);

/** Opens the pipe without ever waiting for the other end. The file is made if there is none. */
export function openEventPipe(path: string): number {
  try {
    if (!lstatSync(path).isFIFO()) rmSync(path);
  } catch {
    // There is none.
  }
  try {
    mkfifo(path, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
}

export interface WorkerEventsParts {
  sad: Sad;
  spd: Spd;
  /** CLOCK_MONOTONIC, seconds. */
  now(): number;
  send(event: Event): void;
}

export class WorkerEvents {
  readonly #parts: WorkerEventsParts;
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  /** When the last event about a reqid, or about an SA, was sent. */
  readonly #sent = new Map<string, number>();

  constructor(path: string, parts: WorkerEventsParts) {
    this.#parts = parts;
    this.#socket = new Socket({ fd: openEventPipe(path), readable: true, writable: false });
    this.#socket.on("data", (data: Buffer) => this.#take(data));
    this.#socket.unref();
  }

  #take(data: Buffer): void {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, data]) : data;
    const { size } = workerEvent;
    let offset = 0;
    for (; offset + size <= this.#rest.length; offset += size) {
      const event = decodeWorkerEvent(this.#rest, offset);
      if (event?.type === WorkerEventType.acquire) this.#acquire(event);
      else if (event?.type === WorkerEventType.mapping) this.#mapping(event);
    }
    this.#rest = this.#rest.subarray(offset);
  }

  /** Is an event about this due, or was there one a moment ago? */
  #isDue(key: string): boolean {
    const now = this.#parts.now();
    const last = this.#sent.get(key);
    if (last !== undefined && now - last < REPEAT) return false;
    if (this.#sent.size >= LARGEST_MEMORY) this.#sent.clear();
    this.#sent.set(key, now);
    return true;
  }

  #acquire({ subject, protocol, src, dst, srcPort, dstPort }: WorkerEvent): void {
    const { spd } = this.#parts;
    if (subject >= spd.used || !spd.present(subject)) return;
    const { id, type, reqid } = spd.read(subject);
    if (id.direction !== PolicyDirection.out || type !== PolicyType.ipsec || reqid === 0) return;
    if (!this.#isDue(`acquire ${reqid}`)) return;
    this.#parts.send({
      event: "acquire",
      reqid,
      src: hostSelector(src, protocol, srcPort),
      dst: hostSelector(dst, protocol, dstPort),
    });
  }

  #mapping({ subject, src, srcPort }: WorkerEvent): void {
    const { sad } = this.#parts;
    if (subject >= sad.slotCount || sad.state(subject) !== SaState.active) return;
    const flags = sad.flags(subject);
    if (!(flags & SaFlag.inbound) || !(flags & SaFlag.udpEncapsulation)) return;
    const { dst } = readEndPoints(sad, subject);
    const spi = sad.spi(subject);
    if (!this.#isDue(`mapping ${spi}`)) return;
    const protocol = sad.words[(sad.offset(subject) + saSlot.at.protocol) >>> 2];
    this.#parts.send({ event: "mapping", protocol, spi, dst, remote: { address: src, port: srcPort } });
  }

  close(): void {
    this.#socket.destroy();
  }
}

function hostSelector(address: IpAddress, protocol: number, port: number): Selector {
  const isIcmp = protocol === 1 || protocol === 58;
  const exact = isIcmp || (HAS_PORTS.has(protocol) && port !== 0);
  return { from: address, to: address, protocol, fromPort: exact ? port : 0, toPort: exact ? port : 0xffff };
}
