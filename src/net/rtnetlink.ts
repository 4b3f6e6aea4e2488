// The wire format of NETLINK_ROUTE (RFC 3549, linux/rtnetlink.h): what the kernel tells about links, addresses, routes
// and neighbours, and the few requests that Vita has. Numbers are in the machine's order, which is little-endian;
// addresses are in network order.

import type { IpAddress, Prefix } from "./address.js";
import { type LinkChange, type RouteChange, TABLE_LOCAL, TABLE_MAIN } from "./kernel-network.js";

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Multicast groups, for the address to bind to. */
export const groups = {
  link: 0x1,
  neighbour: 0x4,
  address4: 0x10,
  route4: 0x40,
  address6: 0x100,
  route6: 0x400,
} as const;

const MESSAGE_ERROR = 2;
const MESSAGE_DONE = 3;
const MESSAGE_OVERRUN = 4;
const NEW_LINK = 16;
const DELETE_LINK = 17;
const NEW_ADDRESS = 20;
const DELETE_ADDRESS = 21;
const NEW_ROUTE = 24;
const DELETE_ROUTE = 25;
const NEW_NEIGHBOUR = 28;
const DELETE_NEIGHBOUR = 29;

const FLAG_REQUEST = 0x1;
const FLAG_MULTIPART = 0x2;
const FLAG_DUMP = 0x300;
const FLAG_DUMP_INTERRUPTED = 0x10;
const FLAG_CREATE = 0x400;
const FLAG_REPLACE = 0x100;
const FLAG_APPEND = 0x800;

const HEADER = 16;

export type NetlinkMessage =
  | { readonly kind: "link"; readonly change: LinkChange; readonly present: boolean }
  | {
      readonly kind: "address";
      readonly index: number;
      readonly address: IpAddress;
      readonly prefixLength: number;
      readonly present: boolean;
    }
  | {
      readonly kind: "route";
      readonly change: RouteChange;
      /** Routing table, 254 main and 255 local. */
      readonly table: number;
      /** The kernel has more next hops for this destination than the one that is told. */
      readonly several: boolean;
      /** The route stands behind others with the same destination and metric, and is not used. */
      readonly appended: boolean;
      /** The route has taken the place of the first one with the same destination and metric. */
      readonly replaced: boolean;
      /** Part of a dump, not a change. */
      readonly listed: boolean;
      readonly present: boolean;
    }
  | {
      readonly kind: "neighbour";
      readonly index: number;
      readonly address: IpAddress;
      /** Undefined while it is not resolved, or gone. */
      readonly mac: Uint8Array | undefined;
    }
  /** A dump has ended. `interrupted`: tables changed under it, it may have gaps. */
  | { readonly kind: "done"; readonly sequence: number; readonly interrupted: boolean }
  /** A request failed; `errno` 0 is an acknowledgement. */
  | { readonly kind: "error"; readonly sequence: number; readonly errno: number }
  /** The kernel had to drop messages. */
  | { readonly kind: "overrun" };

/**
 * What a datagram says, in order. Messages of other kinds and families are left out.
 * @param allTables with the routes of all tables; else those of main and local
 */
export function parseNetlink(bytes: Uint8Array, allTables = false): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + HEADER <= bytes.length) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > bytes.length) break;
    const body = new DataView(bytes.buffer, bytes.byteOffset + at + HEADER, length - HEADER);
    const type = view.getUint16(at + 4, true);
    const flags = view.getUint16(at + 6, true);
    const message = parseMessage(type, flags, view.getUint32(at + 8, true), body);
    const isOther =
      message?.kind === "route" && message.table !== TABLE_MAIN && message.table !== TABLE_LOCAL;
    if (message && (allTables || !isOther)) messages.push(message);
    at += align(length);
  }
  return messages;
}

function parseMessage(
  type: number,
  flags: number,
  sequence: number,
  body: DataView,
): NetlinkMessage | undefined {
  switch (type) {
    case MESSAGE_DONE:
      return { kind: "done", sequence, interrupted: (flags & FLAG_DUMP_INTERRUPTED) !== 0 };
    case MESSAGE_ERROR:
      if (body.byteLength < 4) return undefined;
      return { kind: "error", sequence, errno: -body.getInt32(0, true) };
    case MESSAGE_OVERRUN:
      return { kind: "overrun" };
    case NEW_LINK:
    case DELETE_LINK:
      return parseLink(body, type === NEW_LINK);
    case NEW_ADDRESS:
    case DELETE_ADDRESS:
      return parseAddressMessage(body, type === NEW_ADDRESS);
    case NEW_ROUTE:
    case DELETE_ROUTE:
      return parseRoute(body, type === NEW_ROUTE, flags);
    case NEW_NEIGHBOUR:
    case DELETE_NEIGHBOUR:
      return parseNeighbour(body, type === NEW_NEIGHBOUR);
    default:
      return undefined;
  }
}

const align = (length: number) => (length + 3) & ~3;

type Attributes = Map<number, Uint8Array>;

