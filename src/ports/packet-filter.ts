// The socket filters of the packet port: the choice of the XDP programs (xdp-program.ts), as far as classic BPF goes.
// The set of local addresses is looked at afterwards, in TypeScript. Lengths that contradict each other are not: the
// kernel has its own copy of each packet, so that a malformed one that gets here is dropped by Vita, and nobody misses it.

import { SOL_SOCKET, setsockopt } from "../native/libc.js";
import { ANCILLARY_PACKET_TYPE, ANCILLARY_VLAN_PRESENT, FilterAssembler } from "./cbpf-assembler.js";
import { place } from "./scratch.js";
import type { Role } from "./xdp-program.js";

const SO_ATTACH_FILTER = 26;
const ETHERNET = 14;
const PROTOCOL_UDP = 17;
const PROTOCOL_ESP = 50;
const PORT_NAT_T = 4500;
/** What may stand in front of ESP in IPv6, see xdp-program.ts. */
const EXTENSIONS = [0, 43, 60];
const EXTENSION_HEADERS = 3;
/** To this host's Ethernet address, to all, to a group; behind these come other stations, and what goes out. */
const PACKET_HOST = 0;
const PACKET_OTHERHOST = 3;
const WHOLE = 0x40000;

export function packetFilter(role: Role): Uint8Array {
  const a = new FilterAssembler();
  a.load("u8", ANCILLARY_PACKET_TYPE);
  if (role === "owned") a.jumpIf(">=", PACKET_OTHERHOST, "refuse");
  else a.jumpUnless("==", PACKET_HOST, "refuse");
  // The kernel has taken tags out of the packet: those of a VLAN would look like the device's own.
  a.load("u8", ANCILLARY_VLAN_PRESENT).jumpUnless("==", 0, "refuse");
  if (role === "owned") {
    for (const type of [0x0800, 0x0806, 0x86dd]) a.load("u16", 12).jumpIf("==", type, "take");
    a.jump("refuse");
  } else choose(a, role);
  a.label("take").end(WHOLE);
  a.label("refuse").end(0);
  return a.assemble();
}

function choose(a: FilterAssembler, role: "public" | "private"): void {
  a.load("u16", 12).jumpIf("==", 0x0800, "ipv4").jumpUnless("==", 0x86dd, "refuse");

  a.load("u8", ETHERNET).and(0xf0).jumpUnless("==", 0x60, "refuse");
  if (role === "private") {
    a.load("u16", ETHERNET + 24).jumpIf(">=", 0xff00, "refuse"); // multicast
    a.and(0xffc0).jumpIf("==", 0xfe80, "refuse"); // link-local
    a.jump("take");
  } else {
    a.setIndex(ETHERNET + 40).load("u8", ETHERNET + 6);
    for (let header = 0; ; header++) {
      a.jumpIf("==", PROTOCOL_ESP, "take").jumpIf("==", PROTOCOL_UDP, "udp6");
      if (header === EXTENSION_HEADERS) break;
      for (const extension of EXTENSIONS) a.jumpIf("==", extension, `extension.${header}`);
      a.jump("refuse");
      a.label(`extension.${header}`).nextHeader(0);
    }
    a.jump("refuse");
    a.label("udp6");
    espInUdp(a, "in-udp6", (size, offset) => a.loadIndexed(size, offset));
  }

  a.label("ipv4");
  a.load("u8", ETHERNET).jumpUnless(">=", 0x45, "refuse").jumpIf(">=", 0x50, "refuse");
  if (role === "private") {
    a.load("u32", ETHERNET + 16).jumpIf("==", 0xffffffff, "refuse");
    a.and(0xf0000000).jumpIf("==", 0xe0000000, "refuse");
    a.jump("take");
  } else {
    a.load("u16", ETHERNET + 6).jumpIf("&", 0x3fff, "refuse"); // fragments
    a.load("u8", ETHERNET + 9)
      .jumpIf("==", PROTOCOL_ESP, "take")
      .jumpUnless("==", PROTOCOL_UDP, "refuse");
    a.loadHeaderLength(ETHERNET);
    espInUdp(a, "udp4", (size, offset) => a.loadIndexed(size, ETHERNET + offset));
  }
}

/** RFC 3948 §2: no non-ESP marker, or a keepalive. `load` loads from the UDP header on. */
function espInUdp(
  a: FilterAssembler,
  name: string,
  load: (size: "u8" | "u16" | "u32", offset: number) => unknown,
): void {
  const HEADER = 8;
  load("u16", 2);
  a.jumpUnless("==", PORT_NAT_T, "refuse");
  load("u16", 4);
  a.jumpIf(">=", HEADER + 4, `${name}.payload`).jumpUnless("==", HEADER + 1, "refuse");
  load("u8", HEADER);
  a.jumpIf("==", 0xff, "take").jump("refuse");
  a.label(`${name}.payload`);
  load("u32", HEADER);
  a.jumpIf("==", 0, "refuse").jump("take");
}

/** Refuses everything. */
export function deafFilter(): Uint8Array {
  return new FilterAssembler().end(0).assemble();
}

/** Gives a socket its filter. */
export function attachFilter(fd: number, filter: Uint8Array, what: string): void {
  const [at] = place(filter);
  const program = new Uint8Array(16);
  const view = new DataView(program.buffer);
  view.setUint16(0, filter.length / 8, true);
  view.setBigUint64(8, at, true);
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, `filter of ${what}`);
}
