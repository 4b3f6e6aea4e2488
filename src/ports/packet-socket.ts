// The sockets behind a packet port: one that hears what a filter lets through, with a virtio header in front of each packet,
// and others that hear nothing, and are there for what their being there does.

import {
  AF_INET,
  AF_INET6,
  AF_PACKET,
  bind,
  close,
  interfaceIndex,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  SystemError,
  setsockopt,
  socket,
} from "../native/libc.js";
import { attachFilter, deafFilter, packetFilter } from "./packet-filter.js";
import type { Role } from "./xdp-program.js";

const SOL_PACKET = 263;
const PACKET_VNET_HDR = 15;
const PACKET_FANOUT = 18;
const PACKET_FANOUT_HASH = 0;
const PACKET_IGNORE_OUTGOING = 23;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const ETH_P_ALL = 3;
const IPPROTO_ESP = 50;
const SOCKET_BUFFER = 8 << 20;

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/**
 * Nothing arrives before the filter is in place, because only binding gives the socket a protocol.
 * @param isShared whether other workers have sockets on the device, among which the kernel divides its packets
 */
export function openPacketSocket(device: string, role: Role, isShared: boolean): number {
  const what = `packet socket on ${device}`;
  const index = interfaceIndex(device);
  const fd = privileged(what, () => socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0, what));
  try {
    // Until it shares with the others it would get what is theirs.
    attachFilter(fd, isShared ? deafFilter() : packetFilter(role), what);
    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, u32(1), `virtio headers of ${what}`);
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, u32(1), `ignoring outgoing packets of ${what}`);
    for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) {
      try {
        setsockopt(fd, SOL_SOCKET, option, u32(SOCKET_BUFFER));
      } catch {
        // The default stays: more packets are lost in bursts.
      }
    }
    const address = new Uint8Array(20);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL, false);
    view.setUint32(4, index, true);
    bind(fd, address, what);
    if (isShared) {
      // The kernel's hash of a flow takes in the SPI of ESP, and ports.
      const group = (index & 0xffff) | (PACKET_FANOUT_HASH << 16);
      setsockopt(fd, SOL_PACKET, PACKET_FANOUT, u32(group), `sharing ${device} between workers`);
      attachFilter(fd, packetFilter(role), what);
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Raw sockets for ESP that hear nothing. */
export function openDeafSockets(): number[] {
  const what = "raw socket for ESP";
  const open: number[] = [];
  try {
    for (const family of [AF_INET, AF_INET6]) {
      const fd = privileged(what, () => socket(family, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ESP, what));
      open.push(fd);
      attachFilter(fd, deafFilter(), what);
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, u32(0), what);
    }
    return open;
  } catch (error) {
    for (const fd of open) close(fd);
    throw error;
  }
}

function privileged(what: string, open: () => number): number {
  try {
    return open();
  } catch (error) {
    if (error instanceof SystemError && error.code === "EPERM")
      throw new Error(`${what}: needs root, or the capability CAP_NET_RAW`, { cause: error });
    throw error;
  }
}
