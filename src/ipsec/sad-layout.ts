// The security association database in shared memory: one header, an index from SPI to slot, and the slots.
//
// One process writes structure (the supervisor: it allocates, fills and frees slots and keeps the index); the workers
// read, and change only what traffic changes: sequence numbers, the replay window, counters and the time of last use.
// A slot is filled while its state is `larval` or `free` and becomes visible by one store to `state`; from then on keys and
// selectors stay as they are until the slot is freed. The outer header can change (MOBIKE, NAT): it is guarded by the
// sequence lock `version`. `docs/sad-format.md` is generated from this file.

import { bytes, describeStruct, f64, i32, struct, u16, u32, u64 } from "../memory/layout.js";

export const SAD_MAGIC = 0x41544956; // "VITA"
export const SAD_VERSION = 1;

/** Worker processes that can use one SAD at a time. */
export const MAX_WORKERS = 16;
/** Selectors of one SA, source and destination together. */
export const MAX_SELECTORS = 32;
export const SELECTOR_SIZE = 40;
/** Bits of the replay bitmap: a ring of which the window uses all but one word (RFC 6479). */
export const REPLAY_RING_BITS = 8192;
export const MAX_REPLAY_WINDOW = REPLAY_RING_BITS - 32;
/** Bytes of the engine's expanded key; libIPSec_MB's `struct gcm_key_data` takes 1,008. */
export const KEY_SCHEDULE_SIZE = 1024;

export const SaState = { free: 0, larval: 1, active: 2, dying: 3 } as const;

export const SaFlag = {
  inbound: 1 << 0,
  extendedSequenceNumbers: 1 << 1,
  udpEncapsulation: 1 << 2,
  transport: 1 << 3,
  copyDf: 1 << 4,
  copyEcn: 1 << 5,
  copyDscpOut: 1 << 6,
  copyDscpIn: 1 << 7,
  outerIpv6: 1 << 8,
  /** Some selector names a protocol or ports, so that the transport header must be looked at. */
  transportSelectors: 1 << 9,
  /** A time, byte or packet limit was passed: the SA is kept for its owner to delete, but carries no traffic. */
  expired: 1 << 10,
  /** The soft limit was passed, and the key manager was told. */
  softTold: 1 << 11,
  /** The hard limit was passed, and the key manager was told. */
  hardTold: 1 << 12,
  /** The SA has a hard limit of time, or of bytes or packets: the data path must look whether it is reached. */
  timeLimit: 1 << 13,
  volumeLimit: 1 << 14,
  /** `mark…` says which mark the SA's packets have; not so while an inbound SA waits for its `in` policy. */
  markKnown: 1 << 16,
} as const;

export const sadHeader = struct(
  "SAD header",
  "At offset 0. The SPI index follows at `indexOffset`, the slots at `slotsOffset`.",
  {
    magic: u32('"VITA"'),
    version: u32(`layout version, ${SAD_VERSION}`),
    bootId: u64("random number drawn when the file was made; a new one means that all SAs are lost"),
    slotCount: u32("slots in the file"),
    slotSize: u32("bytes from slot to slot"),
    slotsOffset: u32("bytes from the start of the file to slot 0"),
    indexOffset: u32("bytes from the start of the file to the SPI index"),
    indexSize: u32("entries of the SPI index, a power of two"),
    engine: u32("whose expanded keys the slots hold: 1 libIPSec_MB, 2 node:crypto"),
    epoch: i32(
      "counts changes that free slots; a freed slot is used again when every worker has passed its epoch",
    ),
    workerEpoch: i32(
      "epoch that each worker has passed; -1 while it sleeps, has died or never was",
      MAX_WORKERS,
    ),
    workerPid: u32("process id of each worker, 0 for none", MAX_WORKERS),
    workerBreath: u32("breaths that each worker has drawn: a sign of life", MAX_WORKERS),
  },
  4096,
);

/** An entry of the SPI index: open addressing with linear probing from `spiHash`. */
export const spiEntry = struct(
  "SPI index entry",
  "Inbound SAs by SPI. `slot` 0 ends a probe; 0xffffffff is a deleted entry, which does not.",
  { spi: u32("SPI as a number"), slot: u32("slot number + 1, 0 for empty, 0xffffffff for deleted") },
  8,
);

