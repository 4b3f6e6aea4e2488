// Bytes as messages. Everything is hostile until it is checked: lengths and counts against the bytes that are there,
// families, numbers of closed sets, text, and that whatever is reserved or unused is zero. So each message has exactly
// one encoding, and what decodes can be encoded to the same bytes again. A DecodeError names the field and the value
// that was wrong, but never a byte of a key.

import type { Host, Mark, PolicyId, SaId, Selector, Status } from "../ipsec/kernel.js";
import { compareAddresses, formatAddress, type IpAddress } from "../net/address.js";
import type { Layout } from "./layout.js";
import {
  AcquireFlag,
  AcquireLayout,
  AddSaLayout,
  type AddSaMessage,
  ANSWER,
  AnswerLayout,
  type Call,
  type CallAnswer,
  CPU_ANY,
  callName,
  type Event,
  EventType,
  ExpireLayout,
  GetCpiLayout,
  GetSpiLayout,
  HeaderLayout,
  type Hello,
  type HelloAnswer,
  HelloAnswerLayout,
  HelloLayout,
  HostLayout,
  IDLE_NEVER,
  INTERFACE_SIZE,
  KEY_MAX,
  MAGIC,
  MappingLayout,
  MESSAGE_MAX,
  Offload,
  PolicyFlag,
  PolicyIdFlag,
  PolicyIdLayout,
  PolicyLayout,
  type PolicyMessage,
  REASON_MAX,
  type Request,
  SaFlag,
  SaIdLayout,
  SaLayout,
  type SaMessage,
  SELECTORS_MAX,
  SelectorLayout,
  SOFTWARE_SIZE,
  UpdateFlag,
  UpdateSaLayout,
  type UpdateSaMessage,
  VERSION,
  WireStatus,
} from "./protocol.js";

const BODY = HeaderLayout.size;

/** A message was refused. `type` and `id` are those of its header, where it is long enough to have them. */
export class DecodeError extends Error {
  type = 0;
  id = 0;
  constructor(message: string) {
    super(message);
    this.name = "DecodeError";
  }
}

/** The header says that the sender speaks another version; everything behind the header is unknown then. */
export class VersionError extends DecodeError {
  readonly version: number;
  constructor(version: number) {
    super(`version ${version} of the protocol is not ${VERSION}`);
    this.name = "VersionError";
    this.version = version;
  }
}

export interface Header {
  type: number;
  id: number;
  deadline: bigint;
}

/**
 * Reads one call. Addresses are copies; keys are windows on `bytes`, valid until the caller zeroes them.
 * @throws DecodeError, with `type` and `id` set as far as the header could be read
 */
export function decodeRequest(bytes: Uint8Array): Request {
  return withHeader(bytes, (reader, { type, id, deadline }) => {
    const call = callName(type);
    if (call === undefined) throw new DecodeError(`message type 0x${type.toString(16)} is no call`);
    reader.what = call;
    return { call, id, deadline, body: requestBody(reader, call) } as Request;
  });
}

export type FromDaemon =
  | { kind: "hello"; answer: HelloAnswer }
  | { kind: "answer"; answer: CallAnswer }
  /** An answer to a type that is no call: `type` is what the caller sent. */
  | { kind: "refusal"; type: number; id: number; status: Status; reason: string }
  | { kind: "event"; event: Event };

/**
 * Reads what a daemon sends: an answer or an event.
 * @throws DecodeError
 */
export function decodeFromDaemon(bytes: Uint8Array): FromDaemon {
  return withHeader(bytes, (reader, { type, id }): FromDaemon => {
    if ((type & ANSWER) === 0) {
      return { kind: "event", event: decodeEvent(reader, type) };
    }
    const call = callName(type & ~ANSWER);
    reader.what = `answer to ${call ?? `type 0x${(type & ~ANSWER).toString(16)}`}`;
    if (call === "hello") return { kind: "hello", answer: helloAnswer(reader, id) };
    const answer = callAnswer(reader, id);
    if (call === undefined) {
      return { kind: "refusal", type: type & ~ANSWER, id, status: answer.status, reason: answer.reason };
    }
    return { kind: "answer", answer: { call, ...answer } };
  });
}

