// What a key manager may ask of a kernel: the calls of strongSwan's `kernel_ipsec_t`, as plain data. charon's calls
// arrive over a socket and are decoded into these shapes; static SAs from the configuration use the same ones.
// The implementation checks every value: a key manager can be wrong, and its messages can be forged.

import type { IpAddress } from "../net/address.js";
import type { IpSelector } from "../net/ip-selector.js";

/** strongSwan's `status_t`, as far as a kernel may answer with it. Success must be exactly 0. */
export const Status = {
  success: 0,
  failed: 1,
  alreadyDone: 3,
  notSupported: 4,
  notFound: 6,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

/** An address with a UDP port in host order; the port means something only where ESP is encapsulated in UDP. */
export interface Host {
  address: IpAddress;
  port: number;
}

/** One traffic selector (RFC 7296 §3.13): an address range, a protocol and a port range, all bounds inclusive. */
export type Selector = IpSelector;

export interface Mark {
  value: number;
  mask: number;
}

/** Names an SA: destination, SPI and protocol, plus mark and interface id. SPIs are plain numbers here. */
export interface SaId {
  src: Host;
  dst: Host;
  spi: number;
  /** 50 ESP, 51 AH. */
  protocol: number;
  mark: Mark;
  interfaceId: number;
}

export interface Limit {
  /** Soft limit, after which the SA should be replaced; 0 for none. */
  rekey: bigint;
  /** Hard limit, after which the SA must not be used; 0 for none. */
  life: bigint;
}

export interface AddSaRequest {
  id: SaId;
  inbound: boolean;
  /** A larval SA with this SPI exists (from getSpi) and is to be completed. */
  update: boolean;
  initiator: boolean;
  reqid: number;
  /** 1 transport, 2 tunnel, 3 BEET, 6 IPTFS. */
  mode: number;
  /** From the SA's point of view: outbound, `srcSelectors` are the local ones. */
  srcSelectors: Selector[];
  dstSelectors: Selector[];
  /** IKEv2 transform numbers (RFC 7296 §3.3.2); transforms.ts knows them. */
  encryption: number;
  /** Key material; for AEADs the last 4 bytes are the salt. The callee copies it; the caller zeroes it. */
  encryptionKey: Uint8Array;
  integrity: number;
  integrityKey: Uint8Array;
  /** 64-bit sequence numbers (RFC 4303 §2.2.1). */
  extendedSequenceNumbers: boolean;
  /** Packets; 0 switches the check off. Outbound SAs ignore it. */
  replayWindow: number;
  /** ESP in UDP (RFC 3948) with the ports of `id`. */
  udpEncapsulation: boolean;
  /** Seconds since installation, bytes, packets. */
  lifetime: { time: Limit; bytes: Limit; packets: Limit };
  /** Traffic flow confidentiality: pad up to this size in bytes, 0xffffffff up to the MTU, 0 not at all. */
  tfc: number;
  /** IPComp transform and CPI, 0 for none. */
  ipcomp: number;
  cpi: number;
  copyDf: boolean;
  copyEcn: boolean;
  /** Which way DSCP is copied: 0 outbound only, 1 inbound only, 2 both, 3 not at all. */
  copyDscp: number;
  /** Offload to hardware, by name, because the numbers differ between versions of strongSwan. */
  hardwareOffload: "no" | "yes" | "auto" | "crypto" | "packet";
  /** Mark to put on packets after processing. */
  setMark: Mark;
  /** Restricts an outbound SA to a device; empty for any. */
  interface: string;
  /** The SA carries an SELinux label (which nobody but the real kernel can honour). */
  labelled: boolean;
  /** An inbound SA's packets have the mark in `id`, also if that is none: the SA's policies have no say in it. */
  hasKnownMark?: boolean;
  /** Where its sequence numbers go on, if its key was used before. Key managers make new keys, and leave it out. */
  sequence?: SequenceStart;
}

export interface SequenceStart {
  /** Outbound the last number that may have been used; inbound the highest one that has been seen. Below 2^53. */
  last: number;
  /** Outbound only: see `ceiling` in sad-layout.ts. */
  ceiling: number;
}

export interface UpdateSaRequest {
  /** Old addresses. */
  id: SaId;
  newSrc: Host;
  newDst: Host;
  udpEncapsulation: boolean;
  newUdpEncapsulation: boolean;
  /** 0 keeps the reqid. */
  newReqid: number;
}

export interface SaUsage {
  bytes: bigint;
  packets: bigint;
  /** Whole seconds since the SA was last used; `undefined` when it never was. */
  idleSeconds: number | undefined;
}

export interface PolicyId {
  /** 0 in, 1 out, 2 forward. */
  direction: number;
  srcSelector: Selector;
  dstSelector: Selector;
  mark: Mark;
  interfaceId: number;
  interface: string;
  labelled: boolean;
}

/** One entry under a policy. The same selectors are added many times; an entry is removed by its full tuple. */
export interface PolicyRequest {
  id: PolicyId;
  /** 1 protect by IPsec, 2 pass, 3 drop. */
  type: number;
  /** 0 pass, 1 default, 2 routed (trap), 3 fallback. */
  priorityClass: number;
  /** 0 derives the priority from class and selectors; else a number, the lower the earlier. */
  manualPriority: number;
  /** Tunnel end points. */
  src: Host;
  dst: Host;
  mode: number;
  reqid: number;
  /** 0 when the protocol is not used or the entry is a trap. `in` and `fwd` carry our inbound SPI, `out` the peer's. */
  espSpi: number;
  usesEsp: boolean;
  usesAh: boolean;
  ipcomp: number;
}

/** An answer to a call: a status and, when it is not success, one line for the log that says why. */
export interface Answer {
  status: Status;
  reason?: string;
}

/** The kernel as a key manager sees it. Every call is complete when it returns: the worker processes see the change. */
export interface Kernel {
  getSpi(request: { src: Host; dst: Host; protocol: number }, session: bigint): Answer & { spi?: number };
  getCpi(request: { src: Host; dst: Host }, session: bigint): Answer & { cpi?: number };
  addSa(request: AddSaRequest, session: bigint): Answer;
  /** A session may change and delete what is its own only; without one the caller is Vita itself. */
  updateSa(request: UpdateSaRequest, session?: bigint): Answer;
  querySa(id: SaId): Answer & { usage?: SaUsage };
  deleteSa(id: SaId, session?: bigint): Answer;
  flushSas(session?: bigint): Answer;
  addPolicy(request: PolicyRequest, session: bigint): Answer;
  /** `idleSeconds` is `undefined` when the policy was never used. */
  queryPolicy(id: PolicyId): Answer & { idleSeconds?: number | undefined };
  deletePolicy(request: PolicyRequest, session?: bigint): Answer;
  flushPolicies(session?: bigint): Answer;
  /** A key manager said hello: a session with a random id of its own begins. */
  sessionOpened(session: bigint): void;
  /** Its connection ended. The same session may come back on a new connection. */
  sessionClosed(session: bigint): void;
}

/** Bits of strongSwan's `kernel_feature_t` (contract §2). */
export const KernelFeature = {
  espV3Tfc: 1,
  requireUdpEncapsulation: 4,
  noPolicyUpdates: 8,
  policySpi: 16,
  saUseTime: 32,
} as const;
