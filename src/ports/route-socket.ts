// Adds and removes routes of the kernel through a netlink socket (RFC 3549). The kernel has done it when `send` returns, so
// that a call costs some microseconds and no process: a gateway with ten thousand tunnels adds ten thousand routes.

import {
  AF_NETLINK,
  close,
  errno,
  MSG_DONTWAIT,
  recv,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SystemError,
  sendto,
  socket,
} from "../native/libc.js";
import { formatPrefix, type IpAddress, type Prefix } from "../net/address.js";
import { AF_INET, AF_INET6 } from "../net/rtnetlink.js";

const NETLINK_ROUTE = 0;
const NEW_ROUTE = 24;
const DELETE_ROUTE = 25;
const MESSAGE_ERROR = 2;
/** Request, acknowledge; replace what is there, create what is not. */
const FLAGS = 0x5;
const FLAGS_REPLACE = 0x500;
const HEADER = 16;
const ROUTE_HEADER = 12;
const ATTRIBUTE = { destination: 1, outInterface: 4, preferredSource: 7, table: 15 } as const;
const TABLE_IN_ATTRIBUTE = 0;
const PROTOCOL_STATIC = 4;
const SCOPE_LINK = 253;
const SCOPE_UNIVERSE = 0;
const TYPE_UNICAST = 1;
const TYPE_THROW = 9;

export interface KernelRoute {
  prefix: Prefix;
  table: number;
  /** Index of the interface; undefined for a route that sends look-ups on to the next table. */
  interfaceIndex: number | undefined;
  /** Address that the host speaks from on this route, if it has not chosen one. */
  source?: IpAddress | undefined;
}

/** The message that adds (or replaces) or removes a route. */
function routeRequest(route: KernelRoute, present: boolean, sequence: number): Uint8Array {
  const { prefix, table, interfaceIndex, source } = route;
  const bytes = new Uint8Array(128);
  const view = new DataView(bytes.buffer);
  view.setUint16(4, present ? NEW_ROUTE : DELETE_ROUTE, true);
  view.setUint16(6, present ? FLAGS | FLAGS_REPLACE : FLAGS, true);
  view.setUint32(8, sequence, true);
  const isThrow = interfaceIndex === undefined;
  const isIpv6 = prefix.address.length === 16;
  bytes[HEADER] = isIpv6 ? AF_INET6 : AF_INET;
  bytes[HEADER + 1] = prefix.length;
  bytes[HEADER + 4] = TABLE_IN_ATTRIBUTE;
  bytes[HEADER + 5] = PROTOCOL_STATIC;
  bytes[HEADER + 6] = isThrow || isIpv6 ? SCOPE_UNIVERSE : SCOPE_LINK;
  bytes[HEADER + 7] = isThrow ? TYPE_THROW : TYPE_UNICAST;
  let length = HEADER + ROUTE_HEADER;
  const add = (type: number, value: Uint8Array) => {
    view.setUint16(length, 4 + value.length, true);
    view.setUint16(length + 2, type, true);
    bytes.set(value, length + 4);
    length += 4 + value.length;
  };
  const number = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  add(ATTRIBUTE.destination, prefix.address);
  add(ATTRIBUTE.table, number(table));
  if (interfaceIndex !== undefined) add(ATTRIBUTE.outInterface, number(interfaceIndex));
  if (source && present) add(ATTRIBUTE.preferredSource, source);
  view.setUint32(0, length, true);
  return bytes.subarray(0, length);
}

export class RouteSocket {
  readonly #fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, "route netlink socket");
  readonly #input = new Uint8Array(4096);
  #sequence = 0;

  /** @throws SystemError with what the kernel objects to */
  change(route: KernelRoute, present: boolean): void {
    const what = `${present ? "route" : "removing the route"} ${formatPrefix(route.prefix)}`;
    const request = routeRequest(route, present, ++this.#sequence);
    if (sendto(this.#fd, request, request.length, MSG_DONTWAIT, null, 0) < 0)
      throw new SystemError(what, errno());
    const view = new DataView(this.#input.buffer);
    for (;;) {
      const length = recv(this.#fd, this.#input, this.#input.length, MSG_DONTWAIT);
      if (length < 0) throw new SystemError(what, errno());
      if (length < HEADER + 4 || view.getUint16(4, true) !== MESSAGE_ERROR) continue;
      if (view.getUint32(8, true) !== this.#sequence) continue;
      const error = -view.getInt32(HEADER, true);
      if (error !== 0) throw new SystemError(what, error);
      return;
    }
  }

  close(): void {
    close(this.#fd);
  }
}
