// The security association database in shared memory: one header, an index from SPI to slot, and the slots.
//
// One process writes structure (the supervisor: it allocates, fills and frees slots and keeps the index); the workers
// read, and change only what traffic changes: sequence numbers, the replay window, counters and the time of last use.
// A slot is filled while its state is `larval` or `free` and becomes visible by one store to `state`; from then on keys and
// selectors stay as they are until the slot is freed. The outer header can change (MOBIKE, NAT): it is guarded by the
// sequence lock `version`. `docs/sad-format.md` is generated from this file.

import { bytes, describeStruct, f64, i32, struct, u16, u32, u64 } from "../memory/layout.js";

export const SAD_MAGIC = 0x41544956; // "VITA"
export const SAD_VERSION = 5;

/** Worker processes that can use one SAD at a time. */
export const MAX_WORKERS = 16;
export const SELECTOR_SIZE = 40;
/** Bits of the replay bitmap: a ring of which the window uses all but one word (RFC 6479). */
export const REPLAY_RING_BITS = 8192;
export const MAX_REPLAY_WINDOW = REPLAY_RING_BITS - 32;
/** What of both a slot has room for; an SA that wants more has a second slot. */
export const INLINE_SELECTORS = 8;
/** Selectors of one SA, source and destination together; and of one whose replay bitmap is in the extension as well. */
export const MAX_SELECTORS = 50;
export const MAX_SELECTORS_BESIDE_RING = 25;
export const INLINE_RING_BITS = 1024;
export const SMALL_RING_BITS = 128;
/** Bytes of the engine's expanded key: libIPSec_MB's `struct gcm_key_data`. */
export const KEY_SCHEDULE_SIZE = 1008;
/**
 * With AES-CBC the schedule holds, for libIPSec_MB: round keys to encrypt with and to decrypt with, and what the hash has come
 * to behind the HMAC's key with its inner and its outer padding. With ChaCha20-Poly1305: the key.
 */
export const cbcSchedule = { encrypt: 0, decrypt: 240, inner: 480, outer: 544 } as const;

/** Workers whose traffic is counted near the beginning of a slot. */
const NEAR_WORKERS = 4;
/** Numbers in a step of `ceiling`, as a power of two. */
export const CEILING_SHIFT = 20;

export const SaState = { free: 0, larval: 1, active: 2, dying: 3, extension: 4 } as const;

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
  /**
   * The SA has a hard limit of time (or a ceiling of its sequence numbers), or of bytes or packets: the data path must look
   * whether it is reached.
   */
  timeLimit: 1 << 13,
  volumeLimit: 1 << 14,
  /** `mark…` says which mark the SA's packets have; not so while an inbound SA waits for its `in` policy. */
  markKnown: 1 << 16,
  /** The cipher is AES-CBC with an HMAC, or ChaCha20-Poly1305; AES-GCM without either. */
  cbc: 1 << 15,
  chacha20: 1 << 17,
} as const;

/** Where the owner of an SA's lock stands in its flags (sa-lock.ts): the number of a worker + 1, above it which life of it. */
export const LOCK_SHIFT = 18;
export const LOCK_BITS = -1 << LOCK_SHIFT;