/** The bytes of one message and the name under which errors speak of it. */
class Reader {
  what = "message";
  readonly bytes: Uint8Array;
  readonly view: DataView;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  fail(field: string, problem: string): never {
    throw new DecodeError(`${this.what}: ${field} ${problem}`);
  }
  /** The body must have exactly this size. */
  expect(size: number): void {
    const actual = this.bytes.length - BODY;
    if (actual !== size) this.fail("body", `of ${actual} bytes is not ${size} bytes long`);
  }
  u8(at: number): number {
    return this.bytes[at];
  }
  u16(at: number): number {
    return this.view.getUint16(at, true);
  }
  u32(at: number): number {
    return this.view.getUint32(at, true);
  }
  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }
  zero(at: number, length: number, field: string): void {
    for (let i = at; i < at + length; i++) if (this.bytes[i] !== 0) this.fail(field, "is not zero");
  }
  /** A number of a closed set from 0 (or `first`) to `last`. */
  range(value: number, first: number, last: number, field: string): number {
    if (value < first || value > last) this.fail(field, `${value} is not within ${first} to ${last}`);
    return value;
  }
  flags(value: number, known: Record<string, number>, field: string): number {
    const all = Object.values(known).reduce((sum, bit) => sum | bit, 0);
    if ((value & ~all) !== 0) this.fail(field, `0x${value.toString(16)} has bits that are not known`);
    return value;
  }
  /** Printable ASCII up to a zero, and zeros from there on. */
  text(at: number, size: number, field: string): string {
    let text = "";
    let end = at;
    while (end < at + size && this.bytes[end] !== 0) {
      const byte = this.bytes[end++];
      if (byte < 0x20 || byte > 0x7e) this.fail(field, `has byte 0x${byte.toString(16)}`);
      text += String.fromCharCode(byte);
    }
    if (end === at + size) this.fail(field, "does not end with a zero");
    this.zero(end, at + size - end, `${field} behind its end`);
    return text;
  }
}

function withHeader<T>(bytes: Uint8Array, read: (reader: Reader, header: Header) => T): T {
  const { offset } = HeaderLayout;
  const reader = new Reader(bytes);
  let type = 0;
  let id = 0;
  try {
    // What the header has is read before anything is refused, so that even then the answer can name type and id.
    if (bytes.length >= offset.type + 2) type = reader.u16(offset.type);
    if (bytes.length >= offset.id + 4) id = reader.u32(offset.id);
    reader.what = "header";
    if (bytes.length < HeaderLayout.size) reader.fail("length", `of ${bytes.length} bytes is too short`);
    const magic = reader.u32(offset.magic);
    if (magic !== MAGIC) reader.fail("magic", `0x${magic.toString(16)} is not 0x${MAGIC.toString(16)}`);
    const version = reader.u16(offset.version);
    if (version !== VERSION) throw new VersionError(version);
    const length = reader.u32(offset.length);
    if (length !== bytes.length) reader.fail("length", `${length} is not the ${bytes.length} bytes sent`);
    if (length > MESSAGE_MAX) reader.fail("length", `${length} is more than ${MESSAGE_MAX}`);
    return read(reader, { type, id, deadline: reader.u64(offset.deadline) });
  } catch (error) {
    if (error instanceof DecodeError) {
      error.type = type;
      error.id = id;
    }
    throw error;
  }
}

function requestBody(reader: Reader, call: Call): Request["body"] {
  switch (call) {
    case "hello":
      return hello(reader);
    case "get_spi": {
      const { offset, size } = GetSpiLayout;
      reader.expect(size);
      reader.zero(BODY + offset.reserved, 3, "reserved");
      return {
        src: host(reader, BODY + offset.src, "src"),
        dst: host(reader, BODY + offset.dst, "dst"),
        protocol: protocol(reader, BODY + offset.protocol),
      };
    }
    case "get_cpi":
      reader.expect(GetCpiLayout.size);
      return {
        src: host(reader, BODY + GetCpiLayout.offset.src, "src"),
        dst: host(reader, BODY + GetCpiLayout.offset.dst, "dst"),
      };
    case "add_sa":
      return addSa(reader);
    case "update_sa":
      return updateSa(reader);
    case "query_sa":
    case "del_sa":
      return sa(reader);
    case "add_policy":
    case "del_policy":
      return policy(reader);
    case "query_policy":
      reader.expect(PolicyIdLayout.size);
      return policyId(reader, BODY);
    case "flush_sas":
    case "flush_policies":
      reader.expect(0);
      return {};
  }
}

function address(reader: Reader, at: number, family: number, field: string): IpAddress {
  if (family === 6) return reader.bytes.slice(at, at + 16);
  reader.zero(at + 4, 12, `${field} behind its IPv4 address`);
  return reader.bytes.slice(at, at + 4);
}

function family(reader: Reader, value: number, field: string): number {
  if (value !== 4 && value !== 6) reader.fail(field, `family ${value} is neither 4 nor 6`);
  return value;
}

