// What a worker has to tell the supervisor: records of a fixed size, written to a pipe that both keep open. A write of one
// record is atomic (pipe(7), PIPE_BUF) and never blocks; a record that does not fit is lost, and told again with a
// later packet.

import { bytes, struct, u16, u32 } from "../memory/layout.js";

export const WorkerEventType = {
  /** A packet met a policy that wants protection, and there is no SA. */
  acquire: 1,
  /** An authentic packet came from another address or port than the SA's. */
  mapping: 2,
} as const;

export const workerEvent = struct(
  "worker event",
  "One record in the pipe between workers and supervisor.",
  {
    type: u32("1 acquire, 2 mapping"),
    subject: u32("acquire: entry of the SPD; mapping: slot of the SAD"),
    family: u16("4 or 6"),
    protocol: u16("acquire: IP protocol of the packet"),
    srcPort: u16("source port; for ICMP type × 256 + code"),
    dstPort: u16("destination port"),
    /** IPv4 in the first four bytes. */
    src: bytes(16, "source address; mapping: the peer's new one"),
    dst: bytes(16, "destination address"),
  },
  16,
);

/** What the data path calls. Neither allocates nor blocks. */
export interface Notifier {
  /** @param ip where the packet's IP header begins in `view`; ports are -1 where there are none */
  acquire(
    entry: number,
    view: DataView,
    ip: number,
    protocol: number,
    srcPort: number,
    dstPort: number,
  ): void;
  /** @param outer where the outer IP header begins */
  mapping(slot: number, view: DataView, outer: number, srcPort: number): void;
}

const at = workerEvent.at;

/** Encodes records into a buffer of its own and hands them to `write`. */
export class EventWriter implements Notifier {
  readonly record = new Uint8Array(workerEvent.size);
  private readonly fields = new DataView(this.record.buffer);

  /** @param write takes `record` as it is during the call */
  constructor(private readonly write: (record: Uint8Array) => void) {}

  acquire(
    entry: number,
    view: DataView,
    ip: number,
    protocol: number,
    srcPort: number,
    dstPort: number,
  ): void {
    this.fill(WorkerEventType.acquire, entry, view, ip, protocol, srcPort, dstPort);
  }

  mapping(slot: number, view: DataView, outer: number, srcPort: number): void {
    this.fill(WorkerEventType.mapping, slot, view, outer, 0, srcPort, 0);
  }

  private fill(
    type: number,
    subject: number,
    view: DataView,
    ip: number,
    protocol: number,
    srcPort: number,
    dstPort: number,
  ): void {
    const { fields } = this;
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    this.record.fill(0);
    fields.setUint32(at.type, type, true);
    fields.setUint32(at.subject, subject, true);
    fields.setUint16(at.family, isIpv4 ? 4 : 6, true);
    fields.setUint16(at.protocol, protocol, true);
    fields.setUint16(at.srcPort, srcPort < 0 ? 0 : srcPort, true);
    fields.setUint16(at.dstPort, dstPort < 0 ? 0 : dstPort, true);
    const length = isIpv4 ? 4 : 16;
    const src = isIpv4 ? ip + 12 : ip + 8;
    for (let i = 0; i < length; i += 4) {
      fields.setUint32(at.src + i, view.getUint32(src + i));
      fields.setUint32(at.dst + i, view.getUint32(src + length + i));
    }
    this.write(this.record);
  }
}

export interface WorkerEvent {
  type: number;
  subject: number;
  protocol: number;
  srcPort: number;
  dstPort: number;
  src: Uint8Array;
  dst: Uint8Array;
}

/** Decodes the record at `offset`; undefined for one that no worker writes. */
export function decodeWorkerEvent(record: Uint8Array, offset = 0): WorkerEvent | undefined {
  const fields = new DataView(record.buffer, record.byteOffset + offset, workerEvent.size);
  const type = fields.getUint32(at.type, true);
  const family = fields.getUint16(at.family, true);
  if (
    (type !== WorkerEventType.acquire && type !== WorkerEventType.mapping) ||
    (family !== 4 && family !== 6)
  )
    return undefined;
  const address = (start: number) => record.slice(offset + start, offset + start + (family === 4 ? 4 : 16));
  return {
    type,
    subject: fields.getUint32(at.subject, true),
    protocol: fields.getUint16(at.protocol, true),
    srcPort: fields.getUint16(at.srcPort, true),
    dstPort: fields.getUint16(at.dstPort, true),
    src: address(at.src),
    dst: address(at.dst),
  };
}