/** Attributes by type, from `at` on; the nested and byte-order bits of the type are taken off. */
function attributes(view: DataView, start: number): Attributes {
  const found: Attributes = new Map();
  let at = start;
  while (at + 4 <= view.byteLength) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > view.byteLength) break;
    const type = view.getUint16(at + 2, true) & 0x3fff;
    found.set(type, new Uint8Array(view.buffer, view.byteOffset + at + 4, length - 4));
    at += align(length);
  }
  return found;
}

function u32(attribute: Uint8Array | undefined): number | undefined {
  if (attribute === undefined || attribute.length < 4) return undefined;
  return new DataView(attribute.buffer, attribute.byteOffset, 4).getUint32(0, true);
}

function parseLink(body: DataView, present: boolean): NetlinkMessage | undefined {
  const IFLA_ADDRESS = 1;
  const IFLA_IFNAME = 3;
  const IFLA_MTU = 4;
  const ARPHRD_ETHER = 1;
  const IFF_UP = 0x1;
  const IFF_RUNNING = 0x40;
  // Bridges tell about their ports with the same message type, in a family of their own.
  if (body.byteLength < 16 || body.getUint8(0) !== AF_UNSPEC) return undefined;
  const found = attributes(body, 16);
  const flags = body.getUint32(8, true);
  const mac = body.getUint16(2, true) === ARPHRD_ETHER ? found.get(IFLA_ADDRESS) : undefined;
  const name = Buffer.from(found.get(IFLA_IFNAME) ?? []).toString("utf8");
  return {
    kind: "link",
    change: {
      index: body.getInt32(4, true),
      name: name.replace(/\0.*$/s, ""),
      mac: mac?.length === 6 ? mac.slice() : undefined,
      mtu: u32(found.get(IFLA_MTU)) ?? 0,
      // Up is what can carry packets: switched on, and with a cable in it.
      up: (flags & (IFF_UP | IFF_RUNNING)) === (IFF_UP | IFF_RUNNING),
    },
    present,
  };
}

function addressBytes(family: number): number {
  return family === AF_INET ? 4 : family === AF_INET6 ? 16 : 0;
}

function parseAddressMessage(body: DataView, present: boolean): NetlinkMessage | undefined {
  const IFA_ADDRESS = 1;
  const IFA_LOCAL = 2;
  if (body.byteLength < 8) return undefined;
  const size = addressBytes(body.getUint8(0));
  const found = attributes(body, 8);
  // On point-to-point links IFA_ADDRESS is the peer's.
  const address = found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS);
  if (size === 0 || address?.length !== size) return undefined;
  return {
    kind: "address",
    index: body.getUint32(4, true),
    address: address.slice(),
    prefixLength: body.getUint8(1),
    present,
  };
}

const routeTypes: Readonly<Record<number, RouteChange["type"]>> = {
  1: "unicast",
  2: "local",
  3: "broadcast",
  4: "local", // anycast: this host answers too
  5: "multicast",
  6: "unreachable", // blackhole
  7: "unreachable",
  8: "unreachable", // prohibit
};

function parseRoute(body: DataView, present: boolean, flags: number): NetlinkMessage | undefined {
  const RTA_DST = 1;
  const RTA_OIF = 4;
  const RTA_GATEWAY = 5;
  const RTA_PRIORITY = 6;
  const RTA_MULTIPATH = 9;
  const RTA_TABLE = 15;
  const RTA_VIA = 18;
  const RTM_F_CLONED = 0x200;
  if (body.byteLength < 12) return undefined;
  const size = addressBytes(body.getUint8(0));
  const found = attributes(body, 12);
  const table = u32(found.get(RTA_TABLE)) ?? body.getUint8(4);
  const type = routeTypes[body.getUint8(7)];
  // Routes by source or type of service belong to policy routing, which Vita does not follow; clones are the cache.
  const special = body.getUint8(2) !== 0 || body.getUint8(3) !== 0;
  const cloned = (body.getUint32(8, true) & RTM_F_CLONED) !== 0;
  if (size === 0 || type === undefined || special || cloned) return undefined;

  const hops = found.get(RTA_MULTIPATH);
  // Of several next hops the first one is taken.
  const hop = hops ? firstHop(hops) : { index: u32(found.get(RTA_OIF)) ?? 0, attributes: found };
  const via = hop.attributes.get(RTA_VIA);
  // An IPv4 route over an IPv6 next hop (RFC 5549) has its gateway in RTA_VIA, behind two bytes of family.
  const gateway = hop.attributes.get(RTA_GATEWAY) ?? via?.subarray(2);
  const known = gateway?.length === 4 || gateway?.length === 16;
  return {
    kind: "route",
    change: {
      prefix: prefix(found.get(RTA_DST), size, body.getUint8(1)),
      gateway: known ? gateway.slice() : undefined,
      index: type === "unreachable" ? 0 : hop.index,
      metric: u32(found.get(RTA_PRIORITY)) ?? 0,
      type,
      table,
    },
    table,
    several: hops !== undefined,
    appended: (flags & FLAG_APPEND) !== 0 && hops === undefined,
    replaced: (flags & FLAG_REPLACE) !== 0 && (flags & FLAG_MULTIPART) === 0,
    listed: (flags & FLAG_MULTIPART) !== 0,
    present,
  };
}

