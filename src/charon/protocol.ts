// The wire protocol between charon's plugin and Vita: its only TypeScript definition. docs/charon-protocol.md explains
// it, plugin/kernel-vita/vita_protocol.h is the C side, and a test compares the two name by name.
//
// One datagram of a UNIX SOCK_SEQPACKET socket is one message: a header, a body of fixed layout and, in add_sa, two
// lists of selectors; answers end with one line of text. All integers are little-endian, addresses are bytes in network
// order, everything reserved or unused is zero. The numbers and structs are here; encode.ts writes messages and
// decode.ts checks and reads them, both for either side.

import type {
  AddSaRequest,
  Host,
  PolicyId,
  PolicyRequest,
  SaId,
  Selector,
  UpdateSaRequest,
} from "../ipsec/kernel.js";
import { Status } from "../ipsec/kernel.js";
import { layout } from "./layout.js";

/** "VITA" in memory. */
export const MAGIC = 0x41544956;
export const VERSION = 1;
/** Bytes of the largest message, header included. */
export const MESSAGE_MAX = 65536;
/** Bytes of the longest key. */
export const KEY_MAX = 128;
/** Selectors in one list. */
export const SELECTORS_MAX = 255;
/** Bytes of the longest reason in an answer. */
export const REASON_MAX = 512;
/** Bytes, the terminating zero included. */
export const INTERFACE_SIZE = 16;
export const SOFTWARE_SIZE = 64;
/** An SA that is not bound to one CPU. */
export const CPU_ANY = 0xffffffff;
/** The idle time of what was never used. */
export const IDLE_NEVER = 0xffffffff;
/** Set in the type of an answer; the other bits repeat the call. */
export const ANSWER = 0x8000;

/** Calls: plugin to daemon. The names are those of strongSwan's `kernel_ipsec_t`. */
export const CallType = {
  hello: 1,
  get_spi: 2,
  get_cpi: 3,
  add_sa: 4,
  update_sa: 5,
  query_sa: 6,
  del_sa: 7,
  flush_sas: 8,
  add_policy: 9,
  query_policy: 10,
  del_policy: 11,
  flush_policies: 12,
} as const;
export type Call = keyof typeof CallType;

/** Events: daemon to plugin, not answered. */
export const EventType = { expire: 0x4001, acquire: 0x4002, mapping: 0x4003 } as const;

/** strongSwan's `status_t`, under the names of the C header. */
export const WireStatus = {
  success: Status.success,
  failed: Status.failed,
  already_done: Status.alreadyDone,
  not_supported: Status.notSupported,
  not_found: Status.notFound,
} as const;

/** Offload to hardware; strongSwan's own numbers differ between its versions. */
export const Offload = { no: 0, yes: 1, auto: 2, crypto: 3, packet: 4 } as const;

export const SaFlag = {
  inbound: 1,
  update: 2,
  initiator: 4,
  esn: 8,
  encap: 16,
  copy_df: 32,
  copy_ecn: 64,
  labelled: 128,
  iptfs_dont_frag: 256,
} as const;
export const UpdateFlag = { encap: 1, new_encap: 2 } as const;
export const PolicyIdFlag = { labelled: 1 } as const;
export const PolicyFlag = { esp: 1, ah: 2, per_cpu_acquires: 4 } as const;
export const AcquireFlag = { src: 1, dst: 2 } as const;

// ---- structs, named like the `vita_…_t` of the C header -----------------------------------------------------------

