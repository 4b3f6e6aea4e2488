// Messages as bytes. Each function writes one message into a buffer of the caller, which must have room for it, and
// returns its length. Memory of a message is zeroed first, so that reserved and unused bytes are zero. Values that do
// not fit their field are programming errors and throw a RangeError; what may come from elsewhere (a reason) is cut.

import type { Host, Mark, PolicyId, SaId, Selector } from "../ipsec/kernel.js";
import {
  AcquireFlag,
  AcquireLayout,
  AddSaLayout,
  type AddSaMessage,
  ANSWER,
  AnswerLayout,
  type CallAnswer,
  CallType,
  CPU_ANY,
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
  MarkLayout,
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
  SELECTORS_MAX,
  SelectorLayout,
  SOFTWARE_SIZE,
  UpdateFlag,
  UpdateSaLayout,
  type UpdateSaMessage,
  VERSION,
} from "./protocol.js";

const BODY = HeaderLayout.size;

/** A buffer for messages, with the view that the encoder needs. */
export class MessageBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  constructor(size = MESSAGE_MAX) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }
}

/** Writes a call and returns its length in bytes. */
export function encodeRequest(out: MessageBuffer, request: Request): number {
  const length = BODY + requestBodySize(request);
  begin(out, CallType[request.call], length, request.id, request.deadline);
  switch (request.call) {
    case "hello":
      writeHello(out, request.body);
      break;
    case "get_spi":
      writeHost(out, BODY + GetSpiLayout.offset.src, request.body.src);
      writeHost(out, BODY + GetSpiLayout.offset.dst, request.body.dst);
      out.view.setUint8(BODY + GetSpiLayout.offset.protocol, request.body.protocol);
      break;
    case "get_cpi":
      writeHost(out, BODY + GetCpiLayout.offset.src, request.body.src);
      writeHost(out, BODY + GetCpiLayout.offset.dst, request.body.dst);
      break;
    case "add_sa":
      writeAddSa(out, request.body);
      break;
    case "update_sa":
      writeUpdateSa(out, request.body);
      break;
    case "query_sa":
    case "del_sa":
      writeSaId(out, BODY + SaLayout.offset.id, request.body.id);
      out.view.setUint16(BODY + SaLayout.offset.cpi, request.body.cpi, true);
      break;
    case "add_policy":
    case "del_policy":
      writePolicy(out, request.body);
      break;
    case "query_policy":
      writePolicyId(out, BODY, request.body);
      break;
    case "flush_sas":
    case "flush_policies":
      break;
  }
  return length;
}

/** Writes an answer to any call but hello and returns its length in bytes. */
export function encodeAnswer(out: MessageBuffer, answer: CallAnswer): number {
  const { offset, size } = AnswerLayout;
  const reason = reasonBytes(answer.reason);
  const length = BODY + size + reason.length;
  begin(out, CallType[answer.call] | ANSWER, length, answer.id, 0n);
  out.view.setBigUint64(BODY + offset.bytes, answer.bytes, true);
  out.view.setBigUint64(BODY + offset.packets, answer.packets, true);
  out.view.setUint32(BODY + offset.status, answer.status, true);
  out.view.setUint32(BODY + offset.value, answer.value, true);
  const idle = answer.idle === undefined ? IDLE_NEVER : Math.min(answer.idle, IDLE_NEVER - 1);
  out.view.setUint32(BODY + offset.idle, idle, true);
  out.view.setUint16(BODY + offset.reason_length, reason.length, true);
  out.bytes.set(reason, BODY + size);
  return length;
}

/** Writes an answer to hello and returns its length in bytes. */
export function encodeHelloAnswer(out: MessageBuffer, answer: HelloAnswer): number {
  const { offset, size } = HelloAnswerLayout;
  const reason = reasonBytes(answer.reason);
  const length = BODY + size + reason.length;
  begin(out, CallType.hello | ANSWER, length, answer.id, 0n);
  out.view.setBigUint64(BODY + offset.boot_id, answer.bootId, true);
  out.view.setUint32(BODY + offset.status, answer.status, true);
  out.view.setUint32(BODY + offset.features, answer.features, true);
  out.view.setUint16(BODY + offset.reason_length, reason.length, true);
  out.bytes.set(reason, BODY + size);
  return length;
}