function host(reader: Reader, at: number, field: string): Host {
  const { offset } = HostLayout;
  return {
    address: address(reader, at + offset.address, family(reader, reader.u16(at), field), field),
    port: reader.u16(at + offset.port),
  };
}

function selector(reader: Reader, at: number, field: string): Selector {
  const { offset } = SelectorLayout;
  const version = family(reader, reader.u8(at + offset.family), field);
  reader.zero(at + offset.reserved, 2, `${field} reserved`);
  const from = address(reader, at + offset.from, version, `${field} from`);
  const to = address(reader, at + offset.to, version, `${field} to`);
  if (compareAddresses(from, to) > 0) {
    reader.fail(field, `begins at ${formatAddress(from)}, behind its end ${formatAddress(to)}`);
  }
  return {
    from,
    to,
    protocol: reader.u8(at + offset.protocol),
    fromPort: reader.u16(at + offset.from_port),
    toPort: reader.u16(at + offset.to_port),
  };
}

function mark(reader: Reader, at: number): Mark {
  return { value: reader.u32(at), mask: reader.u32(at + 4) };
}

function protocol(reader: Reader, at: number): number {
  const value = reader.u8(at);
  if (value !== 50 && value !== 51) reader.fail("protocol", `${value} is neither 50 (ESP) nor 51 (AH)`);
  return value;
}

function interfaceName(reader: Reader, at: number): string {
  const name = reader.text(at, INTERFACE_SIZE, "interface");
  if (/[/ ]/.test(name)) reader.fail("interface", `"${name}" has a slash or a space`);
  return name;
}

function saId(reader: Reader, at: number): SaId {
  const { offset } = SaIdLayout;
  reader.zero(at + offset.reserved, 3, "id reserved");
  return {
    src: host(reader, at + offset.src, "src"),
    dst: host(reader, at + offset.dst, "dst"),
    spi: reader.u32(at + offset.spi),
    protocol: protocol(reader, at + offset.protocol),
    mark: mark(reader, at + offset.mark),
    interfaceId: reader.u32(at + offset.if_id),
  };
}

function hello(reader: Reader): Hello {
  const { offset, size } = HelloLayout;
  reader.expect(size);
  reader.zero(BODY + offset.reserved, 4, "reserved");
  const session = reader.u64(BODY + offset.session);
  if (session === 0n) reader.fail("session", "is 0");
  return {
    session,
    clock: reader.u64(BODY + offset.clock),
    pid: reader.u32(BODY + offset.pid),
    software: reader.text(BODY + offset.software, SOFTWARE_SIZE, "software"),
  };
}

/** A window on the message. What is behind the key must be zero; errors tell lengths only. */
function key(reader: Reader, at: number, lengthAt: number, field: string): Uint8Array {
  const length = reader.range(reader.u16(lengthAt), 0, KEY_MAX, `${field} length`);
  reader.zero(at + length, KEY_MAX - length, `${field} behind its end`);
  return reader.bytes.subarray(at, at + length);
}

const offloadNames = Object.keys(Offload) as (keyof typeof Offload)[];