export const sadHeader = struct(
  "SAD header",
  "At offset 0. The SPI index follows at `indexOffset`, the slots at `slotsOffset`.",
  {
    magic: u32('"VITA"'),
    version: u32(`layout version, ${SAD_VERSION}`),
    bootId: u64("random number drawn when the file was made; a new one means that all SAs are lost"),
    slotCount: u32("slots in the file"),
    used: u32("slots from this number on were never used"),
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
    workerLife: u32("how often each worker was started", MAX_WORKERS),
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
  "One security association, one direction. What a packet needs of its SA stands together, on as few cache lines as \
possible and one behind the other: a short packet reads the first six, the one where the expanded key ends, and inbound the next.",
  {
    state: u32(
      "0 free, 1 larval (an SPI is reserved, no keys yet), 2 active, 3 dying (waits for the workers), 4 an extension of \
another slot, see below",
    ),
    flags: u32(
      Object.entries(SaFlag)
        .map(([name, bit]) => `0x${bit.toString(16)} ${name}`)
        .join(", ") +
        `; from bit ${LOCK_SHIFT} on who has the SA's lock: worker + 1 (5 bits) and its life (9 bits), 0 for nobody`,
    ),
    spi: u32("SPI as a number (host order)"),
    salt: u32("the salt's four bytes as a big-endian number; 0 with AES-CBC"),
    keyLength: u32("bytes of the cipher's key: 16, 24 or 32"),
    version: i32(
      "sequence lock of `outer…`, `src`, `dst`, the ports and `mark…`: odd while they change. It counts on from life to life \
of the slot, so that two outer headers of one slot never have the same version",
    ),
    outerLength: u32(
      "bytes of the outer header in `outer`: IP (tunnel mode), and UDP where the SA is encapsulated",
    ),
    outerSum: u32("outbound IPv4: the header's 16-bit words summed up"),
    sequenceLow: i32("outbound: last sequence number that was reserved, low half (see ipsec/sequence.ts)"),
    sequenceHighA: i32("outbound: high half of numbers whose low half is below 2^31"),
    sequenceHighB: i32("outbound: high half of the others"),
    tfc: u32("pad to this many bytes; 0 no, 0xffffffff to the MTU"),
    topLow: u32("inbound: highest sequence number that was authenticated, low half"),
    topHigh: u32("inbound: its high half"),
    replayWindow: u32("packets; 0 switches the check off"),
    lastUse: u32("CLOCK_MONOTONIC in seconds when the SA last carried a packet, 0 for never"),
    outer: bytes(48, "outbound: the outer header without length, id, TOS and checksum", 4),
    replayMask: u32("words of the replay bitmap in use, less one"),
    ringAt: u32("where the replay bitmap begins: the number of a 32-bit word in the file"),
    selectorsAt: u32("where the selectors begin: the number of a 32-bit word in the file"),
    selectorCounts: u32(
      "source selectors (low half) and destination selectors (high half), which follow them",
    ),
    traffic: f64(
      "what workers 0 to 3 have carried, two numbers each: packets, and bytes (the protected IP packets' lengths)",
      2 * NEAR_WORKERS,
    ),
    smallRing: u32("inbound: replay bitmap, if the window is so small", SMALL_RING_BITS / 32),
    schedule: bytes(KEY_SCHEDULE_SIZE, "the key as the engine wants it", 16),
    selectors: bytes(INLINE_SELECTORS * SELECTOR_SIZE, "traffic selectors, if they are so few", 64),
    ring: u32("inbound: replay bitmap, if the window is larger, but still so small", INLINE_RING_BITS / 32),
    moreTraffic: f64("what the other workers have carried", 2 * (MAX_WORKERS - NEAR_WORKERS)),
    key: bytes(32, "the cipher's key", 64),
    integrityKey: bytes(64, "with AES-CBC: the HMAC's key of 20, 32, 48 or 64 bytes"),
    generation: u32("counts the lives of this slot"),
    extension: u32("number + 1 of the slot that holds what has no room here, 0 for none"),
    src: bytes(16, "outer source address, IPv4 in the first four bytes", 4),
    dst: bytes(16, "outer destination address", 4),
    srcPort: u16("UDP encapsulation, host order"),
    dstPort: u16("UDP encapsulation, host order"),
    encryption: u32(
      "IKEv2 transform number: 12 AES-CBC, 20 AES-GCM with a 16-byte ICV, 28 ChaCha20-Poly1305",
    ),
    protocol: u32("50 ESP"),
    mode: u32("1 transport, 2 tunnel"),
    reqid: u32("joins SAs and policies"),
    markValue: u32("mark of the SA's identity; inbound without one: the mark that its `in` policy asks for"),
    markMask: u32("its mask"),
    interfaceId: u32("interface id of the SA's identity"),
    setMarkValue: u32("mark for packets after processing"),
    setMarkMask: u32("its mask"),
    added: u32("CLOCK_MONOTONIC in seconds when the SA was installed or its SPI was reserved"),
    freeEpoch: i32("dying: epoch that every worker must have passed before the slot is free"),
    session: u64("session of the key manager that owns the SA; 0 for the configuration"),
    limits: f64("soft and hard limits, 0 for none: seconds ×2, bytes ×2, packets ×2", 6),
    order: f64("counts installations: the newest SA of a reqid has the highest"),
    integrity: u32(
      "IKEv2 transform number, with AES-CBC: 2 HMAC-SHA-1-96, 12 HMAC-SHA-256-128, 13 HMAC-SHA-384-192, 14 HMAC-SHA-512-256",
    ),
    ceiling: u32(
      `outbound, with the flag \`timeLimit\`: while the last sequence number that was reserved, divided by 2^${CEILING_SHIFT}, \
is not less, no further one is; 0 for none`,
    ),
  },
  64,
);

/** What an SA with a large replay window or many selectors has besides its slot; see `extension`. */
export const saExtension = struct(
  "Extension of an SA slot",
  `A slot that belongs to another one, which points at it, and is freed with it: an SA with a replay window of more than \
${INLINE_RING_BITS - 32} packets or with more than ${INLINE_SELECTORS} selectors has one.`,
  {
    state: u32("4"),
    content: bytes(
      Math.max(
        MAX_SELECTORS * SELECTOR_SIZE,
        REPLAY_RING_BITS / 8 + MAX_SELECTORS_BESIDE_RING * SELECTOR_SIZE,
      ),
      `replay bitmap of ${REPLAY_RING_BITS / 8} bytes, if it has no room in the slot; behind it selectors, if those have none`,
      64,
    ),
  },
  64,
);

if (saExtension.size > saSlot.size) throw new Error("an extension does not fit into a slot");

export const selectorEntry = struct(
  "Selector",
  "An address range, a protocol and a port range (RFC 4301 §4.4.1.1). An address is four 32-bit numbers, most significant \
first, so that they compare as numbers; an IPv4 address is in the first, the others are 0.",
  {
    family: u16("4 or 6"),
    protocol: u16("IP protocol, 0 for any"),
    fromPort: u16("first port; for ICMP type × 256 + code"),
    toPort: u16("last port; lower than the first for OPAQUE"),
    from: u32("first address: its first number"),
    to: u32("last address: its first number"),
    fromRest: u32("first address: the other numbers", 3),
    toRest: u32("last address: the other numbers", 3),
  },
  4,
);

/** Byte offset in a slot of the two numbers that a worker counts in: packets, and bytes behind them. */
export function trafficOf(worker: number): number {
  return worker < NEAR_WORKERS
    ? saSlot.at.traffic + 16 * worker
    : saSlot.at.moreTraffic + 16 * (worker - NEAR_WORKERS);
}

/** Where an SPI's probe begins in an index of `mask + 1` entries. */
export function spiHash(spi: number, mask: number): number {
  return (Math.imul(spi ^ (spi >>> 15), 0x9e3779b1) >>> 7) & mask;
}

/** The reference for other programs that read the SAD. */
export function describeSad(): string {
  return [sadHeader, spiEntry, saSlot, saExtension, selectorEntry].map(describeStruct).join("\n");
}
