// The XDP programs: which packets of an interface Vita takes, and which the kernel keeps.
//
// public:   ESP, and UDP to port 4500 that is not IKE (RFC 3948 §2: no non-ESP marker), to an address of this host.
//           IKE, ARP, ssh and all else goes on to the kernel.
// private:  unicast IPv4 and IPv6 to addresses that are not this host's: what the kernel would forward. ARP, neighbour
//           discovery, multicast and all that is for this host itself goes on to the kernel.
// owned:    IPv4, IPv6 and ARP to this interface's Ethernet address, and to groups: Vita has the interface's addresses, and
//           the kernel hears nothing of them. Frames for other stations, VLANs, and what is not IP (LLDP, say) stay the
//           kernel's.
//
// What Vita takes goes to an AF_XDP socket of the receive queue that it came in by: the kernel allows no other. There is one
// for each worker (software RSS), and all packets of an SA, or of a flow, go to the same one:
//
// public:   by the SPI.
// private:  by addresses, protocol and ports; fragments, the first one too, by addresses and protocol.
// owned:    there is one worker.
//
// Without such a socket (Vita is
// just starting) it is dropped. Private: the kernel would forward it in the clear. Public: the kernel would answer
// "protocol unreachable", or hand ESP-in-UDP to charon, and neither helps the peer, whose packets Vita will understand
// in a moment. Owned: the kernel is not to hear of it at all.
//
// ESP in transport mode may stand behind IPv6 extension headers: three of them are looked through. Headers that contradict
// themselves or the packet's length, and fragments of ESP (private: fragments are taken as they are) go to the kernel,
// which reassembles them or drops them.
//
// For little-endian machines, the only ones that Node.js runs on and whose NICs carry gateways.

import { HELPER_MAP_LOOKUP, HELPER_REDIRECT_MAP, XDP_DROP, XDP_PASS } from "./bpf.js";
import { BpfAssembler, r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 } from "./bpf-assembler.js";

export type Role = "public" | "private" | "owned";

/** Descriptors of the maps that a program uses. */
export interface ProgramMaps {
  /** XSKMAP: receive queue × workers + worker → AF_XDP socket. */
  readonly sockets: number;
  /** Hash: address (16 bytes, IPv4 as ::ffff:a.b.c.d) → 4 bytes that are not looked at. */
  readonly local: number;
  /** Array with one value: the interface's Ethernet address and two bytes of zero. Not used by public. */
  readonly mac: number;
}

const ETHERNET = 14;
const IPV4 = ETHERNET + 20;
const IPV6 = ETHERNET + 40;
const PROTOCOL_UDP = 17;
const PROTOCOL_ESP = 50;
const PORT_NAT_T = 4500;
/** Hop-by-hop options, routing, destination options: what may stand in front of ESP, and how many of them. */
const EXTENSIONS = [0, 43, 60];
const EXTENSION_HEADERS = 3;

/** struct xdp_md */
const context = { data: 0, dataEnd: 4, queue: 16 };

/** The 16-byte map key stands here, on the stack. */
const KEY = -16;

/** A 16-bit number in network order, as this machine loads it. */
const network16 = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

/** Protocols that begin with a source and a destination port: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const PORT_PROTOCOLS = [6, 17, 33, 132, 136];
/** Multiplying by it spreads what is alike over all bits: 2^32 / golden ratio. */
const SPREAD = 0x9e3779b1 | 0;

/** The worker that gets a public interface's packets with this SPI. */
export function workerOfSpi(spi: number, workers: number): number {
  const loaded = ((spi & 0xff) << 24) | ((spi & 0xff00) << 8) | ((spi >>> 8) & 0xff00) | (spi >>> 24);
  return Math.floor(((Math.imul(loaded, SPREAD) >>> 0) * workers) / 2 ** 32);
}

// Registers over the whole program: r6 context, r7 packet, r8 its end. From where the worker is chosen by, r9: 32 bits that
// all packets of one SA or flow have in common; before, what it is looked for with.

/** @param workers that share each queue */
export function xdpProgram(role: Role, maps: ProgramMaps, workers = 1): Uint8Array {
  return choosingProgram(role, maps, workers, (a) => {
    a.load("u32", r2, r6, context.queue);
    if (workers > 1) a.alu("mul", r2, workers).aluRegister("add", r2, r9);
    a.loadMap(r1, maps.sockets);
    a.alu("mov", r3, XDP_DROP);
    a.call(HELPER_REDIRECT_MAP);
  });
}

