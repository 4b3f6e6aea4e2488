// What a worker has to tell the supervisor: records of a fixed size, written to a pipe that both keep open. A write of one
// record is atomic (pipe(7), PIPE_BUF) and never blocks; a record that does not fit is lost, and told again later.
//
// The reader trusts nothing in the pipe: a record begins with a mark by which the next one is found again behind whatever
// is none (a supervisor that was killed may have taken half a record with it), and says what it is about in a way that
// can be compared with what the tables say by then.

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
    magic: u32('"VITE"'),
    type: u32("1 acquire, 2 mapping"),
    subject: u32("acquire: entry of the SPD; mapping: slot of the SAD"),
    spi: u32("mapping: SPI of the SA in that slot"),
    seconds: u32("CLOCK_MONOTONIC when the record was written"),
    family: u16("4 or 6"),
    protocol: u16("acquire: IP protocol of the packet"),
    srcPort: u16("source port; for ICMP type × 256 + code"),
    dstPort: u16("destination port"),
    /** IPv4 in the first four bytes. */
    src: bytes(16, "source address; mapping: the peer's new one"),
    dst: bytes(16, "destination address"),
  },
  64,
);

/** "VITE", the first four bytes of every record. */
export const WORKER_EVENT_MARK = Uint8Array.of(0x56, 0x49, 0x54, 0x45);
const MAGIC = 0x45544956;

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
  mapping(slot: number, spi: number, view: DataView, outer: number, srcPort: number): void;
}

/** For graphs without a supervisor. */
export const silentNotifier: Notifier = { acquire: () => {}, mapping: () => {} };

const at = workerEvent.at;

/** Encodes records into a buffer of its own and hands them to `write`. */
export class EventWriter implements Notifier {
  readonly record = new Uint8Array(workerEvent.size);
  private readonly fields = new DataView(this.record.buffer);

  /**
   * @param clock CLOCK_MONOTONIC, as of this breath
   * @param write takes `record` as it is during the call
   */
  constructor(
    private readonly clock: { readonly seconds: number },
    private readonly write: (record: Uint8Array) => void,
  ) {}

  acquire(
    entry: number,
    view: DataView,
    ip: number,
    protocol: number,
    srcPort: number,
    dstPort: number,
  ): void {
    this.fill(WorkerEventType.acquire, entry, 0, view, ip, protocol, srcPort, dstPort);
  }

  mapping(slot: number, spi: number, view: DataView, outer: number, srcPort: number): void {
    this.fill(WorkerEventType.mapping, slot, spi, view, outer, 0, srcPort, 0);
  }

  private fill(
    type: number,
    subject: number,
    spi: number,
    view: DataView,
    ip: number,
    protocol: number,
    srcPort: number,
    dstPort: number,
  ): void {
    const { fields } = this;
    const isIpv4 = view.getUint8(ip) >>> 4 === 4;
    this.record.fill(0);
    fields.setUint32(at.magic, MAGIC, true);
    fields.setUint32(at.type, type, true);
    fields.setUint32(at.subject, subject, true);
    fields.setUint32(at.spi, spi, true);
    fields.setUint32(at.seconds, this.clock.seconds, true);
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
  spi: number;
  seconds: number;
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
    fields.getUint32(at.magic, true) !== MAGIC ||
    (type !== WorkerEventType.acquire && type !== WorkerEventType.mapping) ||
    (family !== 4 && family !== 6)
  )
    return undefined;
  // A copy, which `slice` of a Buffer would not be.
  const address = (start: number) =>
    Uint8Array.from(record.subarray(offset + start, offset + start + (family === 4 ? 4 : 16)));
  return {
    type,
    subject: fields.getUint32(at.subject, true),
    spi: fields.getUint32(at.spi, true),
    seconds: fields.getUint32(at.seconds, true),
    protocol: fields.getUint16(at.protocol, true),
    srcPort: fields.getUint16(at.srcPort, true),
    dstPort: fields.getUint16(at.dstPort, true),
    src: address(at.src),
    dst: address(at.dst),
  };
}