/** Refuses a message of a type that does not exist: the answer of other calls, with the type repeated. */
export function encodeRefusal(
  out: MessageBuffer,
  type: number,
  id: number,
  status: number,
  text: string,
): number {
  const { offset, size } = AnswerLayout;
  const reason = reasonBytes(text);
  const length = BODY + size + reason.length;
  begin(out, (type | ANSWER) & 0xffff, length, id, 0n);
  out.view.setUint32(BODY + offset.status, status, true);
  out.view.setUint32(BODY + offset.idle, IDLE_NEVER, true);
  out.view.setUint16(BODY + offset.reason_length, reason.length, true);
  out.bytes.set(reason, BODY + size);
  return length;
}

/** Writes an event and returns its length in bytes. */
export function encodeEvent(out: MessageBuffer, event: Event): number {
  const size = { expire: ExpireLayout, acquire: AcquireLayout, mapping: MappingLayout }[event.event].size;
  begin(out, EventType[event.event], BODY + size, 0, 0n);
  switch (event.event) {
    case "expire": {
      const { offset } = ExpireLayout;
      writeHost(out, BODY + offset.dst, event.dst);
      out.view.setUint32(BODY + offset.spi, event.spi, true);
      out.view.setUint8(BODY + offset.protocol, event.protocol);
      out.view.setUint8(BODY + offset.hard, event.hard ? 1 : 0);
      break;
    }
    case "acquire": {
      const { offset } = AcquireLayout;
      const flags = (event.src ? AcquireFlag.src : 0) | (event.dst ? AcquireFlag.dst : 0);
      out.view.setUint32(BODY + offset.reqid, event.reqid, true);
      out.view.setUint32(BODY + offset.flags, flags, true);
      if (event.src) writeSelector(out, BODY + offset.src, event.src);
      if (event.dst) writeSelector(out, BODY + offset.dst, event.dst);
      break;
    }
    case "mapping": {
      const { offset } = MappingLayout;
      writeHost(out, BODY + offset.dst, event.dst);
      writeHost(out, BODY + offset.remote, event.remote);
      out.view.setUint32(BODY + offset.spi, event.spi, true);
      out.view.setUint8(BODY + offset.protocol, event.protocol);
      break;
    }
  }
  return BODY + size;
}

function requestBodySize(request: Request): number {
  switch (request.call) {
    case "hello":
      return HelloLayout.size;
    case "get_spi":
      return GetSpiLayout.size;
    case "get_cpi":
      return GetCpiLayout.size;
    case "add_sa": {
      const { srcSelectors, dstSelectors } = request.body;
      return AddSaLayout.size + (srcSelectors.length + dstSelectors.length) * SelectorLayout.size;
    }
    case "update_sa":
      return UpdateSaLayout.size;
    case "query_sa":
    case "del_sa":
      return SaLayout.size;
    case "add_policy":
    case "del_policy":
      return PolicyLayout.size;
    case "query_policy":
      return PolicyIdLayout.size;
    case "flush_sas":
    case "flush_policies":
      return 0;
  }
}

function begin(out: MessageBuffer, type: number, length: number, id: number, deadline: bigint): void {
  const { offset } = HeaderLayout;
  if (length > out.bytes.length) throw new RangeError(`a message of ${length} bytes does not fit its buffer`);
  out.bytes.fill(0, 0, length);
  out.view.setUint32(offset.magic, MAGIC, true);
  out.view.setUint16(offset.version, VERSION, true);
  out.view.setUint16(offset.type, type, true);
  out.view.setUint32(offset.length, length, true);
  out.view.setUint32(offset.id, id, true);
  if (deadline !== 0n) out.view.setBigUint64(offset.deadline, deadline, true);
}

const none = new Uint8Array(0);
const encoder = new TextEncoder();

/** Cut where a character ends. */
function reasonBytes(reason: string): Uint8Array {
  if (reason === "") return none;
  const bytes = new Uint8Array(REASON_MAX);
  return bytes.subarray(0, encoder.encodeInto(reason, bytes).written);
}

function writeText(out: MessageBuffer, at: number, size: number, text: string): void {
  if (text.length >= size) throw new RangeError(`"${text}" is longer than ${size - 1} characters`);
  for (let i = 0; i < text.length; i++) out.bytes[at + i] = text.charCodeAt(i);
}