/**
 * The program that passes what is the kernel's.
 * @param takes adds what becomes of the rest; of several workers the one that is to have it stands in r9
 */
export function choosingProgram(
  role: Role,
  maps: ProgramMaps,
  workers: number,
  takes: (a: BpfAssembler) => void,
): Uint8Array {
  if (role === "owned" && workers > 1) throw new Error("an owned interface has one worker");
  const a = new BpfAssembler();
  a.aluRegister("mov", r6, r1);
  a.load("u32", r7, r6, context.data);
  a.load("u32", r8, r6, context.dataEnd);
  need(a, ETHERNET);
  if (role === "owned") everything(a, maps);
  else chosen(a, role, maps, workers > 1);
  // The upper bits of the product are the good ones: worker = hash × workers / 2^32.
  if (workers > 1)
    a.alu("mul", r9, SPREAD).alu("lsh", r9, 32).alu("rsh", r9, 32).alu("mul", r9, workers).alu("rsh", r9, 32);
  takes(a);
  a.exit();

  a.label("pass");
  a.alu("mov", r0, XDP_PASS);
  a.exit();
  return a.assemble();
}

/** Passes frames for other stations, and what is neither IP nor ARP. */
function everything(a: BpfAssembler, maps: ProgramMaps): void {
  a.load("u8", r3, r7, 0);
  a.jumpIf("&", r3, 1, "group");
  ownEthernetAddress(a, maps);
  a.label("group");
  a.load("u16", r3, r7, 12);
  for (const type of [0x0800, 0x86dd]) a.jumpIf("==", r3, network16(type), "take");
  a.jumpIf("!=", r3, network16(0x0806), "pass");
  a.label("take");
}

/** Passes what a role leaves to the kernel. */
function chosen(a: BpfAssembler, role: "public" | "private", maps: ProgramMaps, spreads: boolean): void {
  if (role === "private") ownEthernetAddress(a, maps);
  a.load("u16", r3, r7, 12);
  a.jumpIf("==", r3, network16(0x0800), "ipv4");
  a.jumpIf("==", r3, network16(0x86dd), "ipv6");
  a.jump("pass");

  ipv4Header(a);
  if (role === "private") {
    notToMany4(a);
    if (spreads) flow4(a);
  } else toTransport4(a);
  key4(a);
  a.jump("lookup");

  ipv6Header(a);
  if (role === "private") {
    notToMany6(a);
    if (spreads) flow6(a);
  } else toTransport6(a);
  key6(a);

  a.label("lookup");
  a.loadMap(r1, maps.local);
  a.aluRegister("mov", r2, r10).alu("add", r2, KEY);
  a.call(HELPER_MAP_LOOKUP);
  a.jumpIf(role === "private" ? "!=" : "==", r0, 0, "pass");
}

/** Passes packets that are shorter than `length` bytes. */
function need(a: BpfAssembler, length: number): void {
  a.aluRegister("mov", r2, r7).alu("add", r2, length);
  a.jumpIfRegister(">", r2, r8, "pass");
}

/**
 * Passes what is not for this very Ethernet address: broadcast, multicast, and frames for others that a bridge flooded or
 * a device in promiscuous mode let in.
 */
function ownEthernetAddress(a: BpfAssembler, maps: ProgramMaps): void {
  a.loadMapValue(r5, maps.mac);
  a.load("u32", r3, r7, 0).load("u32", r4, r5, 0);
  a.jumpIfRegister("!=", r3, r4, "pass");
  a.load("u16", r3, r7, 4).load("u16", r4, r5, 4);
  a.jumpIfRegister("!=", r3, r4, "pass");
}

/** RFC 791 §3.1. Leaves the header's length in r3 and the packet's in r4. */
function ipv4Header(a: BpfAssembler): void {
  a.label("ipv4");
  need(a, IPV4);
  a.load("u8", r3, r7, ETHERNET);
  a.aluRegister("mov", r4, r3).alu("rsh", r4, 4);
  a.jumpIf("!=", r4, 4, "pass");
  a.alu("and", r3, 15);
  a.jumpIf("<", r3, 5, "pass");
  a.alu("lsh", r3, 2);
  a.load("u16", r4, r7, ETHERNET + 2).fromNetwork16(r4);
  a.jumpIfRegister("<", r4, r3, "pass");
  available(a, ETHERNET);
  a.jumpIfRegister(">", r4, r5, "pass");
}