function addSa(reader: Reader): AddSaMessage {
  const { offset, size } = AddSaLayout;
  // The counts are inside the part whose length must be known first.
  if (reader.bytes.length < BODY + size) reader.expect(size);
  const at = (name: keyof typeof offset) => BODY + offset[name];
  const srcCount = reader.range(reader.u16(at("src_selectors")), 0, SELECTORS_MAX, "src_selectors");
  const dstCount = reader.range(reader.u16(at("dst_selectors")), 0, SELECTORS_MAX, "dst_selectors");
  reader.expect(size + (srcCount + dstCount) * SelectorLayout.size);
  reader.zero(at("reserved"), 1, "reserved");
  const selectors = (first: number, count: number, field: string) =>
    Array.from({ length: count }, (_, i) =>
      selector(reader, BODY + size + (first + i) * SelectorLayout.size, `${field} ${i}`),
    );
  const flags = reader.flags(reader.u32(at("flags")), SaFlag, "flags");
  const cpu = reader.u32(at("cpu"));
  return {
    id: saId(reader, at("id")),
    inbound: (flags & SaFlag.inbound) !== 0,
    update: (flags & SaFlag.update) !== 0,
    initiator: (flags & SaFlag.initiator) !== 0,
    reqid: reader.u32(at("reqid")),
    mode: reader.range(reader.u8(at("mode")), 0, 6, "mode"),
    srcSelectors: selectors(0, srcCount, "source selector"),
    dstSelectors: selectors(srcCount, dstCount, "destination selector"),
    encryption: reader.u16(at("encryption")),
    encryptionKey: key(reader, at("encryption_key"), at("encryption_key_length"), "encryption key"),
    integrity: reader.u16(at("integrity")),
    integrityKey: key(reader, at("integrity_key"), at("integrity_key_length"), "integrity key"),
    extendedSequenceNumbers: (flags & SaFlag.esn) !== 0,
    replayWindow: reader.u32(at("replay_window")),
    udpEncapsulation: (flags & SaFlag.encap) !== 0,
    lifetime: {
      time: { rekey: reader.u64(at("time_rekey")), life: reader.u64(at("time_life")) },
      bytes: { rekey: reader.u64(at("bytes_rekey")), life: reader.u64(at("bytes_life")) },
      packets: { rekey: reader.u64(at("packets_rekey")), life: reader.u64(at("packets_life")) },
    },
    tfc: reader.u32(at("tfc")),
    ipcomp: reader.u16(at("ipcomp")),
    cpi: reader.u16(at("cpi")),
    copyDf: (flags & SaFlag.copy_df) !== 0,
    copyEcn: (flags & SaFlag.copy_ecn) !== 0,
    copyDscp: reader.range(reader.u8(at("copy_dscp")), 0, 3, "copy_dscp"),
    hardwareOffload:
      offloadNames[reader.range(reader.u8(at("offload")), 0, offloadNames.length - 1, "offload")],
    setMark: mark(reader, at("set_mark")),
    interface: interfaceName(reader, at("interface")),
    labelled: (flags & SaFlag.labelled) !== 0,
    acquireSequence: reader.u32(at("seq")),
    cpu: cpu === CPU_ANY ? undefined : cpu,
    iptfsDontFragment: (flags & SaFlag.iptfs_dont_frag) !== 0,
  };
}

function updateSa(reader: Reader): UpdateSaMessage {
  const { offset, size } = UpdateSaLayout;
  reader.expect(size);
  reader.zero(BODY + offset.reserved, 2, "reserved");
  const flags = reader.flags(reader.u32(BODY + offset.flags), UpdateFlag, "flags");
  return {
    id: saId(reader, BODY + offset.id),
    newSrc: host(reader, BODY + offset.new_src, "new_src"),
    newDst: host(reader, BODY + offset.new_dst, "new_dst"),
    udpEncapsulation: (flags & UpdateFlag.encap) !== 0,
    newUdpEncapsulation: (flags & UpdateFlag.new_encap) !== 0,
    newReqid: reader.u32(BODY + offset.new_reqid),
    cpi: reader.u16(BODY + offset.cpi),
  };
}

function sa(reader: Reader): SaMessage {
  const { offset, size } = SaLayout;
  reader.expect(size);
  reader.zero(BODY + offset.reserved, 2, "reserved");
  return { id: saId(reader, BODY + offset.id), cpi: reader.u16(BODY + offset.cpi) };
}

function policyId(reader: Reader, at: number): PolicyId {
  const { offset } = PolicyIdLayout;
  reader.zero(at + offset.reserved, 2, "id reserved");
  const flags = reader.flags(reader.u8(at + offset.flags), PolicyIdFlag, "id flags");
  return {
    direction: reader.range(reader.u8(at + offset.direction), 0, 2, "direction"),
    srcSelector: selector(reader, at + offset.src, "source selector"),
    dstSelector: selector(reader, at + offset.dst, "destination selector"),
    mark: mark(reader, at + offset.mark),
    interfaceId: reader.u32(at + offset.if_id),
    interface: interfaceName(reader, at + offset.interface),
    labelled: (flags & PolicyIdFlag.labelled) !== 0,
  };
}

function policy(reader: Reader): PolicyMessage {
  const { offset, size } = PolicyLayout;
  reader.expect(size);
  const flags = reader.flags(reader.u8(BODY + offset.flags), PolicyFlag, "flags");
  const spi = (at: number, used: boolean, field: string) => {
    if (!used && reader.u32(at) !== 0) reader.fail(field, "is set for a protocol that is not used");
    return reader.u32(at);
  };
  return {
    id: policyId(reader, BODY + offset.id),
    type: reader.range(reader.u8(BODY + offset.type), 1, 3, "type"),
    priorityClass: reader.range(reader.u8(BODY + offset.priority), 0, 3, "priority"),
    manualPriority: reader.u32(BODY + offset.manual_priority),
    src: host(reader, BODY + offset.src, "src"),
    dst: host(reader, BODY + offset.dst, "dst"),
    mode: reader.range(reader.u8(BODY + offset.mode), 0, 6, "mode"),
    reqid: reader.u32(BODY + offset.reqid),
    espSpi: spi(BODY + offset.esp_spi, (flags & PolicyFlag.esp) !== 0, "esp_spi"),
    usesEsp: (flags & PolicyFlag.esp) !== 0,
    usesAh: (flags & PolicyFlag.ah) !== 0,
    ipcomp: reader.u16(BODY + offset.ipcomp),
    policyCount: reader.u32(BODY + offset.policy_count),
    ahSpi: spi(BODY + offset.ah_spi, (flags & PolicyFlag.ah) !== 0, "ah_spi"),
    cpi: reader.u16(BODY + offset.cpi),
    perCpuAcquires: (flags & PolicyFlag.per_cpu_acquires) !== 0,
  };
}