function writeHost(out: MessageBuffer, at: number, host: Host): void {
  const { offset } = HostLayout;
  out.view.setUint16(at + offset.family, host.address.length === 4 ? 4 : 6, true);
  out.view.setUint16(at + offset.port, host.port, true);
  out.bytes.set(host.address, at + offset.address);
}

function writeMark(out: MessageBuffer, at: number, mark: Mark): void {
  out.view.setUint32(at + MarkLayout.offset.value, mark.value, true);
  out.view.setUint32(at + MarkLayout.offset.mask, mark.mask, true);
}

function writeSelector(out: MessageBuffer, at: number, selector: Selector): void {
  const { offset } = SelectorLayout;
  out.view.setUint8(at + offset.family, selector.from.length === 4 ? 4 : 6);
  out.view.setUint8(at + offset.protocol, selector.protocol);
  out.view.setUint16(at + offset.from_port, selector.fromPort, true);
  out.view.setUint16(at + offset.to_port, selector.toPort, true);
  out.bytes.set(selector.from, at + offset.from);
  out.bytes.set(selector.to, at + offset.to);
}

function writeSaId(out: MessageBuffer, at: number, id: SaId): void {
  const { offset } = SaIdLayout;
  writeHost(out, at + offset.src, id.src);
  writeHost(out, at + offset.dst, id.dst);
  out.view.setUint32(at + offset.spi, id.spi, true);
  writeMark(out, at + offset.mark, id.mark);
  out.view.setUint32(at + offset.if_id, id.interfaceId, true);
  out.view.setUint8(at + offset.protocol, id.protocol);
}

function writeHello(out: MessageBuffer, hello: Hello): void {
  const { offset } = HelloLayout;
  out.view.setBigUint64(BODY + offset.session, hello.session, true);
  out.view.setBigUint64(BODY + offset.clock, hello.clock, true);
  out.view.setUint32(BODY + offset.pid, hello.pid, true);
  writeText(out, BODY + offset.software, SOFTWARE_SIZE, hello.software);
}

function writeKey(out: MessageBuffer, at: number, lengthAt: number, key: Uint8Array): void {
  if (key.length > KEY_MAX) throw new RangeError(`a key of ${key.length} bytes does not fit`);
  out.view.setUint16(lengthAt, key.length, true);
  out.bytes.set(key, at);
}

function writeAddSa(out: MessageBuffer, sa: AddSaMessage): void {
  const { offset, size } = AddSaLayout;
  const { view } = out;
  for (const list of [sa.srcSelectors, sa.dstSelectors]) {
    if (list.length > SELECTORS_MAX) throw new RangeError(`${list.length} selectors do not fit`);
  }
  view.setBigUint64(BODY + offset.time_rekey, sa.lifetime.time.rekey, true);
  view.setBigUint64(BODY + offset.time_life, sa.lifetime.time.life, true);
  view.setBigUint64(BODY + offset.bytes_rekey, sa.lifetime.bytes.rekey, true);
  view.setBigUint64(BODY + offset.bytes_life, sa.lifetime.bytes.life, true);
  view.setBigUint64(BODY + offset.packets_rekey, sa.lifetime.packets.rekey, true);
  view.setBigUint64(BODY + offset.packets_life, sa.lifetime.packets.life, true);
  writeSaId(out, BODY + offset.id, sa.id);
  const flags =
    (sa.inbound ? SaFlag.inbound : 0) |
    (sa.update ? SaFlag.update : 0) |
    (sa.initiator ? SaFlag.initiator : 0) |
    (sa.extendedSequenceNumbers ? SaFlag.esn : 0) |
    (sa.udpEncapsulation ? SaFlag.encap : 0) |
    (sa.copyDf ? SaFlag.copy_df : 0) |
    (sa.copyEcn ? SaFlag.copy_ecn : 0) |
    (sa.labelled ? SaFlag.labelled : 0) |
    (sa.iptfsDontFragment ? SaFlag.iptfs_dont_frag : 0);
  view.setUint32(BODY + offset.flags, flags, true);
  view.setUint32(BODY + offset.reqid, sa.reqid, true);
  view.setUint32(BODY + offset.replay_window, sa.replayWindow, true);
  view.setUint32(BODY + offset.tfc, sa.tfc, true);
  view.setUint32(BODY + offset.seq, sa.acquireSequence, true);
  view.setUint32(BODY + offset.cpu, sa.cpu ?? CPU_ANY, true);
  writeMark(out, BODY + offset.set_mark, sa.setMark);
  view.setUint16(BODY + offset.encryption, sa.encryption, true);
  view.setUint16(BODY + offset.integrity, sa.integrity, true);
  view.setUint16(BODY + offset.ipcomp, sa.ipcomp, true);
  view.setUint16(BODY + offset.cpi, sa.cpi, true);
  view.setUint8(BODY + offset.mode, sa.mode);
  view.setUint8(BODY + offset.copy_dscp, sa.copyDscp);
  view.setUint8(BODY + offset.offload, Offload[sa.hardwareOffload]);
  view.setUint16(BODY + offset.src_selectors, sa.srcSelectors.length, true);
  view.setUint16(BODY + offset.dst_selectors, sa.dstSelectors.length, true);
  writeText(out, BODY + offset.interface, INTERFACE_SIZE, sa.interface);
  writeKey(out, BODY + offset.encryption_key, BODY + offset.encryption_key_length, sa.encryptionKey);
  writeKey(out, BODY + offset.integrity_key, BODY + offset.integrity_key_length, sa.integrityKey);
  let at = BODY + size;
  for (const list of [sa.srcSelectors, sa.dstSelectors]) {
    for (const selector of list) {
      writeSelector(out, at, selector);
      at += SelectorLayout.size;
    }
  }
}