/** Leaves in r5 how many bytes the packet has from `offset` on; Ethernet padding counts. */
function available(a: BpfAssembler, offset: number): void {
  a.aluRegister("mov", r5, r8).aluRegister("sub", r5, r7).alu("sub", r5, offset);
}

/** RFC 8200 §3. Leaves the payload's length in r4. */
function ipv6Header(a: BpfAssembler): void {
  a.label("ipv6");
  need(a, IPV6);
  a.load("u8", r3, r7, ETHERNET).alu("rsh", r3, 4);
  a.jumpIf("!=", r3, 6, "pass");
  a.load("u16", r4, r7, ETHERNET + 4).fromNetwork16(r4);
  available(a, IPV6);
  a.jumpIfRegister(">", r4, r5, "pass");
}

/** Passes multicast (224.0.0.0/4) and the limited broadcast address; those of subnets stand among the local ones. */
function notToMany4(a: BpfAssembler): void {
  a.load("u8", r3, r7, ETHERNET + 16).alu("and", r3, 0xf0);
  a.jumpIf("==", r3, 0xe0, "pass");
  a.load("u32", r3, r7, ETHERNET + 16);
  a.jumpIf32("==", r3, 0xffffffff, "pass");
}

/** Passes multicast (ff00::/8) and link-local addresses (fe80::/10). */
function notToMany6(a: BpfAssembler): void {
  a.load("u16", r3, r7, ETHERNET + 24).fromNetwork16(r3);
  a.jumpIf(">=", r3, 0xff00, "pass");
  a.alu("and", r3, 0xffc0);
  a.jumpIf("==", r3, 0xfe80, "pass");
}

/** Leaves in r9 what a flow's packets have in common. */
function flow4(a: BpfAssembler): void {
  a.load("u32", r9, r7, ETHERNET + 12);
  a.load("u32", r3, r7, ETHERNET + 16);
  mix(a, r3);
  a.load("u8", r3, r7, ETHERNET + 9);
  mix(a, r3);
  a.load("u16", r4, r7, ETHERNET + 6).fromNetwork16(r4);
  a.jumpIf("&", r4, 0x3fff, "flow4"); // more fragments, or not the first one
  for (const protocol of PORT_PROTOCOLS) a.jumpIf("==", r3, protocol, "ports4");
  a.jump("flow4");
  a.label("ports4");
  a.load("u8", r5, r7, ETHERNET).alu("and", r5, 15).alu("lsh", r5, 2);
  a.aluRegister("mov", r2, r7).aluRegister("add", r2, r5).alu("add", r2, ETHERNET);
  ports(a, "flow4");
}

function flow6(a: BpfAssembler): void {
  a.load("u32", r9, r7, ETHERNET + 8);
  for (let word = 12; word < 40; word += 4) {
    a.load("u32", r3, r7, ETHERNET + word);
    mix(a, r3);
  }
  a.load("u8", r3, r7, ETHERNET + 6);
  mix(a, r3);
  for (const protocol of PORT_PROTOCOLS) a.jumpIf("==", r3, protocol, "ports6");
  a.jump("flow6");
  a.label("ports6");
  a.aluRegister("mov", r2, r7).alu("add", r2, IPV6);
  ports(a, "flow6");
}

/** Mixes in the ports at r2, if the packet has them. Goes on at the label. */
function ports(a: BpfAssembler, next: string): void {
  a.aluRegister("mov", r4, r2).alu("add", r4, 4);
  a.jumpIfRegister(">", r4, r8, next);
  a.load("u32", r3, r2, 0);
  mix(a, r3);
  a.label(next);
}

/** r9 = r9 × a large odd number + what is in the register */
function mix(a: BpfAssembler, register: number): void {
  a.alu("mul", r9, SPREAD).aluRegister("add", r9, register);
}

