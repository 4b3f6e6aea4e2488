// The security policy database in shared memory: the entries, in no order. The supervisor writes them; each worker keeps
// an index of its own (spd-index.ts) and brings it up to date when `generation` has changed, with the entries that `log` names.

import { bytes, describeStruct, f64, i32, struct, u16, u32, u64 } from "../memory/layout.js";
import { SELECTOR_SIZE } from "./sad-layout.js";

export const SPD_MAGIC = 0x50544956; // "VITP"
export const SPD_VERSION = 2;
/** Changes that the header remembers; who is further behind looks at every entry. A power of two. */
export const CHANGE_LOG = 8192;

export const PolicyDirection = { in: 0, out: 1, forward: 2 } as const;
export const PolicyType = { ipsec: 1, pass: 2, drop: 3 } as const;
/** `sa` of a trap that stands beneath an SA of its own: what the SA's entries leave over gets no other one. */
export const NARROWED = -2;
export const PriorityClass = { pass: 0, default: 1, routed: 2, fallback: 3 } as const;

export const spdHeader = struct(
  "SPD header",
  "At offset 0; the entries follow at `entriesOffset`.",
  {
    magic: u32('"VITP"'),
    version: u32(`layout version, ${SPD_VERSION}`),
    capacity: u32("entries in the file"),
    entrySize: u32("bytes from entry to entry"),
    entriesOffset: u32("bytes from the start of the file to entry 0"),
    used: u32("entries from this number on were never used"),
    generation: i32("counts changes"),
    log: u32(`entry that the change with number n changed, at n mod ${CHANGE_LOG}`, CHANGE_LOG),
  },
  4096,
);

export const policyEntry = struct(
  "SPD entry",
  "One entry of one policy: charon adds the same selectors many times, each add is an entry of its own.",
  {
    version: i32("sequence lock: odd while the entry changes"),
    present: u32("0 for a free entry"),
    direction: u32("0 in, 1 out, 2 forward"),
    type: u32("1 protect, 2 pass, 3 drop"),
    sa: i32(
      "out: SAD slot of the SA that protects the packets; -1 while there is none; -2 for a trap whose reqid has an SA that \
does not cover what meets the trap, because the peer has narrowed the selectors",
    ),
    reqid: u32("joins policies and SAs"),
    rank: f64(
      "entries are evaluated in the order of their ranks, lowest first; the whole part is what strongSwan calls priority",
    ),
    order: f64("counts installations: among equal ranks the newest entry is the first"),
    src: bytes(SELECTOR_SIZE, "source selector, laid out as in the SAD", 4),
    dst: bytes(SELECTOR_SIZE, "destination selector", 4),
    priorityClass: u32("0 pass, 1 default, 2 routed (trap), 3 fallback"),
    manualPriority: u32("0, or what replaces the computed rank"),
    tunnelSrc: bytes(16, "outer source address, IPv4 in the first four bytes", 4),
    tunnelDst: bytes(16, "outer destination address", 4),
    tunnelFamily: u32("4 or 6"),
    tunnelSrcPort: u16("host order"),
    tunnelDstPort: u16("host order"),
    mode: u32("1 transport, 2 tunnel"),
    espSpi: u32("SPI as a number, 0 for a trap"),
    protocols: u32("bit 0: the entry asks for ESP, bit 1: for AH"),
    ipcomp: u32("IPComp transform, 0 for none"),
    markValue: u32("mark"),
    markMask: u32("its mask"),
    interfaceId: u32("interface id"),
    interface: bytes(16, "device name, padded with zeros"),
    session: u64("session of the key manager that owns the entry; 0 for the configuration"),
  },
  64,
);

export function describeSpd(): string {
  return [spdHeader, policyEntry].map(describeStruct).join("\n");
}