function prefix(address: Uint8Array | undefined, size: number, length: number): Prefix {
  return { address: address?.length === size ? address.slice() : new Uint8Array(size), length };
}

/** struct rtnexthop: length 16, flags 8, hops 8, interface 32, attributes. */
function firstHop(hops: Uint8Array): { index: number; attributes: Attributes } {
  const view = new DataView(hops.buffer, hops.byteOffset, hops.byteLength);
  if (hops.length < 8) return { index: 0, attributes: new Map() };
  const length = Math.min(view.getUint16(0, true), hops.length);
  const only = new DataView(hops.buffer, hops.byteOffset, length);
  return { index: view.getInt32(4, true), attributes: attributes(only, 8) };
}

function parseNeighbour(body: DataView, present: boolean): NetlinkMessage | undefined {
  const NDA_DST = 1;
  const NDA_LLADDR = 2;
  const NTF_PROXY = 0x08;
  const NUD_NOARP = 0x40;
  // Reachable, stale, delay, probe, permanent: the kernel would send to the address that it has.
  const NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
  if (body.byteLength < 12) return undefined;
  const size = addressBytes(body.getUint8(0));
  const state = body.getUint16(8, true);
  if (size === 0 || (body.getUint8(10) & NTF_PROXY) !== 0 || (state & NUD_NOARP) !== 0) return undefined;
  const found = attributes(body, 12);
  const address = found.get(NDA_DST);
  if (address?.length !== size) return undefined;
  const mac = found.get(NDA_LLADDR);
  const valid = present && (state & NUD_VALID) !== 0 && mac?.length === 6;
  return {
    kind: "neighbour",
    index: body.getInt32(4, true),
    address: address.slice(),
    mac: valid ? mac.slice() : undefined,
  };
}

export type Table = "link" | "address" | "route" | "neighbour";

const dumps: Readonly<Record<Table, { type: number; bytes: number }>> = {
  link: { type: 18, bytes: 16 },
  address: { type: 22, bytes: 8 },
  route: { type: 26, bytes: 12 },
  neighbour: { type: 30, bytes: 12 },
};

function header(bytes: Uint8Array, type: number, flags: number, sequence: number): DataView {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  return view;
}

/** The request for a whole table. Links have no family; the others take one, or AF_UNSPEC for all. */
export function dumpRequest(table: Table, family: number, sequence: number): Uint8Array {
  const { type, bytes } = dumps[table];
  const request = new Uint8Array(HEADER + bytes);
  header(request, type, FLAG_REQUEST | FLAG_DUMP, sequence);
  request[HEADER] = family;
  return request;
}

/** The request for one link. */
export function linkRequest(index: number): Uint8Array {
  const GET_LINK = 18;
  const request = new Uint8Array(HEADER + 16);
  header(request, GET_LINK, FLAG_REQUEST, 0).setInt32(HEADER + 4, index, true);
  return request;
}

/** The ids of the XDP programs on a link, from the kernel's answer to `linkRequest`. */
export function xdpPrograms(answer: Uint8Array): number[] {
  const IFLA_XDP = 43;
  // One program, or one for each mode: the generic, the driver's and the device's own.
  const IFLA_XDP_IDS = [4, 5, 6, 7];
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
  if (answer.length < HEADER + 16 || view.getUint16(4, true) !== NEW_LINK) return [];
  const xdp = attributes(view, HEADER + 16).get(IFLA_XDP);
  if (!xdp) return [];
  const nested = attributes(new DataView(xdp.buffer, xdp.byteOffset, xdp.byteLength), 0);
  const ids = IFLA_XDP_IDS.map((type) => u32(nested.get(type))).filter((id) => id !== undefined && id !== 0);
  return [...new Set(ids as number[])];
}

/**
 * A request that the kernel resolve a neighbour as if it had a packet for it, or make sure that it is still there. The
 * interface and the address are put in with `setNeighbour`.
 */
export function neighbourRequest(family: number): Uint8Array {
  const NTF_USE = 0x01;
  const NDA_DST = 1;
  const size = addressBytes(family);
  const request = new Uint8Array(HEADER + 12 + 4 + size);
  const view = header(request, NEW_NEIGHBOUR, FLAG_REQUEST | FLAG_CREATE, 0);
  request[HEADER] = family;
  request[HEADER + 10] = NTF_USE;
  view.setUint16(HEADER + 12, 4 + size, true);
  view.setUint16(HEADER + 14, NDA_DST, true);
  return request;
}

export function setNeighbour(request: Uint8Array, index: number, address: IpAddress): void {
  request[HEADER + 4] = index;
  request[HEADER + 5] = index >>> 8;
  request[HEADER + 6] = index >>> 16;
  request[HEADER + 7] = index >>> 24;
  request.set(address, HEADER + 16);
}