export const saSlot = struct(
  "SA slot",
  "One security association, one direction.",
  {
    state: u32(
      "0 free, 1 larval (an SPI is reserved, no keys yet), 2 active, 3 dying (waits for the workers)",
    ),
    generation: u32("counts the lives of this slot"),
    spi: u32("SPI as a number (host order)"),
    flags: u32(
      Object.entries(SaFlag)
        .map(([name, bit]) => `0x${bit.toString(16)} ${name}`)
        .join(", "),
    ),
    keyLength: u32("bytes of the cipher's key: 16, 24 or 32"),
    salt: u32("the salt's four bytes as a big-endian number"),
    replayWindow: u32("packets; 0 switches the check off"),
    replayMask: u32("words of the replay ring in use, less one"),
    version: i32("sequence lock of `outer…`, `src`, `dst`, the ports and `mark…`: odd while they change"),
    sequenceLow: i32("outbound: last sequence number that was reserved, low half (see ipsec/sequence.ts)"),
    sequenceHighA: i32("outbound: high half of numbers whose low half is below 2^31"),
    sequenceHighB: i32("outbound: high half of the others"),
    topLow: u32("inbound: highest sequence number that was authenticated, low half"),
    topHigh: u32("inbound: its high half"),
    lastUse: u32("CLOCK_MONOTONIC in seconds when the SA last carried a packet, 0 for never"),
    outerLength: u32(
      "bytes of the outer header in `outer`: IP (tunnel mode), and UDP where the SA is encapsulated",
    ),
    outer: bytes(48, "outbound: the outer header without length, id, TOS and checksum", 4),
    outerSum: u32("outbound IPv4: the header's 16-bit words summed up"),
    src: bytes(16, "outer source address, IPv4 in the first four bytes", 4),
    dst: bytes(16, "outer destination address", 4),
    srcPort: u16("UDP encapsulation, host order"),
    dstPort: u16("UDP encapsulation, host order"),
    srcSelectors: u32("number of source selectors at `selectors`"),
    dstSelectors: u32("number of destination selectors, which follow the source's"),
    encryption: u32("IKEv2 transform number: 20 AES-GCM with a 16-byte ICV"),
    protocol: u32("50 ESP"),
    mode: u32("1 transport, 2 tunnel"),
    reqid: u32("joins SAs and policies"),
    markValue: u32("mark of the SA's identity; inbound without one: the mark that its `in` policy asks for"),
    markMask: u32("its mask"),
    interfaceId: u32("interface id of the SA's identity"),
    setMarkValue: u32("mark for packets after processing"),
    setMarkMask: u32("its mask"),
    tfc: u32("pad to this many bytes; 0 no, 0xffffffff to the MTU"),
    added: u32("CLOCK_MONOTONIC in seconds when the SA was installed or its SPI was reserved"),
    freeEpoch: i32("dying: epoch that every worker must have passed before the slot is free"),
    session: u64("session of the key manager that owns the SA; 0 for the configuration"),
    limits: f64("soft and hard limits, 0 for none: seconds ×2, bytes ×2, packets ×2", 6),
    order: f64("counts installations: the newest SA of a reqid has the highest"),
    packets: f64("packets carried, by worker", MAX_WORKERS),
    bytes: f64("bytes carried, by worker: the protected IP packets' lengths", MAX_WORKERS),
    ring: u32("inbound: replay bitmap", REPLAY_RING_BITS / 32),
    key: bytes(32, "the cipher's key", 64),
    schedule: bytes(KEY_SCHEDULE_SIZE, "the key as the engine wants it", 64),
    selectors: bytes(MAX_SELECTORS * SELECTOR_SIZE, "traffic selectors, see below", 4),
  },
  64,
);

export const selectorEntry = struct(
  "Selector",
  "An address range, a protocol and a port range (RFC 4301 §4.4.1.1). Addresses are four 32-bit numbers each, most \
significant first, so that they compare as numbers; an IPv4 address is in the first, the others are 0.",
  {
    family: u16("4 or 6"),
    protocol: u16("IP protocol, 0 for any"),
    fromPort: u16("first port; for ICMP type × 256 + code"),
    toPort: u16("last port; lower than the first for OPAQUE"),
    from: u32("first address", 4),
    to: u32("last address", 4),
  },
  4,
);

/** Where an SPI's probe begins in an index of `mask + 1` entries. */
export function spiHash(spi: number, mask: number): number {
  return (Math.imul(spi ^ (spi >>> 15), 0x9e3779b1) >>> 7) & mask;
}

/** The reference for other programs that read the SAD. */
export function describeSad(): string {
  return [sadHeader, spiEntry, saSlot, selectorEntry].map(describeStruct).join("\n");
}