export const HeaderLayout = layout({
  magic: "u32",
  version: "u16",
  type: "u16",
  length: "u32",
  id: "u32",
  deadline: "u64",
});
export const HostLayout = layout({ family: "u16", port: "u16", address: 16 });
export const SelectorLayout = layout({
  family: "u8",
  protocol: "u8",
  from_port: "u16",
  to_port: "u16",
  reserved: "u16",
  from: 16,
  to: 16,
});
export const MarkLayout = layout({ value: "u32", mask: "u32" });
export const SaIdLayout = layout({
  src: HostLayout,
  dst: HostLayout,
  spi: "u32",
  mark: MarkLayout,
  if_id: "u32",
  protocol: "u8",
  reserved: 3,
});
export const HelloLayout = layout({
  session: "u64",
  clock: "u64",
  pid: "u32",
  reserved: "u32",
  software: SOFTWARE_SIZE,
});
export const GetSpiLayout = layout({ src: HostLayout, dst: HostLayout, protocol: "u8", reserved: 3 });
export const GetCpiLayout = layout({ src: HostLayout, dst: HostLayout });
export const AddSaLayout = layout({
  time_rekey: "u64",
  time_life: "u64",
  bytes_rekey: "u64",
  bytes_life: "u64",
  packets_rekey: "u64",
  packets_life: "u64",
  id: SaIdLayout,
  flags: "u32",
  reqid: "u32",
  replay_window: "u32",
  tfc: "u32",
  seq: "u32",
  cpu: "u32",
  set_mark: MarkLayout,
  encryption: "u16",
  encryption_key_length: "u16",
  integrity: "u16",
  integrity_key_length: "u16",
  ipcomp: "u16",
  cpi: "u16",
  mode: "u8",
  copy_dscp: "u8",
  offload: "u8",
  reserved: "u8",
  src_selectors: "u16",
  dst_selectors: "u16",
  interface: INTERFACE_SIZE,
  encryption_key: KEY_MAX,
  integrity_key: KEY_MAX,
});
export const UpdateSaLayout = layout({
  id: SaIdLayout,
  new_src: HostLayout,
  new_dst: HostLayout,
  flags: "u32",
  new_reqid: "u32",
  cpi: "u16",
  reserved: "u16",
});
export const SaLayout = layout({ id: SaIdLayout, cpi: "u16", reserved: "u16" });
export const PolicyIdLayout = layout({
  src: SelectorLayout,
  dst: SelectorLayout,
  mark: MarkLayout,
  if_id: "u32",
  direction: "u8",
  flags: "u8",
  reserved: "u16",
  interface: INTERFACE_SIZE,
});
export const PolicyLayout = layout({
  id: PolicyIdLayout,
  src: HostLayout,
  dst: HostLayout,
  manual_priority: "u32",
  reqid: "u32",
  policy_count: "u32",
  esp_spi: "u32",
  ah_spi: "u32",
  ipcomp: "u16",
  cpi: "u16",
  type: "u8",
  priority: "u8",
  mode: "u8",
  flags: "u8",
});
export const AnswerLayout = layout({
  bytes: "u64",
  packets: "u64",
  status: "u32",
  value: "u32",
  idle: "u32",
  reason_length: "u16",
  reserved: "u16",
});
export const HelloAnswerLayout = layout({
  boot_id: "u64",
  status: "u32",
  features: "u32",
  reason_length: "u16",
  reserved: "u16",
  reserved2: "u32",
});
export const ExpireLayout = layout({
  dst: HostLayout,
  spi: "u32",
  protocol: "u8",
  hard: "u8",
  reserved: "u16",
});
export const AcquireLayout = layout({
  reqid: "u32",
  flags: "u32",
  src: SelectorLayout,
  dst: SelectorLayout,
});
export const MappingLayout = layout({
  dst: HostLayout,
  remote: HostLayout,
  spi: "u32",
  protocol: "u8",
  reserved: 3,
});

// ---- messages as plain data ---------------------------------------------------------------------------------------
// The shapes are those of ipsec/kernel.ts, plus what the protocol carries beyond what a `Kernel` is asked.

export interface Hello {
  /** Random, not 0, the same for the life of one charon process. */
  session: bigint;
  /** CLOCK_MONOTONIC in milliseconds when it was sent, as `deadline` counts it. */
  clock: bigint;
  pid: number;
  /** For logs: printable ASCII, at most 63 characters. */
  software: string;
}

export interface AddSaMessage extends AddSaRequest {
  /** Sequence number of the acquire that led to the SA, 0 if none. */
  acquireSequence: number;
  /** `undefined` unless the SA is for one CPU only. */
  cpu: number | undefined;
  iptfsDontFragment: boolean;
}

export interface UpdateSaMessage extends UpdateSaRequest {
  cpi: number;
}

export interface SaMessage {
  id: SaId;
  cpi: number;
}

export interface PolicyMessage extends PolicyRequest {
  policyCount: number;
  ahSpi: number;
  cpi: number;
  perCpuAcquires: boolean;
}

/** What each call carries. */
export interface Bodies {
  hello: Hello;
  get_spi: { src: Host; dst: Host; protocol: number };
  get_cpi: { src: Host; dst: Host };
  add_sa: AddSaMessage;
  update_sa: UpdateSaMessage;
  query_sa: SaMessage;
  del_sa: SaMessage;
  flush_sas: Record<string, never>;
  add_policy: PolicyMessage;
  query_policy: PolicyId;
  del_policy: PolicyMessage;
  flush_policies: Record<string, never>;
}

/**
 * `id` is the caller's choice and comes back in the answer. `deadline` is in milliseconds of CLOCK_MONOTONIC: the call
 * must not be begun later; 0 is no deadline.
 */
export type Request = {
  [C in Call]: { call: C; id: number; deadline: bigint; body: Bodies[C] };
}[Call];

export interface HelloAnswer {
  call: "hello";
  id: number;
  status: Status;
  bootId: bigint;
  features: number;
  reason: string;
}

/** Fields that the call does not give are 0, and `idle` is `undefined`. */
export interface CallAnswer {
  call: Exclude<Call, "hello">;
  id: number;
  status: Status;
  reason: string;
  /** The SPI or the CPI. */
  value: number;
  bytes: bigint;
  packets: bigint;
  /** Whole seconds since the last use; `undefined` when there was none. */
  idle: number | undefined;
}

export type Event =
  | { event: "expire"; protocol: number; spi: number; dst: Host; hard: boolean }
  | { event: "acquire"; reqid: number; src: Selector | undefined; dst: Selector | undefined }
  | { event: "mapping"; protocol: number; spi: number; dst: Host; remote: Host };

const callNames = new Map<number, Call>(Object.entries(CallType).map(([name, type]) => [type, name as Call]));

/** The name of a call's number; `undefined` when it is none. */
export function callName(type: number): Call | undefined {
  return callNames.get(type);
}