/** ::ffff:a.b.c.d */
function key4(a: BpfAssembler): void {
  a.storeConstant("u64", r10, KEY, 0);
  a.storeConstant("u32", r10, KEY + 8, 0xffff0000 | 0);
  a.load("u32", r3, r7, ETHERNET + 16).store("u32", r10, KEY + 12, r3);
}

function key6(a: BpfAssembler): void {
  a.load("u64", r3, r7, ETHERNET + 24).store("u64", r10, KEY, r3);
  a.load("u64", r3, r7, ETHERNET + 32).store("u64", r10, KEY + 8, r3);
}

/** Goes on behind this with whole ESP packets and ESP in UDP, passes all else. */
function toTransport4(a: BpfAssembler): void {
  a.load("u16", r5, r7, ETHERNET + 6).fromNetwork16(r5);
  a.jumpIf("&", r5, 0x3fff, "pass"); // more fragments, or not the first one
  a.load("u8", r5, r7, ETHERNET + 9);
  a.aluRegister("mov", r9, r7).aluRegister("add", r9, r3).alu("add", r9, ETHERNET);
  a.jumpIf("==", r5, PROTOCOL_ESP, "esp4");
  a.jumpIf("!=", r5, PROTOCOL_UDP, "pass");
  a.aluRegister("sub", r4, r3);
  espInUdp(a, "esp4");
}

function toTransport6(a: BpfAssembler): void {
  a.load("u8", r5, r7, ETHERNET + 6);
  a.aluRegister("mov", r9, r7).alu("add", r9, IPV6);
  for (let header = 0; ; header++) {
    a.jumpIf("==", r5, PROTOCOL_ESP, "esp6");
    a.jumpIf("==", r5, PROTOCOL_UDP, "udp6");
    if (header === EXTENSION_HEADERS) break;
    for (const extension of EXTENSIONS) a.jumpIf("==", r5, extension, `extension.${header}`);
    a.jump("pass");
    a.label(`extension.${header}`);
    a.aluRegister("mov", r2, r9).alu("add", r2, 8);
    a.jumpIfRegister(">", r2, r8, "pass");
    a.load("u8", r5, r9, 0).load("u8", r3, r9, 1);
    a.alu("add", r3, 1).alu("lsh", r3, 3);
    a.jumpIfRegister(">", r3, r4, "pass");
    a.aluRegister("sub", r4, r3).aluRegister("add", r9, r3);
  }
  a.jump("pass");
  a.label("udp6");
  espInUdp(a, "esp6");
}

/**
 * UDP at r9, of which the IP header allows r4 bytes. Goes on behind this with ESP and keepalives (RFC 3948 §2), and at the
 * label `esp` with an ESP header at r9. Leaves the SPI in r9, or 0 where there is none.
 */
function espInUdp(a: BpfAssembler, esp: string): void {
  const HEADER = 8;
  a.aluRegister("mov", r2, r9).alu("add", r2, HEADER + 1);
  a.jumpIfRegister(">", r2, r8, "pass");
  a.load("u16", r3, r9, 2);
  a.jumpIf("!=", r3, network16(PORT_NAT_T), "pass");
  a.load("u16", r3, r9, 4).fromNetwork16(r3);
  a.jumpIfRegister(">", r3, r4, "pass");
  a.jumpIf("!=", r3, HEADER + 1, `${esp}.payload`);
  a.load("u8", r3, r9, HEADER); // one byte: a keepalive, if it is 0xff
  a.jumpIf("!=", r3, 0xff, "pass");
  a.jump(`${esp}.none`);

  a.label(`${esp}.payload`);
  a.jumpIf("<", r3, HEADER + 4, "pass");
  a.alu("add", r9, HEADER);
  a.aluRegister("mov", r2, r9).alu("add", r2, 4);
  a.jumpIfRegister(">", r2, r8, "pass");
  a.load("u32", r3, r9, 0);
  a.jumpIf("==", r3, 0, "pass"); // non-ESP marker: IKE
  a.label(esp);
  a.aluRegister("mov", r2, r9).alu("add", r2, 4);
  a.jumpIfRegister(">", r2, r8, `${esp}.none`);
  a.load("u32", r9, r9, 0);
  a.jump(`${esp}.end`);
  a.label(`${esp}.none`);
  a.alu("mov", r9, 0);
  a.label(`${esp}.end`);
}