function writeUpdateSa(out: MessageBuffer, update: UpdateSaMessage): void {
  const { offset } = UpdateSaLayout;
  writeSaId(out, BODY + offset.id, update.id);
  writeHost(out, BODY + offset.new_src, update.newSrc);
  writeHost(out, BODY + offset.new_dst, update.newDst);
  const flags =
    (update.udpEncapsulation ? UpdateFlag.encap : 0) |
    (update.newUdpEncapsulation ? UpdateFlag.new_encap : 0);
  out.view.setUint32(BODY + offset.flags, flags, true);
  out.view.setUint32(BODY + offset.new_reqid, update.newReqid, true);
  out.view.setUint16(BODY + offset.cpi, update.cpi, true);
}

function writePolicyId(out: MessageBuffer, at: number, id: PolicyId): void {
  const { offset } = PolicyIdLayout;
  writeSelector(out, at + offset.src, id.srcSelector);
  writeSelector(out, at + offset.dst, id.dstSelector);
  writeMark(out, at + offset.mark, id.mark);
  out.view.setUint32(at + offset.if_id, id.interfaceId, true);
  out.view.setUint8(at + offset.direction, id.direction);
  out.view.setUint8(at + offset.flags, id.labelled ? PolicyIdFlag.labelled : 0);
  writeText(out, at + offset.interface, INTERFACE_SIZE, id.interface);
}

function writePolicy(out: MessageBuffer, policy: PolicyMessage): void {
  const { offset } = PolicyLayout;
  const { view } = out;
  writePolicyId(out, BODY + offset.id, policy.id);
  writeHost(out, BODY + offset.src, policy.src);
  writeHost(out, BODY + offset.dst, policy.dst);
  view.setUint32(BODY + offset.manual_priority, policy.manualPriority, true);
  view.setUint32(BODY + offset.reqid, policy.reqid, true);
  view.setUint32(BODY + offset.policy_count, policy.policyCount, true);
  view.setUint32(BODY + offset.esp_spi, policy.espSpi, true);
  view.setUint32(BODY + offset.ah_spi, policy.ahSpi, true);
  view.setUint16(BODY + offset.ipcomp, policy.ipcomp, true);
  view.setUint16(BODY + offset.cpi, policy.cpi, true);
  view.setUint8(BODY + offset.type, policy.type);
  view.setUint8(BODY + offset.priority, policy.priorityClass);
  view.setUint8(BODY + offset.mode, policy.mode);
  const flags =
    (policy.usesEsp ? PolicyFlag.esp : 0) |
    (policy.usesAh ? PolicyFlag.ah : 0) |
    (policy.perCpuAcquires ? PolicyFlag.per_cpu_acquires : 0);
  view.setUint8(BODY + offset.flags, flags);
}