const statuses = new Set<number>(Object.values(WireStatus));

function status(reader: Reader, at: number): Status {
  const value = reader.u32(at);
  if (!statuses.has(value)) reader.fail("status", `${value} is none`);
  return value as Status;
}

const textDecoder = new TextDecoder();

/** The text behind an answer's fixed part, which must fill the message exactly. */
function reason(reader: Reader, layout: Layout, lengthAt: number): string {
  if (reader.bytes.length < BODY + layout.size) reader.expect(layout.size);
  const length = reader.range(reader.u16(lengthAt), 0, REASON_MAX, "reason_length");
  reader.expect(layout.size + length);
  return textDecoder.decode(reader.bytes.subarray(BODY + layout.size));
}

function helloAnswer(reader: Reader, id: number): HelloAnswer {
  const { offset } = HelloAnswerLayout;
  const text = reason(reader, HelloAnswerLayout, BODY + offset.reason_length);
  reader.zero(BODY + offset.reserved, 2, "reserved");
  reader.zero(BODY + offset.reserved2, 4, "reserved2");
  return {
    call: "hello",
    id,
    status: status(reader, BODY + offset.status),
    bootId: reader.u64(BODY + offset.boot_id),
    features: reader.u32(BODY + offset.features),
    reason: text,
  };
}

function callAnswer(reader: Reader, id: number): Omit<CallAnswer, "call"> {
  const { offset } = AnswerLayout;
  const text = reason(reader, AnswerLayout, BODY + offset.reason_length);
  reader.zero(BODY + offset.reserved, 2, "reserved");
  const idle = reader.u32(BODY + offset.idle);
  return {
    id,
    status: status(reader, BODY + offset.status),
    reason: text,
    value: reader.u32(BODY + offset.value),
    bytes: reader.u64(BODY + offset.bytes),
    packets: reader.u64(BODY + offset.packets),
    idle: idle === IDLE_NEVER ? undefined : idle,
  };
}

function decodeEvent(reader: Reader, type: number): Event {
  switch (type) {
    case EventType.expire: {
      const { offset, size } = ExpireLayout;
      reader.what = "expire";
      reader.expect(size);
      reader.zero(BODY + offset.reserved, 2, "reserved");
      return {
        event: "expire",
        protocol: protocol(reader, BODY + offset.protocol),
        spi: reader.u32(BODY + offset.spi),
        dst: host(reader, BODY + offset.dst, "dst"),
        hard: reader.range(reader.u8(BODY + offset.hard), 0, 1, "hard") === 1,
      };
    }
    case EventType.acquire: {
      const { offset, size } = AcquireLayout;
      reader.what = "acquire";
      reader.expect(size);
      const flags = reader.flags(reader.u32(BODY + offset.flags), AcquireFlag, "flags");
      const optional = (at: number, present: boolean, field: string) => {
        if (present) return selector(reader, at, field);
        reader.zero(at, SelectorLayout.size, field);
        return undefined;
      };
      return {
        event: "acquire",
        reqid: reader.u32(BODY + offset.reqid),
        src: optional(BODY + offset.src, (flags & AcquireFlag.src) !== 0, "source selector"),
        dst: optional(BODY + offset.dst, (flags & AcquireFlag.dst) !== 0, "destination selector"),
      };
    }
    case EventType.mapping: {
      const { offset, size } = MappingLayout;
      reader.what = "mapping";
      reader.expect(size);
      reader.zero(BODY + offset.reserved, 3, "reserved");
      return {
        event: "mapping",
        protocol: protocol(reader, BODY + offset.protocol),
        spi: reader.u32(BODY + offset.spi),
        dst: host(reader, BODY + offset.dst, "dst"),
        remote: host(reader, BODY + offset.remote, "remote"),
      };
    }
    default:
      throw new DecodeError(`message type 0x${type.toString(16)} is neither an answer nor an event`);
  }
}
